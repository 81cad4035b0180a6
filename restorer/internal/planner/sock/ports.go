package sock

import (
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// Several sockets have one port because SO_REUSEPORT or SO_REUSEADDR let them when they were bound, socket(7); some may
// have given the option up since. The zygote makes all sockets of such a port: it binds them with both options, and
// gives each its own values when the last one is bound and listens.

// CrowdedPorts finds the files of sockets whose options would not let them be bound to the port that they have in
// common.
func (p *Room) CrowdedPorts() map[uint32]bool {
	p.crowded = map[uint32]bool{}
	onPort := map[uint32][]*pb.InetSkEntry{}
	for id, file := range p.Dir.Files {
		if e := file.GetIsk(); e != nil && e.GetType() != uapi.SockRaw && e.GetSrcPort() != 0 &&
			!hasConnection(e) {
			for _, other := range onPort[e.GetSrcPort()] {
				if inTheWay(e, other) {
					p.crowded[id], p.crowded[other.GetId()] = true, true
				}
			}
			onPort[e.GetSrcPort()] = append(onPort[e.GetSrcPort()], e)
		}
	}
	return p.crowded
}

// hasConnection: TCP_REPAIR binds a connection to any port, net/ipv4/tcp.c.
func hasConnection(e *pb.InetSkEntry) bool {
	return e.GetProto() == uapi.IpprotoTCP && e.GetDstPort() != 0
}

// inTheWay reports whether two sockets of one port could not be bound with the options that they have.
func inTheWay(a, b *pb.InetSkEntry) bool {
	atA, _ := images.AddrPort(a.GetFamily(), a.GetSrcAddr(), a.GetSrcPort())
	atB, _ := images.AddrPort(b.GetFamily(), b.GetSrcAddr(), b.GetSrcPort())
	devA, devB := a.GetOpts().GetSoBoundDev(), b.GetOpts().GetSoBoundDev()
	tcp := a.GetProto() == uapi.IpprotoTCP
	listens := a.GetState() == uapi.TcpListen || b.GetState() == uapi.TcpListen
	switch {
	case portSpace(a) != portSpace(b):
		return false
	case isPing(a): // they have one space of identifiers for all addresses, net/ipv4/ping.c
		return !a.GetOpts().GetReuseaddr() || !b.GetOpts().GetReuseaddr()
	case devA != "" && devB != "" && devA != devB:
		return false
	case !Overlap(atA.Addr(), atB.Addr(), a.GetV6Only()) && !Overlap(atB.Addr(), atA.Addr(), b.GetV6Only()):
		return false
	case a.GetOpts().GetSoReuseport() && b.GetOpts().GetSoReuseport():
		return false
	}
	return !a.GetOpts().GetReuseaddr() || !b.GetOpts().GetReuseaddr() || tcp && listens
}

// portSpace numbers the spaces of ports: each protocol has one for both families, and both ICMPs have one together.
func portSpace(e *pb.InetSkEntry) uint32 {
	if isPing(e) {
		return uapi.IpprotoICMP
	}
	return e.GetProto()
}

// letIn makes the other sockets of a crowded port possible until all of them are there.
func (f *descriptors) letIn(number int, what string, e *pb.InetSkEntry) {
	if !f.crowded[e.GetId()] {
		return
	}
	for _, o := range []struct {
		option uint64
		on     bool
	}{{uapi.SoReuseport, e.GetOpts().GetSoReuseport()}, {uapi.SoReuseaddr, e.GetOpts().GetReuseaddr()}} {
		if !o.on {
			f.Prog.SetOption(number, what, uapi.SolSocket, o.option, 1)
			f.Process.Later(job.PhaseDescriptors,
				func(prog *plan.Program) { prog.SetOption(number, what, uapi.SolSocket, o.option, 0) })
		}
	}
}
