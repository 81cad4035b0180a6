package planner

import (
	"math"
	"net/netip"
	"slices"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
	"github.com/crpie/crpie/restorer/internal/planner/sock"
)

var localhost = []uint32{0x0100007f}

// words in network order, as CRIU stores them

// withInet is a sample whose descriptors 0 and 1 are a TCP listener on 127.0.0.1:80 and a UDP socket on 127.0.0.1:53.
func withInet(t *testing.T) (dir *images.Dir, s []*pb.InetSkEntry) {
	t.Helper()
	dir = openSample(t, sampleFS(t, "static"))
	dir.Tasks[0].Fds = nil
	s = []*pb.InetSkEntry{
		{Type: pb.Uint32(uapi.SockStream), Proto: pb.Uint32(uapi.IpprotoTCP), SrcPort: pb.Uint32(80),
			State: pb.Uint32(uapi.TcpListen)},
		{Type: pb.Uint32(uapi.SockDgram), Proto: pb.Uint32(uapi.IpprotoUDP), SrcPort: pb.Uint32(53),
			State: pb.Uint32(uapi.TcpClose)},
	}
	for i, e := range s {
		addInet(dir, i, e)
	}
	return dir, s
}

func addInet(dir *images.Dir, fd int, e *pb.InetSkEntry) {
	id := uint32(1000 + fd)
	e.Id, e.Ino, e.Family, e.SrcAddr = &id, pb.Uint32(id), pb.Uint32(uapi.AfInet), localhost
	e.Opts, e.Fown = &pb.SkOptsEntry{}, &pb.FownEntry{}
	dir.Files[id] = &pb.FileEntry{Id: &id, Type: pb.FdTypes_INETSK.Enum(), Isk: e}
	dir.Tasks[0].Fds = append(dir.Tasks[0].Fds, &pb.FdinfoEntry{
		Id: &id, Fd: pb.Uint32(uint32(fd)), Type: pb.FdTypes_INETSK.Enum(), Flags: pb.Uint32(0),
	})
}

// Only whoever restores knows whether a socket had its address by IP_FREEBIND, but for IPv6, where CRIU takes that
// for granted.
func TestForeignAddressWarnings(t *testing.T) {
	dir, s := withInet(t)
	s[0].Family, s[0].SrcAddr = pb.Uint32(uapi.AfInet6), []uint32{0xb80d0120, 0, 0, 0x07000000}
	fake := hosttest.New(dir)
	fake.CanBind = func(at netip.Addr, _ string) bool { return at.Is4() }
	here := ": this host does not have the address, and nobody reaches the socket until it does"
	six := "task 18827 fd 0: TCP socket [2001:db8::7]:80" + here
	wantWarnings(t, dir, fake, &job.Options{}, six)
	fake.CanBind = func(netip.Addr, string) bool { return false }
	wantWarnings(t, dir, fake, &job.Options{Freebind: true}, six, "task 18827 fd 1: UDP socket 127.0.0.1:53"+here)
}

func wantWarnings(t *testing.T, dir *images.Dir, fake *host.Host, opts *job.Options, want ...string) {
	t.Helper()
	plan, err := buildSample(t, dir, fake, opts)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(plan.Warnings, want) {
		t.Errorf("warnings %q, want %q", plan.Warnings, want)
	}
}

func TestInetSocketRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(s []*pb.InetSkEntry, host *host.Host)
		want   string
	}{
		"raw": {func(s []*pb.InetSkEntry, _ *host.Host) {
			rawFilter(s[1], uapi.IpprotoICMP, 1, 2)
		}, "fd 1: raw socket, protocol 1 has a filter of 2 words, want 1"},
		"raw, ICMPv6": {func(s []*pb.InetSkEntry, _ *host.Host) {
			rawFilter(s[1], uapi.IpprotoICMPv6, 1)
		}, "fd 1: raw socket, protocol 58 has a filter of 1 words, want 8"},
		"raw, without": {func(s []*pb.InetSkEntry, _ *host.Host) {
			rawFilter(s[1], 89, 1)
		}, "fd 1: raw socket, protocol 89 has a filter of 1 words, want 0"},
		"raw, checksum": {func(s []*pb.InetSkEntry, _ *host.Host) {
			rawFilter(s[1], 89)
			s[1].IpOpts.Raw.Checksum = pb.Bool(true)
		}, "fd 1: raw socket, protocol 89 computes checksums (IPV6_CHECKSUM), but where they are was not dumped: not supported"},
		"raw, address": {func(s []*pb.InetSkEntry, host *host.Host) {
			rawFilter(s[1], 89)
			host.CanBind = func(netip.Addr, string) bool { return false }
		}, "fd 1: raw socket, protocol 89: this host does not have the address\n  hint: give the address to one of its interfaces, or use --freebind"},
		"raw, capability": {func(s []*pb.InetSkEntry, host *host.Host) {
			rawFilter(s[1], 89)
			host.Caps &^= 1 << uapi.CapNetRaw
		}, "fd 1: raw socket, protocol 89: crpie lacks CAP_NET_RAW\n  hint: run crpie as root"},
		"protocol": {func(s []*pb.InetSkEntry, _ *host.Host) {
			s[1].Proto = pb.Uint32(132)
		}, "fd 1: internet socket of type 2, protocol 132: not supported"},
		"family": {func(s []*pb.InetSkEntry, _ *host.Host) {
			s[0].Family = pb.Uint32(uapi.AfUnix)
		}, "fd 0: internet socket of address family 1: its addresses make no sense"},
		"address": {func(s []*pb.InetSkEntry, _ *host.Host) {
			s[0].SrcAddr = []uint32{1, 2}
		}, "fd 0: internet socket of address family 2: its addresses make no sense"},
		"state": {func(s []*pb.InetSkEntry, _ *host.Host) {
			s[0].State = pb.Uint32(uapi.TcpEstablished)
		}, "fd 0: TCP socket 127.0.0.1:80 in state 1 without a connection: the images contradict themselves"},
		"ICMP": {func(s []*pb.InetSkEntry, host *host.Host) {
			s[1].Proto, host.PingGroups = pb.Uint32(uapi.IpprotoICMP), groups([2]uint32{1, 0})
		}, "fd 1: ICMP socket 127.0.0.1:53: this host allows nobody any\n  hint: allow them: sysctl net.ipv4.ping_group_range"},
		// one space for all addresses, and both families
		"ICMP identifier": {func(s []*pb.InetSkEntry, host *host.Host) {
			s[1].Proto, host.InetSockets = pb.Uint32(uapi.IpprotoICMP),
				inUse(uapi.IpprotoICMP, "[::1]:53", uapi.TcpClose)
		}, "fd 1: ICMP socket 127.0.0.1:53: the port is in use\n  hint: end the process that has it"},
		"interface": {func(s []*pb.InetSkEntry, _ *host.Host) {
			s[0].Opts.SoBoundDev = pb.String("eth7")
		}, "fd 0: TCP socket 127.0.0.1:80 is bound to eth7: this host has no such interface\n  hint: make the interface again"},
		"link": {func(s []*pb.InetSkEntry, _ *host.Host) {
			s[0].Ifname = pb.String("eth7")
		}, "fd 0: TCP socket 127.0.0.1:80 is bound to eth7: this host has no such interface\n  hint: make the interface again"},
		"no address": {func(_ []*pb.InetSkEntry, host *host.Host) {
			host.CanBind = func(netip.Addr, string) bool { return false }
		}, "fd 0: TCP socket 127.0.0.1:80: this host does not have the address\n  hint: give the address to one of its interfaces, or use --freebind"},
		"no address to send from": {func(s []*pb.InetSkEntry, host *host.Host) {
			s[0].SrcPort, s[1].DstAddr, s[1].DstPort, s[1].IpOpts = pb.Uint32(0), localhost, pb.Uint32(7),
				&pb.IpOptsEntry{Freebind: pb.Bool(true)}
			host.CanBind = func(netip.Addr, string) bool { return false }
		}, "fd 1: UDP socket 127.0.0.1:53: this host does not have the address\n  hint: give the address to one of its interfaces"},
		"TCP port": {func(_ []*pb.InetSkEntry, host *host.Host) {
			host.InetSockets = inUse(uapi.IpprotoTCP, "0.0.0.0:80", uapi.TcpListen)
		}, "fd 0: TCP socket 127.0.0.1:80: the port is in use\n  hint: end the process that has it"},
		"UDP port": {func(_ []*pb.InetSkEntry, host *host.Host) {
			host.InetSockets = inUse(uapi.IpprotoUDP, "127.0.0.1:53", uapi.TcpClose)
		}, "fd 1: UDP socket 127.0.0.1:53: the port is in use\n  hint: end the process that has it"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, s := withInet(t)
			host := hosttest.New(dir)
			if _, err := buildSample(t, dir, host, &job.Options{}); err != nil {
				t.Fatal(err)
			}
			tc.change(s, host)
			_, err := buildSample(t, dir, host, &job.Options{})
			wantRefusal(t, err, tc.want)
		})
	}
}

