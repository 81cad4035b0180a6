package plan

import (
	"fmt"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
)

// IsGuard reports whether addr lies in the guard below a stack.
func (r *Region) IsGuard(addr uint64) bool {
	return addr >= r.Stacks && addr < r.Lent && (addr-r.Stacks)%abi.StackSlot < abi.StackGuard
}

const (
	// taskSizeMax ends the address space of x86-64 tasks with four-level page tables,
	// Documentation/arch/x86/x86_64/mm.rst.
	TaskSizeMax = 0x7ffffffff000
	LogRingSize = 256 << 10 // bytes, a power of two
	stubSize    = 64 << 10  // address space kept for the zygote's ELF file, behind the region
)

// The core assumes pages of that size.
var _ [memory.PageSize]struct{} = [abi.PageSize]struct{}{}

// Region says where things lie in the part of the address space that every task lends to the restorer:
//
//	Start   blob image (RX, R, RW), private
//	Shared  struct crpie_shared, statuses, log ring: shared by all until a task leaves it, then the task's own
//	Control struct crpie_control: written by the controller, read by tasks
//	Bell    struct crpie_bell: wakes the controller, names who calls plugins
//	Stacks  one slot per thread of the largest task, then one per page reader; a slot begins with its guard
//	Lent    what late hooks may change, of a task: registers of its threads, timers
//	Plan    struct crpie_plan and everything it points to (read-only), private
//	End     end of what the last munmap removes; the zygote's stub follows
//
// All are addresses, multiples of the page size. restorer/core/src/core.h says who may write what.
type Region struct {
	Start, Shared, Control, Bell, Stacks, Lent, Plan, End uint64

	Slots int // stacks
}

// Descriptors by which the zygote's stub maps the region. They and the standard streams are below firstScratch: no
// passed descriptor can meet them.
const (
	SealedFD = 3 + iota
	SharedFD
	BellFD

	FirstRegionFile = SealedFD
	RegionFiles     = BellFD - SealedFD + 1
)

// LayRegion lays a region out from start for a blob of blobSize bytes and as many that are lent; End is set when the
// plan is complete. One status is the zygote's.
func LayRegion(start, blobSize uint64, threads, slots int, lent uint64) Region {
	r := Region{Start: start, Slots: slots}
	r.Shared = start + memory.PageUp(blobSize)
	r.Control = r.Shared + memory.PageUp(uint64(abi.SharedStatusAt(threads+1))) + LogRingSize
	r.Bell = r.Control + memory.PageUp(uint64(abi.ControlTracedAt(threads+1)))
	r.Stacks = r.Bell + memory.PageUp(uint64(abi.BellCallAt(threads+1)))
	r.Lent = r.Stacks + uint64(slots)*abi.StackSlot
	r.Plan = r.Lent + memory.PageUp(lent)
	return r
}

// RegionSize bounds what layRegion takes, the plan left out, bytes.
func RegionSize(blobSize uint64, threads, slots int, lent uint64) uint64 {
	r := LayRegion(0, blobSize, threads, slots, lent)
	return r.Plan
}

// LogOff is where the log ring begins, from Shared.
func (r *Region) LogOff() uint64 { return r.Control - r.Shared - LogRingSize }

// ControlOff and planOff are offsets in the sealed file, which begins with the blob.
func (r *Region) ControlOff() uint64 { return r.Shared - r.Start }

// PlanOff returns where the plan begins in the sealed file.
func (r *Region) PlanOff() uint64 { return r.ControlOff() + r.Bell - r.Control }

// SealedSize returns the length of the sealed file.
func (r *Region) SealedSize() uint64 { return r.PlanOff() + r.End - r.Plan }

// Stack gives the usable part of a slot.
func (r *Region) Stack(slot int) (lowest, size uint64) {
	return r.Stacks + uint64(slot)*abi.StackSlot + abi.StackGuard, abi.StackSlot - abi.StackGuard
}

// StackEnd gives the end of the slot that an address is in, 0 if it is in none.
func (r *Region) StackEnd(addr uint64) uint64 {
	if addr < r.Stacks || addr >= r.Lent {
		return 0
	}
	return r.Stacks + ((addr-r.Stacks)/abi.StackSlot+1)*abi.StackSlot
}

// FindGap picks a place in the largest hole between the used spans.
func FindGap(used []memory.Span, size, random uint64) (uint64, error) {
	hole := memory.LargestHole(used)
	if hole.Size() < size+2*memory.PageSize {
		return 0, fmt.Errorf("no hole of %d bytes is free in every task's address space (the largest has %d)",
			size, hole.Size())
	}
	return hole.Place(size, random), nil
}
