package backtrace

import (
	"encoding/binary"

	"github.com/crpie/crpie/internal/dwarfline"
)

// Numbers of registers in call frame information, psABI x86-64, 3.6.2.
const (
	framePointer = 6
	stackPointer = 7
	returns      = 16
)

// Registers of x86-64 by those numbers; the last is where the thread is.
type Registers = [dwarfline.Registers]uint64

// frame is where a function is: at its own instruction, or behind a call that has not returned.
type frame struct {
	registers Registers
	found     How
}

// How tells how a frame was found.
type How int

// The ways, the surest first.
const (
	Exact How = iota
	ByFramePointer
	OnStack
)

// space is the address space of a thread, as a walk sees it.
type space interface {
	read(addr uint64, b []byte) bool
	isCode(addr uint64) bool
	isPlugin(addr uint64) bool
	isEnd(addr uint64) bool                                       // code that calls plugins
	unwind(addr uint64, r *Registers) (caller Registers, ok bool) // by call frame information
}

// maxFrames bounds a walk: a stack may be overwritten, or a function call itself until the stack has no room.
const maxFrames = 24

// walk finds the callers of the function in which a thread has stopped, which is the first of the frames. It ends where
// crpie has called the plugin.
func walk(in space, at Registers, stackEnd uint64) []frame {
	frames := []frame{{at, Exact}}
	for len(frames) < maxFrames {
		now := frames[len(frames)-1]
		next, ok := caller(in, &now.registers, stackEnd, len(frames) == 1)
		if !ok || in.isEnd(next.registers[returns]) {
			break
		}
		frames = append(frames, next)
	}
	return frames
}

// caller finds the frame that a frame returns to, in the surest way that there is.
func caller(in space, r *Registers, stackEnd uint64, first bool) (next frame, ok bool) {
	pc := r[returns]
	if !first {
		pc-- // the call may be the last instruction of its function
	}
	if next.registers, ok = in.unwind(pc, r); ok && plausible(in, r, &next.registers, stackEnd) {
		return next, true
	}
	if first && !in.isCode(pc) { // a call of what is no function
		if next.registers, ok = afterCall(in, r); ok && plausible(in, r, &next.registers, stackEnd) {
			return next, true
		}
	}
	if next.registers, ok = byFramePointer(in, r); ok && plausible(in, r, &next.registers, stackEnd) {
		next.found = ByFramePointer
		return next, true
	}
	next.registers, ok = onStack(in, r, stackEnd)
	next.found = OnStack
	return next, ok
}

// plausible rejects frames that cannot be: each is above the one that it has called, and goes on behind a call.
func plausible(in space, r, next *Registers, stackEnd uint64) bool {
	sp := next[stackPointer]
	return sp > r[stackPointer] && sp <= stackEnd && (in.isEnd(next[returns]) || followsCall(in, next[returns]))
}

// afterCall takes the return address that a call has just put on the stack.
func afterCall(in space, r *Registers) (next Registers, ok bool) {
	next = *r
	next[stackPointer] += 8
	next[returns], ok = word(in, r[stackPointer])
	return next, ok
}

// byFramePointer takes the return address above the saved frame pointer, psABI x86-64, 3.2.2.
func byFramePointer(in space, r *Registers) (next Registers, ok bool) {
	next = *r
	base := r[framePointer]
	if base < r[stackPointer] {
		return next, false
	}
	next[stackPointer] = base + 16
	if next[framePointer], ok = word(in, base); !ok {
		return next, false
	}
	next[returns], ok = word(in, base+8)
	return next, ok
}

// onStack looks for the next word that leads behind a call of a plugin, or, if it is the topmost, behind any call: a
// function that calls nobody often keeps nothing on the stack. What the other registers were is not known.
func onStack(in space, r *Registers, stackEnd uint64) (next Registers, ok bool) {
	top := (r[stackPointer] + 7) &^ 7
	for at := top; at < stackEnd; at += 8 {
		value, ok := word(in, at)
		if !ok {
			break
		}
		if (at == top || in.isPlugin(value)) && !in.isEnd(value) && followsCall(in, value) {
			next[stackPointer], next[returns] = at+8, value
			return next, true
		}
	}
	return next, false
}

func word(in space, addr uint64) (uint64, bool) {
	var b [8]byte
	ok := in.read(addr, b[:])
	return binary.LittleEndian.Uint64(b[:]), ok
}

// longestCall is the length of the longest call instruction without prefixes that change nothing: FF /2 with SIB and a
// displacement of 32 bits, and REX.
const longestCall = 8

// followsCall reports whether an instruction that ends at an address can be a call, Intel SDM vol. 2A, CALL.
func followsCall(in space, addr uint64) bool {
	var b [longestCall]byte
	if !in.isCode(addr-1) || !in.read(addr-longestCall, b[:]) {
		return false
	}
	if b[longestCall-5] == 0xe8 { // rel32
		return true
	}
	for length := 2; length < longestCall; length++ {
		insn := b[longestCall-length:]
		if insn[0] == 0xff && insn[1]>>3&7 == 2 && operandSize(insn) == length-1 {
			return true
		}
	}
	return false
}

// operandSize is the length of a ModRM byte with SIB and displacement, Intel SDM vol. 2A, 2.1.5.
func operandSize(insn []byte) int {
	mod, rm, size := insn[1]>>6, insn[1]&7, 1
	if mod == 3 {
		return size
	}
	base := rm
	if rm == 4 {
		size++
		if len(insn) < 3 {
			return 0
		}
		base = insn[2] & 7
	}
	switch {
	case mod == 1:
		return size + 1
	case mod == 2, base == 5: // with mod 0: relative to rip, or no base
		return size + 4
	}
	return size
}
