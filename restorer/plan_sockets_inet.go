package restorer

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/crpie/crpie/images/pb"
)

// Numbers of ip(7), ipv6(7) and tcp(7).
const (
	ipprotoTCP, ipprotoUDP, ipprotoUDPLite = 6, 17, 136

	ipTos, ipTTL, ipPktinfo, ipFreebind = 1, 2, 8, 15

	ipv6V6only, ipv6Recvpktinfo, ipv6Freebind = 26, 49, 78

	tcpNodelay, tcpCork, tcpKeepidle, tcpKeepintvl, tcpKeepcnt = 1, 3, 4, 5, 6
)

// inetSocket restores UDP, TCP, ICMP and raw sockets.
func (f *sockPlanner) inetSocket(fd *pb.FdinfoEntry, e *pb.InetSkEntry) {
	source, dest, ok := f.checkInet(fd, e)
	if !ok {
		return
	}
	switch {
	case e.GetType() == sockRaw:
		f.rawSocket(fd, e, source, dest)
		return
	case hasConnection(e):
		f.connection(fd, e, source, dest)
		return
	}
	what := inetName(e, source)
	number := int(fd.GetFd())
	f.pingGroup(e, func() {
		f.create(fd, what, sysSocket, uint64(e.GetFamily()), uint64(e.GetType())|oNonblock, uint64(e.GetProto()))
	})
	f.ipOptions(number, what, e)
	f.socketOptions(number, what, e.GetOpts())
	f.forbidReuse(number, what, e)
	if e.GetSrcPort() != 0 {
		f.letIn(number, what, e)
		f.bindInet(number, what, e, source)
	}
	if e.GetState() == tcpListen {
		f.prog.sys(what, sysListen, uint64(number), uint64(e.GetBacklog()))
	}
	if e.GetState() == tcpEstablished && e.GetProto() != ipprotoTCP {
		addr, size := f.inetAddress(dest, 0)
		f.prog.sys(fmt.Sprintf("%s to %v", what, dest), sysConnect, uint64(number), addr, size)
	}
	f.shutdownInet(number, what, e)
	f.socketFlags(fd, e.GetFlags())
	f.owner(fd, e.GetFown())
}

// inetName is for people.
func inetName(e *pb.InetSkEntry, at netip.AddrPort) string {
	protocol := map[uint32]string{ipprotoTCP: "TCP", ipprotoUDP: "UDP", ipprotoUDPLite: "UDP-Lite", ipprotoICMP: "ICMP",
		ipprotoICMPv6: "ICMPv6"}[e.GetProto()]
	if e.GetSrcPort() == 0 {
		return protocol + " socket"
	}
	return fmt.Sprintf("%s socket %v", protocol, at)
}

// checkInet refuses what is not supported by its name.
func (f *sockPlanner) checkInet(fd *pb.FdinfoEntry, e *pb.InetSkEntry) (source, dest netip.AddrPort, ok bool) {
	source, okSource := inetAddrPort(e.GetFamily(), e.GetSrcAddr(), e.GetSrcPort())
	dest, okDest := inetAddrPort(e.GetFamily(), e.GetDstAddr(), e.GetDstPort())
	stream := e.GetType() == sockStream && e.GetProto() == ipprotoTCP
	datagram := e.GetType() == sockDgram && (e.GetProto() == ipprotoUDP || e.GetProto() == ipprotoUDPLite)
	where := f.fdWhere(fd)
	switch {
	case !stream && !datagram && !isPing(e) && e.GetType() != sockRaw:
		f.refuse(where, "", "internet socket of type %d, protocol %d: not supported", e.GetType(), e.GetProto())
	case !okSource || !okDest:
		f.refuse(where, "", "internet socket of address family %d: its addresses make no sense", e.GetFamily())
	case hasConnection(e), e.GetType() == sockRaw: // these have checks of their own
		return source, dest, true
	case isPing(e) && f.host.PingGroups[0] > f.host.PingGroups[1]:
		f.refuse(where, `allow them: sysctl net.ipv4.ping_group_range="0 0"`, "%s: this host allows nobody any", inetName(e, source))
	case stream && e.GetState() != tcpListen && e.GetState() != tcpClose:
		f.refuse(where, "", "%s in state %d without a connection: impossible", inetName(e, source), e.GetState())
	default:
		return source, dest, f.checkHere(where, e, source)
	}
	return source, dest, false
}

// inetAddrPort reads an address, whose words are in network order; there are none when nothing was bound.
func inetAddrPort(family uint32, words []uint32, port uint32) (at netip.AddrPort, ok bool) {
	var b []byte
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	want := map[uint32]int{afInet: 4, afInet6: 16}[family]
	if len(b) == 0 {
		b = make([]byte, want)
	}
	addr, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr, uint16(port)), want != 0 && len(b) == want && port <= 0xffff
}

// inetAddress lays out a sockaddr_in or sockaddr_in6; scope is the interface of a link's own address.
func (f *sockPlanner) inetAddress(at netip.AddrPort, scope uint32) (addr, size uint64) {
	family := uint16(afInet6)
	if at.Addr().Is4() {
		family = afInet
	}
	b := binary.LittleEndian.AppendUint16(nil, family)
	b = binary.BigEndian.AppendUint16(b, at.Port())
	if family == afInet6 {
		b = append(b, 0, 0, 0, 0) // sin6_flowinfo
	}
	b = append(b, at.Addr().AsSlice()...)
	if family == afInet6 {
		b = binary.LittleEndian.AppendUint32(b, scope)
	} else {
		b = append(b, make([]byte, 8)...) // sin_zero
	}
	return f.prog.arena.bytes(b), uint64(len(b))
}

