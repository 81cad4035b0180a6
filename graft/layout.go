package graft

import (
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
)

const pageSize = memory.PageSize

// The core assumes pages of that size.
var _ [pageSize]struct{} = [abi.GraftPage]struct{}{}

// ExitStatus is the exit status of a task that ends itself because a hook failed.
const ExitStatus = abi.GraftExitStatus

// addresses are those of one task's graft; graft/core/src/graft.h draws the memory.
type addresses struct {
	leave  uint64 // one page of code that stays
	frames uint64 // a page per thread that stays
	blob   uint64 // the image of core and plugins
	slots  uint64 // stacks of the threads, and the watchdog's
	lent   uint64 // registers and timers, which hooks may change
	arena  uint64 // struct graft_task and what it points to
	end    uint64 // known when the arena is complete
}

// lay places pages, blob, slots, what is lent and arena one behind the other.
func lay(base, blobSize uint64, threads, timers int) addresses {
	p := addresses{leave: base, frames: base + pageSize}
	p.blob = p.frames + uint64(threads)*pageSize
	p.slots = p.blob + memory.PageUp(blobSize)
	p.lent = p.slots + uint64(threads+1)*abi.GraftSlot
	p.arena = memory.PageUp(p.timers(threads) + 2*uint64(timers)*abi.TimerSize)
	return p
}

func (p *addresses) regs(thread int) uint64    { return p.lent + uint64(thread)*abi.RegsSize }
func (p *addresses) timers(threads int) uint64 { return p.regs(threads) }

func (p *addresses) frame(thread int) uint64 { return p.frames + uint64(thread)*pageSize }
func (p *addresses) slot(thread int) uint64  { return p.slots + uint64(thread)*abi.GraftSlot }
func (p *addresses) stack(thread int) uint64 { return p.slot(thread) + abi.GraftGuard }
func (p *addresses) stackTop(thread int) uint64 {
	return p.stack(thread) + abi.GraftStack
}
