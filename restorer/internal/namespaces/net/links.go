package net

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/crpie/crpie/images/pb"
)

// link is one network interface of the namespace.
type link struct {
	*pb.NetDeviceEntry
	peer   string // the other end of a veth pair, in the host's namespace
	bridge string // there, which it becomes a port of
	twin   *link  // the other end of a veth pair, in this namespace
	lower  string // what a macvlan lies on, in the host's namespace; "": on the link PeerIfindex of this one
}

// planLinks plans the interfaces: those that others lie on come first. They come up when all are there, with their
// settings.
func (p *planner) planLinks() {
	links := p.readLinks()
	before := p.Len()
	for _, l := range links {
		p.checkLink(l)
	}
	if p.Len() > before {
		return
	}
	slices.SortStableFunc(links, func(a, b *link) int {
		return cmp.Or(cmp.Compare(layer(a), layer(b)), cmp.Compare(a.GetIfindex(), b.GetIfindex()))
	})
	made := map[*link]bool{}
	for _, l := range links {
		if l.twin == nil || !made[l.twin] {
			p.steps = append(p.steps, p.creation(l))
		}
		made[l] = true
	}
	for _, l := range links {
		p.confOf("ipv4", l.GetName(), conf4, l.GetConf4())
		p.confOf("ipv6", l.GetName(), conf6, l.GetConf6())
	}
	for _, l := range links {
		if l.Master != nil {
			p.steps = append(p.steps, &port{l, p.links[l.GetMaster()]})
		}
	}
	for _, l := range links {
		p.steps = append(p.steps, &flags{l})
	}
}

// layer orders links: a macvlan lies on another.
func layer(l *link) int {
	if l.GetType() == pb.NdType_MACVLAN {
		return 1
	}
	return 0
}

// readLinks reads the image of the links. Every name and every number is there once.
func (p *planner) readLinks() (links []*link) {
	names := map[string]bool{}
	for _, e := range read[*pb.NetDeviceEntry](p, "netdev", "NETDEV") {
		l := &link{NetDeviceEntry: e}
		switch {
		case !goodName(e.GetName()):
			p.Refuse(p.image("netdev"), "", "a link of the name %q: the images contradict themselves",
				e.GetName())
		case e.GetIfindex() == 0 || e.GetIfindex() > 1<<31-1 || names[e.GetName()] ||
			p.links[e.GetIfindex()] != nil:
			p.Refuse(p.image("netdev"), "", "link %s has number %d: the images contradict themselves",
				e.GetName(),
				e.GetIfindex())
		default:
			names[e.GetName()], p.links[e.GetIfindex()] = true, l
			links = append(links, l)
		}
	}
	return links
}

// kindNames are CRIU's, images/netdev.proto.
func kindNames() map[pb.NdType]string {
	return map[pb.NdType]string{pb.NdType_LOOPBACK: "loopback", pb.NdType_VETH: "veth", pb.NdType_TUN: "tun",
		pb.NdType_EXTLINK: "external", pb.NdType_VENET: "venet", pb.NdType_BRIDGE: "bridge",
		pb.NdType_MACVLAN: "macvlan", pb.NdType_SIT: "sit",
	}
}

// maxFlags bounds the flags of a tun and of a macvlan, to which the kernel gives 16 bits: ifr_flags of netdevice(7),
// IFLA_MACVLAN_FLAGS.
const maxFlags = 1<<16 - 1

// checkLink refuses what cannot be made.
func (p *planner) checkLink(l *link) {
	refuse := func(fix, format string, args ...any) {
		p.Refuse(p.image("netdev"), fix, "link %s: %s", l.GetName(), fmt.Sprintf(format, args...))
	}
	if len(l.Address) > 32 { // MAX_ADDR_LEN, include/linux/netdevice.h
		refuse("", "an address of %d bytes: the images contradict themselves", len(l.Address))
	}
	if len(l.Conf) > 0 {
		refuse("dump it with CRIU 2.0 or newer", "its settings have the form of an older CRIU")
	}
	if m := p.links[l.GetMaster()]; l.Master != nil && (m == nil || m.GetType() != pb.NdType_BRIDGE || m == l) {
		refuse("", "it is a port of link %d, which is not a bridge: not supported", l.GetMaster())
	}
	switch l.GetType() {
	case pb.NdType_LOOPBACK, pb.NdType_BRIDGE:
	case pb.NdType_VETH:
		p.checkVeth(l, refuse)
	case pb.NdType_MACVLAN:
		p.checkMacvlan(l, refuse)
	case pb.NdType_TUN:
		if l.Tun == nil {
			refuse("", "it lacks the values of a tun: the images contradict themselves")
		}
		if flags := l.Tun.GetFlags(); flags > maxFlags {
			refuse("", "a tun of flags %#x: the images contradict themselves", flags)
		}
	default:
		name := kindNames()[l.GetType()]
		if name == "" {
			name = fmt.Sprint(int32(l.GetType()))
		}
		refuse("restore it with criu", "a link of kind %s: not supported", name)
	}
}

