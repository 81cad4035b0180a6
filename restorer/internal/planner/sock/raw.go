package sock

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
)

// rawSocket restores a socket that makes its own packets. What looks like its port is its protocol.
func (f *descriptors) rawSocket(fd *pb.FdinfoEntry, e *pb.InetSkEntry, source, dest netip.AddrPort) {
	what := fmt.Sprintf("raw socket, protocol %d", e.GetProto())
	if !f.checkRaw(f.FdWhere(fd), what, e, source) {
		return
	}
	number := int(fd.GetFd())
	f.Create(fd, what, uapi.SysSocket, uint64(e.GetFamily()), uapi.SockRaw|uapi.ONonblock, uint64(e.GetProto()))
	f.rawOptions(number, what, e)
	f.ipOptions(number, what, e)
	f.socketOptions(number, what, e.GetOpts())
	f.forbidReuse(number, what, e)
	if !source.Addr().IsUnspecified() {
		f.bindHere(number, what, e, netip.AddrPortFrom(source.Addr(), 0))
	}
	if !dest.Addr().IsUnspecified() {
		addr, size := f.inetAddress(dest, f.scope(e))
		f.Prog.Sys(fmt.Sprintf("%s to %v", what, dest.Addr()), uapi.SysConnect, uint64(number), addr, size)
	}
	f.shutdownInet(number, what, e)
	f.socketFlags(fd, e.GetFlags())
	f.Owner(fd, e.GetFown())
}

// checkRaw refuses raw sockets that cannot be made as they were, raw(7).
func (f *descriptors) checkRaw(where, what string, e *pb.InetSkEntry, source netip.AddrPort) bool {
	raw := e.GetIpOpts().GetRaw()
	words := map[uint32]int{uapi.IpprotoICMP: 1, uapi.IpprotoICMPv6: uapi.Icmpv6FilterWords}[e.GetProto()]
	switch filter := raw.GetIcmpvFilter(); {
	case !f.Host.Has(uapi.CapNetRaw):
		f.Refuse(where, "run crpie as root", "%s: crpie lacks %s", what, uapi.CapNames[uapi.CapNetRaw])
	case len(filter) != 0 && len(filter) != words:
		f.Refuse(where, "", "%s has a filter of %d words, want %d", what, len(filter), words)
	case raw.GetChecksum():
		f.Refuse(where, "", "%s computes checksums (IPV6_CHECKSUM), but where they are was not dumped: not supported",
			what)
	default:
		return f.checkAddress(where, what, e, source)
	}
	return false
}

// rawOptions sets the options that only raw sockets have.
func (f *descriptors) rawOptions(number int, what string, e *pb.InetSkEntry) {
	raw := e.GetIpOpts().GetRaw()
	header, level := uint64(uapi.IpHdrincl), uint64(uapi.SolIP)
	if e.GetFamily() == uapi.AfInet6 {
		header, level = uapi.Ipv6Hdrincl, uapi.SolIPv6
	}
	if e.GetOpts().Reuseaddr != nil && !e.GetOpts().GetReuseaddr() { // new raw sockets have it, net/ipv4/af_inet.c
		f.Prog.SetOption(number, what, uapi.SolSocket, uapi.SoReuseaddr, 0)
	}
	if raw.GetHdrincl() {
		f.Prog.SetOption(number, what, level, header, 1)
	}
	if raw.GetNodefrag() {
		f.Prog.SetOption(number, what, uapi.SolIP, uapi.IpNodefrag, 1)
	}
	if filter := raw.GetIcmpvFilter(); len(filter) > 0 {
		var b []byte
		for _, w := range filter {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
		filterLevel := uint64(uapi.SolRaw)
		if e.GetFamily() == uapi.AfInet6 {
			filterLevel = uapi.SolICMPv6
		}
		f.Prog.Sys("filter of "+what, uapi.SysSetsockopt, uint64(number), filterLevel, uapi.IcmpFilter,
			f.Prog.Arena.Bytes(b), uint64(len(b)))
	}
}
