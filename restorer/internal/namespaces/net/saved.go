package net

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
)

// The numbers with which ip(8) begins what it saves: iproute2's ip/ipaddress.c, iproute.c, iprule.c.
const (
	magicAddresses = 0x47361222
	magicRoutes    = 0x45311224
	magicRules     = 0x71706986
)

// saved reads an image of netlink messages of one kind, each with at least a head.
func (p *planner) saved(kind string, magic uint32, want, head int) (all []netlink.Message) {
	data, name := p.raw(kind)
	if len(data) == 0 {
		return nil
	}
	if magic != 0 {
		if got := number(data); got != magic {
			p.Refuse(name, "", "it begins with %#08x, want %#08x", got, magic)
			return nil
		}
		data = data[4:]
	}
	for n := 0; len(data) > 0; n++ {
		m, rest, err := nextMessage(data)
		if err == nil && int(m.Header.Type) != want {
			err = fmt.Errorf("is of type %d, want %d", m.Header.Type, want)
		}
		if _, ok := attributes(m.Data, head); err == nil && !ok {
			err = fmt.Errorf("has attributes that make no sense")
		}
		if err != nil {
			p.Refuse(name, "", "message %d %v", n, err)
			return nil
		}
		all, data = append(all, m), rest
	}
	return all
}

// nextMessage splits a message off, netlink(7): its head of 16 bytes begins with the length.
func nextMessage(data []byte) (m netlink.Message, rest []byte, err error) {
	const head = 16
	if len(data) < head {
		return m, nil, fmt.Errorf("has %d bytes, fewer than its head", len(data))
	}
	size := uint64(number(data))
	if size < head || size > uint64(len(data)) {
		return m, nil, fmt.Errorf("says that it has %d bytes, of %d", size, len(data))
	}
	m.Header.Type = netlink.HeaderType(binary.LittleEndian.Uint16(data[4:]))
	m.Data = slices.Clone(data[head:size])
	return m, data[min((size+3)&^3, uint64(len(data))):], nil
}

// address is one IP address of a link.
type address struct {
	family byte
	bits   byte
	index  uint32
	at     netip.Addr
	flags  uint32
}

// readAddress reads a message about an address; the one of a point-to-point link's own end is IFA_LOCAL.
func readAddress(m netlink.Message) (a address, ok bool) {
	attrs, ok := attributes(m.Data, sizeIfaddr)
	if !ok {
		return a, false
	}
	b := attrs[ifaLocal]
	if b == nil {
		b = attrs[ifaAddress]
	}
	a = address{family: m.Data[0], bits: m.Data[1], index: number(m.Data[4:]), flags: uint32(m.Data[2])}
	if f := attrs[ifaFlags]; f != nil {
		a.flags = number(f)
	}
	a.at, ok = netip.AddrFromSlice(b)
	return a, ok && a.at.Is4() == (a.family == uapi.AfInet)
}

// same: it is the same address, whatever flags it has.
func (a address) same(b address) bool { return a.index == b.index && a.at == b.at && a.bits == b.bits }

func (a address) String() string { return fmt.Sprintf("%v/%d", a.at, a.bits) }

// addresses is a step: the links have these addresses and no others.
type addresses struct {
	messages []netlink.Message
	parsed   []address
	links    map[uint32]*link
}

// planAddresses plans what `ip address save` has written, address by address.
func (p *planner) planAddresses() {
	s := &addresses{links: p.links}
	for _, m := range p.saved("ifaddr", magicAddresses, rtmNewaddr, sizeIfaddr) {
		a, ok := readAddress(m)
		switch {
		case !ok:
			p.Refuse(p.image("ifaddr"), "",
				"an address that makes no sense: the images contradict themselves")
		case p.links[a.index] == nil:
			p.Refuse(p.image("ifaddr"), "", "%v is the address of link %d, which is none of %s", a, a.index,
				p.image("netdev"))
		case p.fromDump(a):
			p.dumped = append(p.dumped, a.index)
		default:
			s.messages, s.parsed = append(s.messages, m), append(s.parsed, a)
		}
	}
	p.steps = append(p.steps, s)
}

// fromDump recognizes an address that the dump has brought about: to look at a tun CRIU attaches to it, and a link with
// somebody at its other end gets an address, which nobody has had the time to confirm.
func (p *planner) fromDump(a address) bool {
	return p.links[a.index].GetType() == pb.NdType_TUN && a.at.Is6() && a.at.IsLinkLocalUnicast() &&
		a.flags&ifaFTentative != 0
}

