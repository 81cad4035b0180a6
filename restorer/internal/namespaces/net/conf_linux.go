package net

import (
	"github.com/mdlayher/netlink"

	"github.com/crpie/crpie/internal/sys"
)

func (s sysctl) do(*maker) error { return sys.Sysctl(s.path, s.value) }

func (s ownID) do(m *maker) error {
	const rtgenmsg = 4 // its size, with what aligns it
	return m.request(ask(rtmNewnsid, 0, make([]byte, rtgenmsg), func(a *netlink.AttributeEncoder) {
		a.Uint32(netnsaFd, m.inside())
		a.Int32(netnsaNsid, s.number)
	}))
}
