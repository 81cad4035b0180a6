//go:build amd64

package host

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
)

// threadNet has the tables of the calling thread's network namespace; /proc/net has those of the process's first thread.
const threadNet = "/proc/thread-self/net/"

// inetSockets reads the tables of all protocols that can be restored, proc_pid_net(5).
func inetSockets() []InetSocket {
	var all []InetSocket
	for _, table := range []struct {
		name     string
		protocol uint32
	}{
		{"tcp", uapi.IpprotoTCP}, {"tcp6", uapi.IpprotoTCP}, {"udp", uapi.IpprotoUDP},
		{"udp6", uapi.IpprotoUDP},
		{"udplite", uapi.IpprotoUDPLite}, {"udplite6", uapi.IpprotoUDPLite}, {"icmp", uapi.IpprotoICMP},
		{"icmp6", uapi.IpprotoICMP},
	} {
		for line := range strings.Lines(ReadProc(threadNet + table.name)) {
			fields := strings.Fields(line)
			if len(fields) < 4 {
				continue
			}
			local, ok := tableAddress(fields[1])
			remote, _ := tableAddress(fields[2])
			if state, err := strconv.ParseUint(fields[3], 16, 8); ok && err == nil {
				all = append(all, InetSocket{table.protocol, local, remote, uint32(state)})
			}
		}
	}
	return all
}

// tableAddress reads 0100007F:1F90: words in the order of this machine, the port as a number.
func tableAddress(field string) (at netip.AddrPort, ok bool) {
	words, digits, _ := strings.Cut(field, ":")
	port, err := strconv.ParseUint(digits, 16, 16)
	b, hexErr := hex.DecodeString(words)
	if err != nil || hexErr != nil || len(b)%4 != 0 {
		return at, false
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	addr, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr, uint16(port)), ok
}

// ownPingGroups asks about this thread's network namespace.
func ownPingGroups() [2]uint32 { return pingGroups(ReadProc("/proc/sys/net/ipv4/ping_group_range")) }

// pingGroups reads net.ipv4.ping_group_range. Kernels without that file have no ICMP sockets.
func pingGroups(text string) [2]uint32 {
	var first, last uint32
	if n, _ := fmt.Sscan(text, &first, &last); n != 2 {
		return [2]uint32{1, 0}
	}
	return [2]uint32{first, last}
}

// canBind tries it, with a port that is free.
func canBind(at netip.Addr, device string) bool { return sys.CanBind(at, InterfaceNumber(device)) }

// InterfaceNumber asks the kernel about the network namespace of this thread, netdevice(7); 0 when there is none.
func InterfaceNumber(name string) uint32 {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0
	}
	return uint32(i.Index)
}

// InterfaceName asks the same for a number; "" when there is none.
func InterfaceName(number uint32) string {
	i, err := net.InterfaceByIndex(int(number))
	if err != nil {
		return ""
	}
	return i.Name
}

// EnterNetwork has everything that belongs to a network namespace asked from inside another one: do carries a function
// out on a thread that is in it.
func (h *Host) EnterNetwork(do func(func())) {
	h.InetSockets = inside(do, inetSockets)
	h.CanBind = func(at netip.Addr, device string) (ok bool) {
		do(func() { ok = canBind(at, device) })
		return ok
	}
	h.NetlinkPort = func(protocol, port uint32) (taken bool) {
		do(func() { taken = netlinkPort(protocol, port) })
		return taken
	}
	h.Interface = func(name string) (number uint32) {
		do(func() { number = InterfaceNumber(name) })
		return number
	}
	h.InterfaceName = func(number uint32) (name string) {
		do(func() { name = InterfaceName(number) })
		return name
	}
	ofPath := h.UnixName // files of sockets belong to no network namespace, unix(7)
	h.UnixName = func(name string) (taken bool) {
		if !strings.HasPrefix(name, "\x00") {
			return ofPath(name)
		}
		do(func() { taken = livingUnixName(name) })
		return taken
	}
	h.PingGroups = inside(do, ownPingGroups)
}

// inside is a question that is asked on another thread.
func inside[T any](do func(func()), ask func() T) func() T {
	return func() (answer T) {
		do(func() { answer = ask() })
		return answer
	}
}

// netlinkPort looks the port up in the table of all netlink sockets, proc_pid_net(5).
func netlinkPort(protocol, port uint32) bool {
	for line := range strings.Lines(ReadProc(threadNet + "netlink")) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == strconv.FormatUint(uint64(protocol), 10) &&
			f[2] == strconv.FormatUint(uint64(port), 10) {
			return true
		}
	}
	return false
}
