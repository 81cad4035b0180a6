package dwarfline_test

import (
	"encoding/binary"
	"testing"

	"github.com/crpie/crpie/internal/dwarfline"
)

// entry is an entry of .debug_frame: its id, or the offset of its CIE, and what follows.
func entry(id uint32, rest ...byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(4+len(rest)))
	return append(binary.LittleEndian.AppendUint32(b, id), rest...)
}

// A frame address below the stack pointer is no frame of 2^64 bytes.
func TestNegativeOffsetOfFrame(t *testing.T) {
	const rsp, align, plus1, minus1 = 7, 0x78, 1, 0x7f // LEB128: -8, 1, -1
	cie := entry(0xffffffff, 3, 0, 1, align, 16, 0x0c, rsp, 8)
	for name, c := range map[string]struct {
		program []byte
		want    uint64
	}{
		"def_cfa_offset_sf -8": {[]byte{0x13, plus1}, 8},
		"def_cfa_offset_sf 8":  {[]byte{0x0e, 16, 0x13, minus1}, 16},
		"def_cfa_sf -8":        {[]byte{0x12, rsp, plus1}, 8},
		"def_cfa_offset":       {[]byte{0x0e, 32}, 32},
	} {
		data := append(append([]byte{}, cie...), entry(0, append(make([]byte, 16), c.program...)...)...)
		var got []uint64
		frames := dwarfline.Frames{Data: data, StackPointer: rsp}
		frames.Visit(func(f dwarfline.Frame) { got = append(got, f.Size) })
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: frames of %v bytes, want %d", name, got, c.want)
		}
	}
}