// checkVeth finds the other end of a veth pair: where the caller says, or in the same namespace.
func (p *planner) checkVeth(l *link, refuse func(fix, format string, args ...any)) {
	resource := "veth[" + l.GetName() + "]"
	p.wants = append(p.wants, resource)
	out, given := p.opts.External[resource]
	twin := p.links[l.GetPeerIfindex()]
	switch {
	case given:
		p.takes = append(p.takes, resource)
		l.peer, l.bridge, _ = strings.Cut(out, "@")
		if !goodName(l.peer) || l.bridge != "" && !goodName(l.bridge) {
			refuse("", "%q is to be its other end: want NAME or NAME@BRIDGE", out)
		}
	case l.PeerNsid == nil:
		refuse("say where its other end is: --veth-pair "+l.GetName()+"=NAME[@BRIDGE]",
			"its other end was in a network namespace that was not dumped")
	case l.GetPeerNsid() != p.id:
		refuse("", "its other end is in network namespace %d of the images: more than one is not supported",
			l.GetPeerNsid())
	case twin == nil || twin == l || twin.GetType() != pb.NdType_VETH || twin.GetPeerIfindex() != l.GetIfindex() ||
		twin.GetPeerNsid() != p.id:
		refuse("", "link %d is its other end, which does not know it: the images contradict themselves",
			l.GetPeerIfindex())
	default:
		l.twin = twin
	}
}

// checkMacvlan finds what a macvlan lies on: a link that the caller names, or one of the same namespace.
func (p *planner) checkMacvlan(l *link, refuse func(fix, format string, args ...any)) {
	resource := "macvlan[" + l.GetName() + "]"
	p.wants = append(p.wants, resource)
	lower, given := p.opts.External[resource]
	on := p.links[l.GetPeerIfindex()]
	switch {
	case l.Macvlan == nil:
		refuse("", "it lacks the values of a macvlan: the images contradict themselves")
	case l.Macvlan.GetFlags() > maxFlags:
		refuse("", "a macvlan of flags %#x: the images contradict themselves", l.Macvlan.GetFlags())
	case given:
		p.takes = append(p.takes, resource)
		l.lower = lower
		if !goodName(lower) {
			refuse("", "%q is to be what it lies on: want the name of a link", lower)
		}
	case l.PeerNsid == nil || l.GetPeerNsid() != p.id:
		refuse("say what it is to lie on: --external macvlan["+l.GetName()+"]:NAME",
			"it lay on a link of a network namespace that was not dumped")
	case on == nil || layer(on) > 0:
		refuse("", "it lies on link %d, which cannot be: the images contradict themselves", l.GetPeerIfindex())
	}
}

// creation is how a link comes to be.
func (p *planner) creation(l *link) step {
	switch l.GetType() {
	case pb.NdType_LOOPBACK:
		return &loopback{l}
	case pb.NdType_TUN:
		return &tun{l}
	}
	return &creation{l}
}

// creation is a step: a link that one message makes.
type creation struct{ *link }

func (c *creation) String() string {
	text := fmt.Sprintf("link %d: %s %s", c.GetIfindex(), kindNames()[c.GetType()], c.GetName())
	if len(c.Address) > 0 {
		text += " " + net.HardwareAddr(c.Address).String()
	}
	switch {
	case c.peer != "":
		text += ", its other end on the host: " + c.peer
	case c.twin != nil:
		text += ", its other end: " + c.twin.GetName()
	case c.lower != "":
		text += ", on the host's " + c.lower
	}
	if c.bridge != "" {
		text += ", a port of the host's bridge " + c.bridge
	}
	return text
}

// loopback is a step: the link that a namespace is made with.
type loopback struct{ *link }

func (l *loopback) String() string {
	return fmt.Sprintf("link %d: loopback %s", l.GetIfindex(), l.GetName())
}

// tun is a step: a link that a program is at the other end of.
type tun struct{ *link }

func (t *tun) String() string { return fmt.Sprintf("link %d: tun %s", t.GetIfindex(), t.GetName()) }

// port is a step: a link becomes a port of a bridge.
type port struct{ link, bridge *link }

func (s *port) String() string {
	return "link " + s.link.GetName() + " is a port of " + s.bridge.GetName()
}

// flags is a step: a link is up or not, and whatever else its user has switched on.
type flags struct{ *link }

func (s *flags) String() string {
	state := "down"
	if s.GetFlags()&iffUp != 0 {
		state = "up"
	}
	return "link " + s.GetName() + " is " + state
}
