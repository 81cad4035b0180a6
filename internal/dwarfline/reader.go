package dwarfline

import (
	"bytes"
	"encoding/binary"
)

// reader takes values off the front of a table. After the first one that is not there, bad is set and all are zero.
type reader struct {
	left []byte
	bad  bool
}

// take returns the next n bytes.
func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.left)) {
		r.left, r.bad = nil, true
		return nil
	}
	b := r.left[:n:n]
	r.left = r.left[n:]
	return b
}

// uint returns a little-endian number of 1, 2, 4 or 8 bytes.
func (r *reader) uint(size uint64) uint64 {
	b := r.take(size)
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	case 8:
		return binary.LittleEndian.Uint64(b)
	}
	r.left, r.bad = nil, true
	return 0
}

func (r *reader) byte() byte { return byte(r.uint(1)) }

// uleb returns an unsigned LEB128 number, DWARF 5, section 7.6; bits beyond the 64th are dropped.
func (r *reader) uleb() (v uint64) {
	for shift := 0; ; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << min(shift, 64)
		if b < 0x80 {
			return v
		}
	}
}

// sleb returns a signed LEB128 number.
func (r *reader) sleb() (v int64) {
	for shift := 0; ; {
		b := r.byte()
		v |= int64(b&0x7f) << min(shift, 64)
		if shift += 7; b < 0x80 {
			if b&0x40 != 0 && shift < 64 {
				v |= -1 << shift
			}
			return v
		}
	}
}

// text returns the bytes before the next NUL, which it takes as well.
func (r *reader) text() []byte {
	end := bytes.IndexByte(r.left, 0)
	if end < 0 {
		return r.take(uint64(len(r.left)) + 1)
	}
	b := r.take(uint64(end) + 1)
	return b[:end]
}