// bindInet: connections of the past (TIME_WAIT) must not keep a TCP socket from its port, ip(7) SO_REUSEADDR.
func (f *sockPlanner) bindInet(number int, what string, e *pb.InetSkEntry, at netip.AddrPort) {
	addr, size := f.inetAddress(at, f.scope(e))
	past := e.GetProto() == ipprotoTCP && !e.GetOpts().GetReuseaddr() && !f.crowded[e.GetId()]
	if past {
		f.prog.setOption(number, what, solSocket, soReuseaddr, 1)
	}
	f.prog.sys(what, sysBind, uint64(number), addr, size)
	if past {
		f.prog.setOption(number, what, solSocket, soReuseaddr, 0)
	}
}

// shutdownInet shuts a socket down, also one that is not connected: shutdown(2) does it and says ENOTCONN, net/ipv4/af_inet.c
// inet_shutdown.
func (f *sockPlanner) shutdownInet(number int, what string, e *pb.InetSkEntry) {
	const enotconn = -107
	switch how := e.GetShutdown(); {
	case how == pb.SkShutdown_NONE:
	case e.GetState() == tcpEstablished:
		f.shutdownSocket(number, what, how)
	default:
		f.prog.want(enotconn, what, sysShutdown, uint64(number), uint64(how)-1)
	}
}

// forbidReuse switches SO_REUSEADDR off where new sockets have it, INET_PROTOSW_REUSE in net/ipv4/af_inet.c. A dump without
// the option leaves it.
func (f *sockPlanner) forbidReuse(number int, what string, e *pb.InetSkEntry) {
	reuse := e.GetOpts().Reuseaddr
	if reuse != nil && !*reuse && (isPing(e) || e.GetType() == sockRaw) && !f.crowded[e.GetId()] {
		f.prog.setOption(number, what, solSocket, soReuseaddr, 0)
	}
}

// isPing: sockets that send and receive ICMP echo messages alone, icmp(7).
func isPing(e *pb.InetSkEntry) bool {
	return e.GetType() == sockDgram && (e.GetProto() == ipprotoICMP && e.GetFamily() == afInet ||
		e.GetProto() == ipprotoICMPv6 && e.GetFamily() == afInet6)
}

// pingGroup makes an ICMP socket, which only some groups may, whoever is in them: icmp(7), ping_group_range.
func (f *sockPlanner) pingGroup(e *pb.InetSkEntry, create func()) {
	allowed, own := f.host.PingGroups, f.host.Egid
	if !isPing(e) || own >= allowed[0] && own <= allowed[1] {
		create()
		return
	}
	const unchanged = ^uint64(0)
	f.prog.sys("a group that may have ICMP sockets", sysSetresgid, unchanged, uint64(allowed[0]), unchanged)
	create()
	f.prog.sys("this group again", sysSetresgid, unchanged, uint64(own), unchanged)
}

// An inetOption is one of a protocol's options.
type inetOption struct{ level, option, value uint64 }

// ipOptions sets the options of the protocols.
func (f *sockPlanner) ipOptions(number int, what string, e *pb.InetSkEntry) {
	if e.V6Only != nil && e.GetFamily() == afInet6 && e.GetType() != sockRaw {
		f.prog.setOption(number, what, solIPv6, ipv6V6only, oneIf(e.GetV6Only()))
	}
	options := networkOptions(e)
	if e.GetType() == sockStream {
		options = append(options, tcpOptions(e)...)
	}
	for _, o := range options {
		if o.value != 0 {
			f.prog.setOption(number, what, o.level, o.option, o.value)
		}
	}
}

// networkOptions: CRIU reads those of IP at level SOL_IP for both families, all but one, and so they are set. Raw IPv6 sockets
// alone have no such level.
func networkOptions(e *pb.InetSkEntry) []inetOption {
	ip := e.GetIpOpts()
	pktinfo := inetOption{solIP, ipPktinfo, oneIf(ip.GetPktinfo())}
	if e.GetFamily() == afInet6 {
		pktinfo.level, pktinfo.option = solIPv6, ipv6Recvpktinfo
	}
	if e.GetType() == sockRaw && e.GetFamily() == afInet6 {
		return []inetOption{{solIPv6, ipv6Freebind, oneIf(ip.GetFreebind())}, pktinfo}
	}
	return []inetOption{
		{solIP, ipFreebind, oneIf(ip.GetFreebind())}, pktinfo,
		{solIP, ipTos, uint64(ip.GetTos())}, {solIP, ipTTL, uint64(ip.GetTtl())},
	}
}

// tcpOptions: CRIU before 3.17 kept some elsewhere.
func tcpOptions(e *pb.InetSkEntry) []inetOption {
	tcp, old := e.GetTcpOpts(), e.GetOpts()
	return []inetOption{
		{solTCP, tcpNodelay, oneIf(tcp.GetNodelay())}, {solTCP, tcpCork, oneIf(tcp.GetCork())},
		{solTCP, tcpKeepidle, uint64(cmp.Or(tcp.GetKeepidle(), old.GetTcpKeepidle()))},
		{solTCP, tcpKeepintvl, uint64(cmp.Or(tcp.GetKeepintvl(), old.GetTcpKeepintvl()))},
		{solTCP, tcpKeepcnt, uint64(cmp.Or(tcp.GetKeepcnt(), old.GetTcpKeepcnt()))},
	}
}

func oneIf(on bool) uint64 {
	if on {
		return 1
	}
	return 0
}
