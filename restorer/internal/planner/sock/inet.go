package sock

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
)

// inetSocket restores UDP, TCP, ICMP and raw sockets.
func (f *descriptors) inetSocket(fd *pb.FdinfoEntry, e *pb.InetSkEntry) {
	source, dest, ok := f.checkInet(fd, e)
	if !ok {
		return
	}
	switch {
	case e.GetType() == uapi.SockRaw:
		f.rawSocket(fd, e, source, dest)
		return
	case hasConnection(e):
		f.connection(fd, e, source, dest)
		return
	}
	what := inetName(e, source)
	number := int(fd.GetFd())
	f.pingGroup(e, func() {
		f.Create(fd, what, uapi.SysSocket, uint64(e.GetFamily()), uint64(e.GetType())|uapi.ONonblock,
			uint64(e.GetProto()))
	})
	f.ipOptions(number, what, e)
	f.socketOptions(number, what, e.GetOpts())
	f.forbidReuse(number, what, e)
	if e.GetSrcPort() != 0 {
		f.letIn(number, what, e)
		f.bindInet(number, what, e, source)
	}
	if e.GetState() == uapi.TcpListen {
		f.Prog.Sys(what, uapi.SysListen, uint64(number), uint64(e.GetBacklog()))
	}
	if e.GetState() == uapi.TcpEstablished && e.GetProto() != uapi.IpprotoTCP {
		addr, size := f.inetAddress(dest, 0)
		f.Prog.Sys(fmt.Sprintf("%s to %v", what, dest), uapi.SysConnect, uint64(number), addr, size)
	}
	f.shutdownInet(number, what, e)
	f.socketFlags(fd, e.GetFlags())
	f.Owner(fd, e.GetFown())
}

// inetName is for people.
func inetName(e *pb.InetSkEntry, at netip.AddrPort) string {
	protocol := map[uint32]string{uapi.IpprotoTCP: "TCP", uapi.IpprotoUDP: "UDP", uapi.IpprotoUDPLite: "UDP-Lite",
		uapi.IpprotoICMP:   "ICMP",
		uapi.IpprotoICMPv6: "ICMPv6"}[e.GetProto()]
	if e.GetSrcPort() == 0 {
		return protocol + " socket"
	}
	return fmt.Sprintf("%s socket %v", protocol, at)
}

// checkInet refuses kinds of sockets that are not supported.
func (f *descriptors) checkInet(fd *pb.FdinfoEntry, e *pb.InetSkEntry) (source, dest netip.AddrPort, ok bool) {
	source, okSource := images.AddrPort(e.GetFamily(), e.GetSrcAddr(), e.GetSrcPort())
	dest, okDest := images.AddrPort(e.GetFamily(), e.GetDstAddr(), e.GetDstPort())
	stream := e.GetType() == uapi.SockStream && e.GetProto() == uapi.IpprotoTCP
	datagram := e.GetType() == uapi.SockDgram && (e.GetProto() == uapi.IpprotoUDP ||
		e.GetProto() == uapi.IpprotoUDPLite)
	where := f.FdWhere(fd)
	switch {
	case !stream && !datagram && !isPing(e) && e.GetType() != uapi.SockRaw:
		f.Refuse(where, "", "internet socket of type %d, protocol %d: not supported", e.GetType(), e.GetProto())
	case !okSource || !okDest:
		f.Refuse(where, "", "internet socket of address family %d: its addresses make no sense", e.GetFamily())
	case hasConnection(e), e.GetType() == uapi.SockRaw: // these have checks of their own
		return source, dest, true
	case isPing(e) && !anyGroup(f.Host.PingGroups()):
		f.Refuse(where, `allow them: sysctl net.ipv4.ping_group_range="0 0"`, "%s: this host allows nobody any",
			inetName(e, source))
	case stream && e.GetState() != uapi.TcpListen && e.GetState() != uapi.TcpClose:
		f.Refuse(where, "", "%s in state %d without a connection: the images contradict themselves",
			inetName(e, source),
			e.GetState())
	default:
		return source, dest, f.checkHere(where, e, source)
	}
	return source, dest, false
}

// inetAddress lays out a sockaddr_in or sockaddr_in6; scope is the interface of a link's own address.
func (f *descriptors) inetAddress(at netip.AddrPort, scope uint32) (addr, size uint64) {
	family := uint16(uapi.AfInet6)
	if at.Addr().Is4() {
		family = uapi.AfInet
	}
	b := binary.LittleEndian.AppendUint16(nil, family)
	b = binary.BigEndian.AppendUint16(b, at.Port())
	if family == uapi.AfInet6 {
		b = append(b, 0, 0, 0, 0) // sin6_flowinfo
	}
	b = append(b, at.Addr().AsSlice()...)
	if family == uapi.AfInet6 {
		b = binary.LittleEndian.AppendUint32(b, scope)
	} else {
		b = append(b, make([]byte, 8)...) // sin_zero
	}
	return f.Prog.Arena.Bytes(b), uint64(len(b))
}

// bindInet: connections of the past (TIME_WAIT) must not keep a TCP socket from its port, ip(7) SO_REUSEADDR.
func (f *descriptors) bindInet(number int, what string, e *pb.InetSkEntry, at netip.AddrPort) {
	past := e.GetProto() == uapi.IpprotoTCP && !e.GetOpts().GetReuseaddr() && !f.crowded[e.GetId()]
	if past {
		f.Prog.SetOption(number, what, uapi.SolSocket, uapi.SoReuseaddr, 1)
	}
	f.bindHere(number, what, e, at)
	if past {
		f.Prog.SetOption(number, what, uapi.SolSocket, uapi.SoReuseaddr, 0)
	}
}

