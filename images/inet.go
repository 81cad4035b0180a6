package images

import (
	"encoding/binary"
	"net/netip"

	"github.com/crpie/crpie/internal/uapi"
)

// AddrPort gives src_addr and src_port, or dst_addr and dst_port, of an inet_sk_entry of a family, AF_INET or AF_INET6.
// The words of an address are in network order; there are none, for the unspecified address, where nothing is bound
// (CRIU's images/sk-inet.proto). It reports whether they make sense.
func AddrPort(family uint32, words []uint32, port uint32) (at netip.AddrPort, ok bool) {
	var b []byte
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	want := map[uint32]int{uapi.AfInet: 4, uapi.AfInet6: 16}[family]
	if len(b) == 0 {
		b = make([]byte, want)
	}
	addr, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr, uint16(port)), want != 0 && len(b) == want && port <= 0xffff
}