func rawFilter(e *pb.InetSkEntry, protocol uint32, filter ...uint32) {
	e.Type, e.Proto = pb.Uint32(uapi.SockRaw), &protocol
	e.IpOpts = &pb.IpOptsEntry{Raw: &pb.IpOptsRawEntry{IcmpvFilter: filter}}
}

func inUse(protocol uint32, local string, state uint32) func() []host.InetSocket {
	return func() []host.InetSocket {
		return []host.InetSocket{{Protocol: protocol, Local: netip.MustParseAddrPort(local), State: state}}
	}
}

// What does not stand in the way is no reason to refuse.
func TestPortsNotInUse(t *testing.T) {
	for name, sockets := range map[string]func() []host.InetSocket{
		"connections of the past": inUse(uapi.IpprotoTCP, "127.0.0.1:80", uapi.TcpEstablished),
		"another address":         inUse(uapi.IpprotoTCP, "127.0.0.2:80", uapi.TcpListen),
		"another port":            inUse(uapi.IpprotoTCP, "127.0.0.1:81", uapi.TcpListen),
		"another protocol":        inUse(uapi.IpprotoUDP, "127.0.0.1:80", uapi.TcpClose),
		"IPv6":                    inUse(uapi.IpprotoTCP, "[::]:80", uapi.TcpListen), // it may be for IPv6 only
	} {
		dir, _ := withInet(t)
		host := hosttest.New(dir)
		host.InetSockets = sockets
		if _, err := buildSample(t, dir, host, &job.Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOverlap(t *testing.T) {
	for _, tc := range []struct {
		ours, theirs string
		v6only, want bool
	}{
		{"127.0.0.1", "127.0.0.1", false, true},
		{"127.0.0.1", "127.0.0.2", false, false},
		{"0.0.0.0", "127.0.0.2", false, true},
		{"127.0.0.2", "0.0.0.0", false, true},
		{"::1", "0.0.0.0", false, false},
		{"::", "127.0.0.1", false, true},
		{"::", "127.0.0.1", true, false},
		{"::", "::1", true, true},
		{"::ffff:127.0.0.1", "127.0.0.1", false, true},
	} {
		if got := sock.Overlap(netip.MustParseAddr(tc.ours), netip.MustParseAddr(tc.theirs),
			tc.v6only); got != tc.want {
			t.Errorf("overlap(%s, %s, %v) is %v", tc.ours, tc.theirs, tc.v6only, got)
		}
	}
}

// An address of a link needs the number that its interface has now.
func TestLinkAddress(t *testing.T) {
	dir, s := withInet(t)
	s[0].Family, s[0].SrcAddr, s[0].Ifname = pb.Uint32(uapi.AfInet6), []uint32{0x80fe, 0, 0, 0x01000000},
		pb.String("eth7")
	host := hosttest.New(dir)
	host.Interface = func(string) uint32 { return 0x5a5a }
	plan, err := buildSample(t, dir, host, &job.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range plan.Tasks[0].Threads[0].Ops {
		if op.Nr == uapi.SysBind && op.What == "TCP socket [fe80::1]:80" {
			if scope := plan.Arena.At(op.Args[1])[24:28]; string(scope) != "\x5a\x5a\x00\x00" {
				t.Errorf("sin6_scope_id % x", scope)
			}
			return
		}
	}
	t.Error("nothing is bound")
}

// CRIU writes the fields of struct sock_filter from the highest bits down; the kernel wants them in memory order.
func TestSocketFilter(t *testing.T) {
	if got := sock.SocketFilter([]uint64{0x0006_01_02_0a0b0c0d}); string(
		got) != "\x06\x00\x01\x02\x0d\x0c\x0b\x0a" {
		t.Errorf("% x", got)
	}
}

// An ICMP socket is made by a group that may, icmp(7).
func TestPingGroup(t *testing.T) {
	for _, tc := range []struct {
		allowed [2]uint32
		egid    uint32
		want    int
	}{{[2]uint32{0, 9}, 0, 0}, {[2]uint32{77, 99}, 0, 2}, {[2]uint32{0, 9}, 10, 2}} {
		dir, s := withInet(t)
		s[1].Proto = pb.Uint32(uapi.IpprotoICMP)
		host := hosttest.New(dir)
		host.PingGroups, host.Egid = groups(tc.allowed), tc.egid
		plan, err := buildSample(t, dir, host, &job.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var groups []uint64
		for i, op := range plan.Tasks[0].Threads[0].Ops {
			if op.Nr == uapi.SysSetresgid && op.Args[0] == math.MaxUint64 {
				groups = append(groups, op.Args[1])
				if next := plan.Tasks[0].Threads[0].Ops[i+1]; len(groups) == 1 &&
					(next.Nr != uapi.SysSocket || next.Args[2] != uapi.IpprotoICMP) {
					t.Errorf("in the group %d: %v, want the socket", op.Args[1], &next)
				}
			}
		}
		if len(groups) != tc.want || tc.want == 2 &&
			!slices.Equal(groups, []uint64{uint64(tc.allowed[0]), uint64(tc.egid)}) {
			t.Errorf("allowed %v, crpie is in %d: groups %v", tc.allowed, tc.egid, groups)
		}
	}
}

// Sockets of one port whose options would not let them be bound are made by the zygote; others where they belong.
func TestCrowdedPorts(t *testing.T) {
	type socket struct {
		proto, state    uint32
		port, addr      uint32
		reuse, sharing  bool
		device          string
		typ             uint32
		connectedToPort uint32
	}
	listener := socket{proto: uapi.IpprotoTCP, state: uapi.TcpListen, port: 80, typ: uapi.SockStream}
	udp := socket{proto: uapi.IpprotoUDP, state: uapi.TcpClose, port: 53, typ: uapi.SockDgram}
	with := func(s socket, change func(*socket)) socket { change(&s); return s }
	for name, tc := range map[string]struct {
		a, b socket
		want bool
	}{
		"both share": {with(listener, func(s *socket) { s.sharing = true }),
			with(listener, func(s *socket) { s.sharing = true }), false},
		"one has given it up": {listener, with(listener, func(s *socket) { s.sharing = true }), true},
		"another port":        {listener, with(listener, func(s *socket) { s.port = 81 }), false},
		"another address":     {listener, with(listener, func(s *socket) { s.addr = 0x0200007f }), false},
		"another protocol":    {listener, with(udp, func(s *socket) { s.port = 80 }), false},
		"two that reuse, UDP": {with(udp, func(s *socket) { s.reuse = true }),
			with(udp, func(s *socket) { s.reuse = true }), false},
		"one that reuses, UDP": {udp, with(udp, func(s *socket) { s.reuse = true }), true},
		"listening, reusing": {with(listener, func(s *socket) { s.reuse = true }),
			with(listener, func(s *socket) { s.reuse = true }), true},
		"two interfaces": {with(udp, func(s *socket) { s.device = "eth0" }),
			with(udp, func(s *socket) { s.device = "eth1" }), false},
		"one interface": {udp, with(udp, func(s *socket) { s.device = "eth1" }), true},
		"a connection": {listener, with(listener, func(s *socket) {
			s.connectedToPort = 9
			s.state = uapi.TcpEstablished
		}), false},
	} {
		dir, _ := withInet(t)
		dir.Tasks[0].Fds = nil
		for i, s := range []socket{tc.a, tc.b} {
			delete(dir.Files, uint32(1000+i))
			e := &pb.InetSkEntry{Type: &s.typ, Proto: &s.proto, SrcPort: &s.port, State: &s.state,
				DstPort: &s.connectedToPort}
			addInet(dir, i, e)
			if s.addr != 0 {
				e.SrcAddr = []uint32{s.addr}
			}
			e.Opts.SoReuseport, e.Opts.Reuseaddr, e.Opts.SoBoundDev = &s.sharing, &s.reuse, &s.device
		}
		room := sock.NewRoom(job.New(dir, hosttest.New(dir), &job.Options{}))
		if crowded := room.CrowdedPorts(); len(crowded) > 0 != tc.want {
			t.Errorf("%s: crowded %v, want %v", name, crowded, tc.want)
		}
	}
}

func groups(allowed [2]uint32) func() [2]uint32 { return func() [2]uint32 { return allowed } }