// shutdownInet shuts a socket down, also one that is not connected: shutdown(2) does it and says ENOTCONN,
// net/ipv4/af_inet.c inet_shutdown.
func (f *descriptors) shutdownInet(number int, what string, e *pb.InetSkEntry) {
	const enotconn = -107
	switch how := e.GetShutdown(); {
	case how == pb.SkShutdown_NONE:
	case e.GetState() == uapi.TcpEstablished:
		f.shutdownSocket(number, what, how)
	default:
		f.Prog.Want(enotconn, what, uapi.SysShutdown, uint64(number), uint64(how)-1)
	}
}

// forbidReuse switches SO_REUSEADDR off where new sockets have it, INET_PROTOSW_REUSE in net/ipv4/af_inet.c. A dump
// without the option leaves it.
func (f *descriptors) forbidReuse(number int, what string, e *pb.InetSkEntry) {
	reuse := e.GetOpts().Reuseaddr
	if reuse != nil && !*reuse && (isPing(e) || e.GetType() == uapi.SockRaw) && !f.crowded[e.GetId()] {
		f.Prog.SetOption(number, what, uapi.SolSocket, uapi.SoReuseaddr, 0)
	}
}

// isPing: sockets that send and receive ICMP echo messages alone, icmp(7).
func isPing(e *pb.InetSkEntry) bool {
	return e.GetType() == uapi.SockDgram && (e.GetProto() == uapi.IpprotoICMP && e.GetFamily() == uapi.AfInet ||
		e.GetProto() == uapi.IpprotoICMPv6 && e.GetFamily() == uapi.AfInet6)
}

// anyGroup reports whether somebody may have ICMP sockets.
func anyGroup(allowed [2]uint32) bool { return allowed[0] <= allowed[1] }

// pingGroup makes an ICMP socket, which only some groups may: icmp(7), ping_group_range.
func (f *descriptors) pingGroup(e *pb.InetSkEntry, create func()) {
	if !isPing(e) {
		create()
		return
	}
	allowed, own := f.Host.PingGroups(), f.Host.Egid
	if own >= allowed[0] && own <= allowed[1] {
		create()
		return
	}
	const unchanged = ^uint64(0)
	f.Prog.Sys("a group that may have ICMP sockets", uapi.SysSetresgid, unchanged, uint64(allowed[0]), unchanged)
	create()
	f.Prog.Sys("this group again", uapi.SysSetresgid, unchanged, uint64(own), unchanged)
}

// An inetOption is one of a protocol's options.
type inetOption struct{ level, option, value uint64 }

// ipOptions sets the options of the protocols.
func (f *descriptors) ipOptions(number int, what string, e *pb.InetSkEntry) {
	if e.V6Only != nil && e.GetFamily() == uapi.AfInet6 && e.GetType() != uapi.SockRaw {
		f.Prog.SetOption(number, what, uapi.SolIPv6, uapi.Ipv6V6only, oneIf(e.GetV6Only()))
	}
	options := networkOptions(e)
	if e.GetType() == uapi.SockStream {
		options = append(options, tcpOptions(e)...)
	}
	for _, o := range options {
		if o.value != 0 {
			f.Prog.SetOption(number, what, o.level, o.option, o.value)
		}
	}
}

// freebind: raw IPv6 sockets alone have no level SOL_IP.
func freebind(e *pb.InetSkEntry) inetOption {
	value := oneIf(e.GetIpOpts().GetFreebind())
	if e.GetType() == uapi.SockRaw && e.GetFamily() == uapi.AfInet6 {
		return inetOption{uapi.SolIPv6, uapi.Ipv6Freebind, value}
	}
	return inetOption{uapi.SolIP, uapi.IpFreebind, value}
}

// networkOptions: CRIU reads those of IP at level SOL_IP for both families, all but one, and so they are set.
func networkOptions(e *pb.InetSkEntry) []inetOption {
	ip := e.GetIpOpts()
	pktinfo := inetOption{uapi.SolIP, uapi.IpPktinfo, oneIf(ip.GetPktinfo())}
	if e.GetFamily() == uapi.AfInet6 {
		pktinfo.level, pktinfo.option = uapi.SolIPv6, uapi.Ipv6Recvpktinfo
	}
	if freebind(e).level != uapi.SolIP {
		return []inetOption{freebind(e), pktinfo}
	}
	return []inetOption{
		freebind(e), pktinfo,
		{uapi.SolIP, uapi.IpTos, uint64(ip.GetTos())}, {uapi.SolIP, uapi.IpTTL, uint64(ip.GetTtl())},
	}
}

// tcpOptions: CRIU before 3.17 kept some elsewhere.
func tcpOptions(e *pb.InetSkEntry) []inetOption {
	tcp, old := e.GetTcpOpts(), e.GetOpts()
	return []inetOption{
		{uapi.SolTCP, uapi.TcpNodelay, oneIf(tcp.GetNodelay())},
		{uapi.SolTCP, uapi.TcpCork, oneIf(tcp.GetCork())},
		{uapi.SolTCP, uapi.TcpKeepidle, uint64(cmp.Or(tcp.GetKeepidle(), old.GetTcpKeepidle()))},
		{uapi.SolTCP, uapi.TcpKeepintvl, uint64(cmp.Or(tcp.GetKeepintvl(), old.GetTcpKeepintvl()))},
		{uapi.SolTCP, uapi.TcpKeepcnt, uint64(cmp.Or(tcp.GetKeepcnt(), old.GetTcpKeepcnt()))},
	}
}

func oneIf(on bool) uint64 {
	if on {
		return 1
	}
	return 0
}
