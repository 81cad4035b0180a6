package graft

import "encoding/binary"

// The contract with the core; graft/core/src/graft.h has it in C and draws the memory.
const (
	pageSize = 4096

	threadSize = 192 // struct graft_thread
	taskSize   = 160 // struct graft_task
	renewSize  = 24  // struct graft_renewal
	vmaSize    = 40  // struct crpie_vma
	mmSize     = 104 // struct crpie_mm
	numGregs   = 19  // GRAFT_NR_GREGS

	stderrNone, stderrWrite, stderrAppend = 0, 1, 2 // GRAFT_STDERR_*

	stackSize    = 124 << 10
	sigstackSize = 16 << 10
	slotSize     = pageSize + stackSize + sigstackSize // GRAFT_SLOT
)

// ExitStatus is that of a task that ends itself because a hook failed (GRAFT_EXIT_STATUS; EX_SOFTWARE of sysexits.h).
const ExitStatus = 70

// places are the addresses of one task's graft.
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
	p.arena = p.slots + uint64(threads+1)*slotSize
	return p
}

func (p *places) frame(thread int) uint64 { return p.frames + uint64(thread)*pageSize }
func (p *places) slot(thread int) uint64  { return p.slots + uint64(thread)*slotSize }
func (p *places) stackTop(thread int) uint64 {
	return p.slot(thread) + pageSize + stackSize
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

// put writes 64-bit words at an address that reserve gave.
func (a *arena) put(addr uint64, words ...uint64) {
	for i, w := range words {
		binary.LittleEndian.PutUint64(a.buf[addr-a.base+uint64(8*i):], w)
	}
}

// pair is two 32-bit members as one word.
func pair(lo, hi uint32) uint64 { return uint64(hi)<<32 | uint64(lo) }
