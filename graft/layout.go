package graft

import (
	"encoding/binary"

	"github.com/crpie/crpie/internal/abi"
)

const pageSize = abi.GraftPage

// ExitStatus is the exit status of a task that ends itself because a hook failed.
const ExitStatus = abi.GraftExitStatus

// places are the addresses of one task's graft; graft/core/src/graft.h draws the memory.
type places struct {
	leave  uint64 // one page of code that stays
	frames uint64 // a page per thread that stays
	blob   uint64 // the image of core and plugins
	slots  uint64 // stacks of the threads, and the watchdog's
	arena  uint64 // struct graft_task and what it points to
	end    uint64 // known when the arena is complete
}

func lay(base, blobSize uint64, threads int) places {
	p := places{leave: base, frames: base + pageSize}
	p.blob = p.frames + uint64(threads)*pageSize
	p.slots = p.blob + pageAlign(blobSize)
	p.arena = p.slots + uint64(threads+1)*abi.GraftSlot
	return p
}

func (p *places) frame(thread int) uint64 { return p.frames + uint64(thread)*pageSize }
func (p *places) slot(thread int) uint64  { return p.slots + uint64(thread)*abi.GraftSlot }
func (p *places) stackTop(thread int) uint64 {
	return p.slot(thread) + pageSize + abi.GraftStack
}

func pageAlign(n uint64) uint64 { return (n + pageSize - 1) &^ (pageSize - 1) }

// arena is memory at a known address: strings, structs and arrays that point to each other.
type arena struct {
	base uint64
	buf  []byte
}

// reserve gives the address of n zero bytes, aligned to 8.
func (a *arena) reserve(n int) uint64 {
	for len(a.buf)%8 != 0 {
		a.buf = append(a.buf, 0)
	}
	addr := a.base + uint64(len(a.buf))
	a.buf = append(a.buf, make([]byte, n)...)
	return addr
}

// string gives the address of s with a terminating NUL.
func (a *arena) string(s string) uint64 {
	addr := a.base + uint64(len(a.buf))
	a.buf = append(append(a.buf, s...), 0)
	return addr
}

// words lays out 64-bit values.
func (a *arena) words(w ...uint64) uint64 {
	at := a.reserve(8 * len(w))
	for i, v := range w {
		binary.LittleEndian.PutUint64(a.buf[at-a.base+uint64(8*i):], v)
	}
	return at
}

// put writes a struct at an address that reserve gave.
func (a *arena) put(at uint64, s abi.Record) { s.Put(a.buf[at-a.base:]) }

// array lays out structs.
func array[T any, Struct interface {
	*T
	abi.Record
}](a *arena, all []T) uint64 {
	size := Struct(nil).Bytes()
	at := a.reserve(len(all) * size)
	for i := range all {
		a.put(at+uint64(i*size), Struct(&all[i]))
	}
	return at
}
