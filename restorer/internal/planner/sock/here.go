package sock

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/uapi"
)

// Whether this host lets internet sockets have their addresses is asked before anything exists.

// checkHere refuses addresses that this host does not have and ports that somebody else has.
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

func (f *descriptors) checkAddress(where, what string, e *pb.InetSkEntry, source netip.AddrPort) bool {
	device := cmp.Or(e.GetOpts().GetSoBoundDev(), e.GetIfname())
	switch {
	case device != "" && f.Host.Interface(device) == 0:
		f.Refuse(where, "make the interface again", "%s is bound to %s: this host has no such interface", what, device)
	case e.GetSrcPort() != 0 && !e.GetIpOpts().GetFreebind() && !f.Host.CanBind(source.Addr(), device):
		f.Refuse(where, "give the address to one of its interfaces", "%s: this host does not have the address", what)
	default:
		return true
	}
	return false
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
		return s.Protocol == portSpace(e) && s.Local.Port() == at.Port() && (!tcp || s.State == uapi.TcpListen) &&
			(ping || Overlap(at.Addr(), s.Local.Addr(), e.GetV6Only()))
	})
}

// Overlap: what is bound to one address is in the way of the other. :: takes the IPv4 addresses, too, unless it is for
// IPv6 only, which is known of ours.
func Overlap(ours, theirs netip.Addr, v6only bool) bool {
	if ours.Is6() && ours.IsUnspecified() && !v6only {
		return true
	}
	ours, theirs = ours.Unmap(), theirs.Unmap()
	return ours.Is4() == theirs.Is4() && (ours == theirs || ours.IsUnspecified() || theirs.IsUnspecified())
}