func (s *addresses) String() string {
	text := "addresses:"
	for _, a := range s.parsed {
		text += " " + s.links[a.index].GetName() + " " + a.String()
	}
	return text
}

// routes is a step: the main tables have these routes and no others.
type routes struct{ messages []netlink.Message }

// planRoutes plans routes so that a gateway's route comes before routes through it.
func (p *planner) planRoutes() {
	all := slices.Concat(p.saved("route", magicRoutes, rtmNewroute, sizeRtmsg),
		p.saved("route6", magicRoutes, rtmNewroute, sizeRtmsg))
	s := &routes{}
	for _, m := range all {
		cleanRoute(m.Data)
		if wanted(m.Data) && !p.ofDumped(m.Data) {
			s.messages = append(s.messages, m)
		}
	}
	slices.SortStableFunc(s.messages, func(a, b netlink.Message) int { return depth(a.Data) - depth(b.Data) })
	p.steps = append(p.steps, s)
}

func (s *routes) String() string { return fmt.Sprintf("%d routes", len(s.messages)) }

// wanted: copies that the kernel makes for a while are no routes.
func wanted(rtmsg []byte) bool { return number(rtmsg[8:])&rtmFCloned == 0 }

// ofDumped recognizes the route of such an address, fe80::/64.
func (p *planner) ofDumped(rtmsg []byte) bool {
	attrs, _ := attributes(rtmsg, sizeRtmsg)
	to, _ := netip.AddrFromSlice(attrs[rtaDst])
	return to.Is6() && to.IsLinkLocalUnicast() && rtmsg[1] == 64 && rtmsg[5] == rtprotKernel &&
		slices.Contains(p.dumped, number(attrs[rtaOif]))
}

// depth: a gateway must be reachable, so routes through one come after those without.
func depth(rtmsg []byte) int {
	attrs, _ := attributes(rtmsg, sizeRtmsg)
	if attrs[rtaGateway] != nil || attrs[rtaVia] != nil || attrs[rtaMultipath] != nil {
		return 1
	}
	return 0
}

// cleanRoute removes flags that tell of the state of a route's links: the kernel shows them, and refuses to be told
// (net/ipv4/fib_semantics.c fib_create_info).
func cleanRoute(rtmsg []byte) {
	le := binary.LittleEndian
	le.PutUint32(rtmsg[8:], number(rtmsg[8:])&^uint32(rtmFlagsOfTheKernel))
	for rest := rtmsg[sizeRtmsg:]; len(rest) >= 4; { // struct rtattr: length, type
		size := int(le.Uint16(rest))
		if size < 4 || size > len(rest) {
			return
		}
		if le.Uint16(rest[2:])&^0xc000 == rtaMultipath {
			cleanHops(rest[4:size])
		}
		rest = rest[min((size+3)&^3, len(rest)):]
	}
}

// cleanHops does the same to the hops of a route, struct rtnexthop: length, flags.
func cleanHops(hops []byte) {
	for len(hops) >= sizeRtnexthop {
		size := int(binary.LittleEndian.Uint16(hops))
		hops[2] &^= rtnhFlagsOfTheKernel
		if size < sizeRtnexthop || size > len(hops) {
			return
		}
		hops = hops[min((size+3)&^3, len(hops)):]
	}
}

// rules is a step: which table a packet is looked up in. CRIU saves those of IPv4 alone.
type rules struct{ messages []netlink.Message }

func (p *planner) planRules() {
	if messages := p.saved("rule", magicRules, rtmNewrule, sizeRtmsg); len(messages) > 0 {
		p.steps = append(p.steps, &rules{messages})
	}
}

func (s *rules) String() string { return fmt.Sprintf("%d routing rules", len(s.messages)) }

// conntrack is a step: connections that netfilter knows.
type conntrack struct{ messages []netlink.Message }

func (s *conntrack) String() string { return fmt.Sprintf("%d tracked connections", len(s.messages)) }

// ctNew is a message of conntrack, include/uapi/linux/netfilter/nfnetlink_conntrack.h; struct nfgenmsg has four bytes.
const (
	ctNew     = 1 << 8
	sizeNfgen = 4
)

// planConntrack plans what netfilter knows of connections. CRIU up to 4.2 has nothing of what it expects: into the
// image for that, netns-exp, it writes the connections again, because it asks for message 1 of the wrong subsystem.
func (p *planner) planConntrack() {
	p.has(p.image("netns-exp"))
	if messages := p.saved("netns-ct", 0, ctNew, sizeNfgen); len(messages) > 0 {
		p.steps = append(p.steps, &conntrack{messages})
	}
}
