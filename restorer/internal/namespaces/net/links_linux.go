package net

import (
	"slices"
	"time"

	"github.com/mdlayher/netlink"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/sys"
)

// do makes a link. A macvlan is made on the host's side and moved; of a veth whose other end was outside, that end is
// moved to the host.
func (c *creation) do(m *maker) error {
	if c.lower != "" {
		return m.makeOnHost(c.lower, c.GetName(), func(lower uint32) netlink.Message {
			return c.message(m, lower)
		})
	}
	if err := m.request(c.message(m, c.GetPeerIfindex())); err != nil {
		return err
	}
	if c.peer == "" {
		return nil
	}
	return m.adopt(c.peer, c.bridge)
}

// message asks for the link; lower is the number of what a macvlan lies on.
func (c *creation) message(m *maker, lower uint32) netlink.Message {
	return ask(rtmNewlink, netlink.Create|netlink.Excl, ifinfomsg(c.GetIfindex(), 0, 0),
		func(a *netlink.AttributeEncoder) {
			if c.GetType() == pb.NdType_MACVLAN {
				a.Uint32(iflaLink, lower)
			}
			if c.lower != "" { // it is asked for in the host's namespace
				a.Uint32(iflaNetNsFd, m.inside())
			}
			c.basics(a)
			nested(a, iflaLinkinfo, func(a *netlink.AttributeEncoder) {
				a.String(infoKind, kindNames()[c.GetType()])
				c.data(a, m)
			})
		})
}

// basics are what every link has.
func (l *link) basics(a *netlink.AttributeEncoder) {
	a.String(iflaIfname, l.GetName())
	a.Uint32(iflaMTU, l.GetMtu())
	if len(l.Address) > 0 {
		a.Bytes(iflaAddress, l.Address)
	}
}

// data is what links of its kind have.
func (c *creation) data(a *netlink.AttributeEncoder, m *maker) {
	switch c.GetType() {
	case pb.NdType_MACVLAN:
		nested(a, infoData, func(a *netlink.AttributeEncoder) {
			a.Uint32(macvlanMode, c.Macvlan.GetMode())
			if c.Macvlan.Flags != nil {
				a.Uint16(macvlanFlags, uint16(c.Macvlan.GetFlags()))
			}
		})
	case pb.NdType_VETH:
		nested(a, infoData, func(a *netlink.AttributeEncoder) {
			a.Do(vethInfoPeer, func() ([]byte, error) { return c.otherEnd(m) })
		})
	}
}

// otherEnd is the head and the attributes of the other link of the pair.
func (c *creation) otherEnd(m *maker) ([]byte, error) {
	a := netlink.NewAttributeEncoder()
	index := uint32(0)
	if c.twin != nil {
		index = c.twin.GetIfindex()
		c.twin.basics(a)
	} else {
		a.String(iflaIfname, c.peer)
		a.Uint32(iflaNetNsFd, m.outside())
	}
	b, err := a.Encode()
	return append(ifinfomsg(index, 0, 0), b...), err
}

func (l *loopback) do(m *maker) error {
	return m.request(ask(rtmNewlink, 0, ifinfomsg(l.GetIfindex(), 0, 0),
		func(a *netlink.AttributeEncoder) { l.basics(a) }))
}

// do makes a tun or tap device by its character device, which is the only way, and then sets what every link has.
func (t *tun) do(m *maker) error {
	e := t.Tun
	made := sys.Tun{Name: t.GetName(), Index: t.GetIfindex(), Flags: uint16(e.GetFlags()), Owner: e.GetOwner(),
		Group: e.GetGroup(), HeaderSize: e.GetVnethdr(), SendBuffer: e.GetSndbuf()}
	if err := made.Make(); err != nil {
		return err
	}
	if err := m.request(ask(rtmNewlink, 0, ifinfomsg(t.GetIfindex(), 0, 0),
		func(a *netlink.AttributeEncoder) { t.basics(a) })); err != nil {
		return err
	}
	return m.awaitState(t.GetIfindex())
}

// stateTimeout bounds the wait for the state of a link, which the kernel finds out once a second,
// net/core/link_watch.c.
const stateTimeout = 3 * time.Second

// awaitState waits until the kernel knows that nobody is at the other end: a link that comes up before would get
// addresses. From Linux 6.9 on it looks when it is asked, rtnl_getlink.
func (m *maker) awaitState(index uint32) error {
	return untilKnown(stateTimeout, func() ([]netlink.Message, error) {
		return m.links.Request(get(rtmGetlink, ifinfomsg(index, 0, 0), nil))
	})
}

// untilKnown asks for a link until the answer has its state, or the time is over: nothing depends on it then.
func untilKnown(timeout time.Duration, ask func() ([]netlink.Message, error)) error {
	for end := time.Now().Add(timeout); ; time.Sleep(time.Millisecond) {
		answers, err := ask()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(answers, stateIsKnown) || time.Now().After(end) {
			return nil
		}
	}
}

// stateIsKnown reports whether an answer about a link has its state.
func stateIsKnown(answer netlink.Message) bool {
	const unknown = 0 // IF_OPER_UNKNOWN
	attrs, ok := attributes(answer.Data, sizeIfinfomsg)
	state := attrs[iflaOperstate]
	return ok && len(state) == 1 && state[0] != unknown
}

func (s *port) do(m *maker) error {
	return m.request(ask(rtmNewlink, 0, ifinfomsg(s.link.GetIfindex(), 0, 0),
		func(a *netlink.AttributeEncoder) { a.Uint32(iflaMaster, s.bridge.GetIfindex()) }))
}

func (s *flags) do(m *maker) error {
	return m.request(ask(rtmNewlink, 0,
		ifinfomsg(s.GetIfindex(), s.NetDeviceEntry.GetFlags()&iffOfTheUser, iffOfTheUser), nil))
}
