package net

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"

	"github.com/crpie/crpie/internal/uapi"
)

// connection is a TCP connection that will be restored: until it is, nobody may answer for it.
type connection struct{ here, there netip.AddrPort }

// connections lists the TCP connections of the images, by their addresses.
func (p *planner) connections() (all []connection) {
	for _, id := range slices.Sorted(maps.Keys(p.dir.Files)) {
		e := p.dir.Files[id].GetIsk()
		if e.GetProto() != uapi.IpprotoTCP || e.GetDstPort() == 0 {
			continue
		}
		here, ok := addrPort(e.GetSrcAddr(), e.GetSrcPort())
		there, okThere := addrPort(e.GetDstAddr(), e.GetDstPort())
		if ok && okThere { // the planner of sockets refuses others
			all = append(all, connection{here, there})
		}
	}
	return all
}

// addrPort reads an address, whose words are in network order.
func addrPort(words []uint32, port uint32) (at netip.AddrPort, ok bool) {
	var b []byte
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	addr, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), ok && port <= 0xffff
}
