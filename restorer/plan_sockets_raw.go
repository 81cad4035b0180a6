package restorer

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/crpie/crpie/images/pb"
)

// Numbers of raw(7), icmp(7) and ipv6(7).
const (
	ipprotoICMP, ipprotoICMPv6 = 1, 58

	solRaw, solICMPv6 = 255, 58

	ipHdrincl, ipNodefrag = 3, 22
	ipv6Hdrincl           = 36
	icmpFilter            = 1 // of both, at their own levels
	icmpv6FilterWords     = 8 // struct icmp6_filter
)

// rawSocket restores a socket that makes its own packets. What looks like its port is its protocol.
func (f *sockPlanner) rawSocket(fd *pb.FdinfoEntry, e *pb.InetSkEntry, source, dest netip.AddrPort) {
	what := fmt.Sprintf("raw socket, protocol %d", e.GetProto())
	if !f.checkRaw(f.fdWhere(fd), what, e, source) {
		return
	}
	number := int(fd.GetFd())
	f.create(fd, what, sysSocket, uint64(e.GetFamily()), sockRaw|oNonblock, uint64(e.GetProto()))
	f.rawOptions(number, what, e)
	f.ipOptions(number, what, e)
	f.socketOptions(number, what, e.GetOpts())
	f.forbidReuse(number, what, e)
	if !source.Addr().IsUnspecified() {
		addr, size := f.inetAddress(netip.AddrPortFrom(source.Addr(), 0), f.scope(e))
		f.prog.sys(what, sysBind, uint64(number), addr, size)
	}
	if !dest.Addr().IsUnspecified() {
		addr, size := f.inetAddress(dest, f.scope(e))
		f.prog.sys(fmt.Sprintf("%s to %v", what, dest.Addr()), sysConnect, uint64(number), addr, size)
	}
	f.shutdownInet(number, what, e)
	f.socketFlags(fd, e.GetFlags())
	f.owner(fd, e.GetFown())
}

func (f *sockPlanner) checkRaw(where, what string, e *pb.InetSkEntry, source netip.AddrPort) bool {
	raw := e.GetIpOpts().GetRaw()
	words := map[uint32]int{ipprotoICMP: 1, ipprotoICMPv6: icmpv6FilterWords}[e.GetProto()]
	switch filter := raw.GetIcmpvFilter(); {
	case !f.host.has(capNetRaw):
		f.refuse(where, "run crpie as root", "%s: crpie lacks %s", what, capNames[capNetRaw])
	case len(filter) != 0 && len(filter) != words:
		f.refuse(where, "", "%s has a filter of %d words, want %d", what, len(filter), words)
	case raw.GetChecksum():
		f.refuse(where, "", "%s computes checksums (IPV6_CHECKSUM), but where they are was not dumped: not supported", what)
	default:
		return f.checkAddress(where, what, e, source)
	}
	return false
}

func (f *sockPlanner) rawOptions(number int, what string, e *pb.InetSkEntry) {
	raw := e.GetIpOpts().GetRaw()
	header, level := uint64(ipHdrincl), uint64(solIP)
	if e.GetFamily() == afInet6 {
		header, level = ipv6Hdrincl, solIPv6
	}
	if e.GetOpts().Reuseaddr != nil && !e.GetOpts().GetReuseaddr() { // new raw sockets have it, net/ipv4/af_inet.c
		f.prog.setOption(number, what, solSocket, soReuseaddr, 0)
	}
	if raw.GetHdrincl() {
		f.prog.setOption(number, what, level, header, 1)
	}
	if raw.GetNodefrag() {
		f.prog.setOption(number, what, solIP, ipNodefrag, 1)
	}
	if filter := raw.GetIcmpvFilter(); len(filter) > 0 {
		var b []byte
		for _, w := range filter {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
		filterLevel := uint64(solRaw)
		if e.GetFamily() == afInet6 {
			filterLevel = solICMPv6
		}
		f.prog.sys("filter of "+what, sysSetsockopt, uint64(number), filterLevel, icmpFilter, f.prog.arena.bytes(b), uint64(len(b)))
	}
}
