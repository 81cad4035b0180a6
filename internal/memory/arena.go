package memory

import (
	"encoding/binary"
	"slices"
)

// Arena is memory at a known address: strings, structs and arrays that point to each other by their addresses, as the C
// code that it is for reads them.
type Arena struct {
	base    uint64
	buf     []byte
	strings map[string]uint64
}

// NewArena begins an arena at an address that is a multiple of 8.
func NewArena(base uint64) *Arena { return &Arena{base: base, strings: map[string]uint64{}} }

// Contents gives the bytes from the base on.
func (a *Arena) Contents() []byte { return a.buf }

// End is the address behind the last byte.
func (a *Arena) End() uint64 { return a.base + uint64(len(a.buf)) }

// At gives the bytes from an address on. They are valid until more is laid out.
func (a *Arena) At(addr uint64) []byte { return a.buf[addr-a.base:] }

// Lookup gives the bytes from an address on, nil if the arena does not have it.
func (a *Arena) Lookup(addr uint64) []byte {
	if addr < a.base || addr >= a.End() {
		return nil
	}
	return a.At(addr)
}

// Grow makes room for n more bytes, so that what is laid out next need not be moved.
func (a *Arena) Grow(n int) { a.buf = slices.Grow(a.buf, n) }

// Reserve lays out n zero bytes, aligned to 8, and gives their address, as all that follow do.
func (a *Arena) Reserve(n int) uint64 {
	for len(a.buf)%8 != 0 {
		a.buf = append(a.buf, 0)
	}
	addr := a.End()
	a.buf = append(a.buf, make([]byte, n)...)
	return addr
}

// Bytes lays out bytes, aligned to 8.
func (a *Arena) Bytes(b []byte) uint64 {
	addr := a.Reserve(len(b))
	copy(a.At(addr), b)
	return addr
}

// String lays out s with a terminating NUL; equal strings share one place.
func (a *Arena) String(s string) uint64 {
	if addr, ok := a.strings[s]; ok {
		return addr
	}
	addr := a.End()
	a.buf = append(append(a.buf, s...), 0)
	a.strings[s] = addr
	return addr
}

// Words lays out 64-bit values.
func (a *Arena) Words(w ...uint64) uint64 {
	addr := a.Reserve(8 * len(w))
	for i, v := range w {
		binary.LittleEndian.PutUint64(a.At(addr)[8*i:], v)
	}
	return addr
}

// Record is a struct that C code reads.
type Record interface {
	Bytes() int // its size
	Put(b []byte)
}

// Records lays out an array of structs.
func Records[T any, Struct interface {
	*T
	Record
}](a *Arena, all []T) uint64 {
	size := Struct(nil).Bytes()
	addr := a.Reserve(len(all) * size)
	for i := range all {
		Struct(&all[i]).Put(a.At(addr)[i*size:])
	}
	return addr
}
