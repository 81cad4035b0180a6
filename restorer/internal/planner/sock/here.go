package sock

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
)

// Whether this host lets internet sockets have their addresses is asked before anything exists.

// checkHere refuses addresses that this host does not have and ports that are taken.
func (f *descriptors) checkHere(where string, e *pb.InetSkEntry, source netip.AddrPort) bool {
	what := inetName(e, source)
	if !f.checkAddress(where, what, e, source) {
		return false
	}
	if e.GetSrcPort() != 0 && f.portTaken(e, source) {
		f.Refuse(where, "end the process that has it", "%s: the port is in use", what)
		return false
	}
	return true
}

// checkAddress refuses a socket whose address or interface this host does not have, as far as the kernel would: IPv6
// sockets, and IPv4 ones with IP_FREEBIND, may be bound to an address that is not there yet.
func (f *descriptors) checkAddress(where, what string, e *pb.InetSkEntry, source netip.AddrPort) bool {
	device := cmp.Or(e.GetOpts().GetSoBoundDev(), e.GetIfname())
	switch {
	case device != "" && f.Host.Interface(device) == 0 && f.awaits(e, device):
		return true
	case device != "" && f.Host.Interface(device) == 0:
		f.Refuse(where, "make the interface again", "%s is bound to %s: this host has no such interface", what,
			device)
	case !f.lacksAddress(e, source):
		return true
	case isConnected(e) && e.GetFamily() == uapi.AfInet, hasConnection(e) && !e.GetIpOpts().GetFreebind():
		f.Refuse(where, "give the address to one of its interfaces", "%s: this host does not have the address",
			what)
	case e.GetIpOpts().GetFreebind():
		return true
	case e.GetFamily() == uapi.AfInet && !f.Opts.Freebind:
		f.Refuse(where, "give the address to one of its interfaces, or use --freebind",
			"%s: this host does not have the address", what)
	default:
		f.Warn(where, "%s: this host does not have the address, and nobody reaches the socket until it does",
			what)
		return true
	}
	return false
}

// awaits reports whether an interface may come before the socket is bound to it, which is checked then. Of an address
// that belongs to a link the kernel wants the interface's number, which nobody knows yet; or that the socket is bound
// to the interface before, for which the name is enough, net/ipv6/af_inet6.c inet6_bind.
func (f *descriptors) awaits(e *pb.InetSkEntry, device string) bool {
	if e.GetIfname() != "" && e.GetIfname() != e.GetOpts().GetSoBoundDev() || !f.Host.MayCome(device) {
		return false
	}
	if !slices.Contains(f.Plan.Interfaces, device) {
		f.Plan.Interfaces = append(f.Plan.Interfaces, device)
		f.Plan.Network = append(f.Plan.Network, escape.Name("somebody else makes the interface "+device))
	}
	return true
}

// lacksAddress reports whether a socket can have its address by IP_FREEBIND alone, ip(7). The host had it once, or the
// option was switched off after bind: the images do not tell. CRIU restores IPv6 sockets all the same, whose addresses
// may only be about to be valid (RFC 4862, tentative addresses). No IPv4 socket can be connected from there.
func (f *descriptors) lacksAddress(e *pb.InetSkEntry, source netip.AddrPort) bool {
	device := cmp.Or(e.GetOpts().GetSoBoundDev(), e.GetIfname())
	return e.GetSrcPort() != 0 && !f.Host.CanBind(source.Addr(), device)
}

func isConnected(e *pb.InetSkEntry) bool {
	return slices.ContainsFunc(e.GetDstAddr(), func(word uint32) bool { return word != 0 })
}

// bindHere binds a socket, also to an address that this host lacks.
func (f *descriptors) bindHere(number int, what string, e *pb.InetSkEntry, at netip.AddrPort) {
	addr, size := f.inetAddress(at, f.scope(e))
	lacks, o := (f.lacksAddress(e, at) || f.mayBeTentative(at)) && !e.GetIpOpts().GetFreebind(), freebind(e)
	if lacks {
		f.Prog.SetOption(number, what, o.level, o.option, 1)
	}
	f.Prog.Sys(what, uapi.SysBind, uint64(number), addr, size)
	if lacks {
		f.Prog.SetOption(number, what, o.level, o.option, 0)
	}
}

// mayBeTentative reports whether an address may just have been given to an interface: IPv6 lets nobody have it until
// it is known to be nobody else's, RFC 4862.
func (f *descriptors) mayBeTentative(at netip.AddrPort) bool {
	return at.Addr().Is6() && !at.Addr().IsUnspecified() && f.Host.MayCome("")
}

// scope is the interface whose link an IPv6 address belongs to, ipv6(7).
func (f *descriptors) scope(e *pb.InetSkEntry) uint32 {
	if e.GetIfname() == "" {
		return 0
	}
	return f.Host.Interface(e.GetIfname())
}

// portTaken reports whether some socket of this host will certainly make bind(2) fail. Who allows others the same port
// does not say so in that table; then bind has the last word.
func (p *Room) portTaken(e *pb.InetSkEntry, at netip.AddrPort) bool {
	opts, tcp, ping := e.GetOpts(), e.GetProto() == uapi.IpprotoTCP, isPing(e)
	if opts.GetSoReuseport() && !ping || !tcp && opts.GetReuseaddr() {
		return false
	}
	return slices.ContainsFunc(p.inetSockets(), func(s host.InetSocket) bool {
		return s.Protocol == portSpace(e) && s.Local.Port() == at.Port() &&
			(!tcp || s.State == uapi.TcpListen) &&
			(ping || Overlap(at.Addr(), s.Local.Addr(), e.GetV6Only()))
	})
}

// Overlap reports whether a socket bound to one address keeps another from the other. :: takes the IPv4 addresses, too,
// unless it is for IPv6 only, which is known of ours.
func Overlap(ours, theirs netip.Addr, v6only bool) bool {
	if ours.Is6() && ours.IsUnspecified() && !v6only {
		return true
	}
	ours, theirs = ours.Unmap(), theirs.Unmap()
	return ours.Is4() == theirs.Is4() && (ours == theirs || ours.IsUnspecified() || theirs.IsUnspecified())
}
