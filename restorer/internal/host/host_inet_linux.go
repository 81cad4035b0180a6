//go:build amd64

package host

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/restorer/internal/uapi"
)

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
		for line := range strings.Lines(ReadProc("/proc/net/" + table.name)) {
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

// pingGroups reads net.ipv4.ping_group_range. Kernels without that file have no ICMP sockets.
func pingGroups(text string) [2]uint32 {
	var first, last uint32
	if n, _ := fmt.Sscan(text, &first, &last); n != 2 {
		return [2]uint32{1, 0}
	}
	return [2]uint32{first, last}
}

// canBind tries it, with a port that is free.
func canBind(at netip.Addr, device string) bool { return sys.CanBind(at, interfaceNumber(device)) }

// interfaceNumber asks sysfs, which names interfaces only by their names.
func interfaceNumber(name string) uint32 {
	if name == "" || strings.ContainsAny(name, "/.") {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(ReadProc("/sys/class/net/"+name+"/ifindex")), 10, 32)
	return uint32(n)
}

func interfaceName(number uint32) string {
	entries, _ := os.ReadDir("/sys/class/net")
	for _, e := range entries {
		if number != 0 && interfaceNumber(e.Name()) == number {
			return e.Name()
		}
	}
	return ""
}

// netlinkPort looks the port up in the table of all netlink sockets, proc_pid_net(5).
func netlinkPort(protocol, port uint32) bool {
	for line := range strings.Lines(ReadProc("/proc/net/netlink")) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == strconv.FormatUint(uint64(protocol), 10) &&
			f[2] == strconv.FormatUint(uint64(port), 10) {
			return true
		}
	}
	return false
}
