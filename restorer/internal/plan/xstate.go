package plan

import (
	"encoding/binary"

	"github.com/crpie/crpie/internal/sys"
)

// Xstate is a thread's floating-point and vector state in pieces: the legacy FXSAVE area (Intel SDM vol. 1, 10.5.1) and
// the XSAVE components by number (13.1). Where a component lies depends on the CPU, so it is put together last.
type Xstate struct {
	Legacy     [sys.XsaveHeader]byte
	Features   uint64         // XSTATE_BV: components that are not in their initial state
	Components map[int][]byte // by bit number, 2 and up
}

// Area builds an XSAVE area of length bytes in standard format for a CPU with the given layout.
func (x *Xstate) Area(layout *sys.Xsave, length int) []byte {
	area := make([]byte, max(length, sys.XsaveExtended))
	copy(area, x.Legacy[:])
	binary.LittleEndian.PutUint64(area[sys.XsaveHeader:], x.Features)
	for bit, data := range x.Components {
		c := layout.Components[bit]
		if end := uint64(c.Offset) + uint64(c.Size); c.Size != 0 && end <= uint64(len(area)) {
			copy(area[c.Offset:end], data)
		}
	}
	return area[:length]
}
