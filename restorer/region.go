package restorer

import (
	"fmt"

	"github.com/crpie/crpie/internal/abi"
)

const (
	pageSize = 4096

	// taskSizeMax ends the address space of x86-64 tasks with four-level page tables,
	// Documentation/arch/x86/x86_64/mm.rst.
	taskSizeMax = 0x7ffffffff000
	// lowestAddr is above any vm.mmap_min_addr in use.
	lowestAddr = 0x100000
	// highestAddr keeps clear of the zygote's own initial stack and vDSO, which the kernel puts at the top.
	highestAddr = 0x7e0000000000

	stackSize   = 128 << 10 // of a thread in the core, its guard page included, bytes
	logRingSize = 256 << 10 // bytes, a power of two
	maxReaders  = 7
	stubSize    = 64 << 10 // address space kept for the zygote's ELF file, behind the region
)

// Region says where things lie in the part of the address space that every task lends to the restorer:
//
//	Start   blob image (RX, R, RW), private
//	Shared  struct crpie_shared, statuses, log ring: shared by all until a task leaves it, then the task's own
//	Control struct crpie_control: written by the controller, read by tasks
//	Bell    struct crpie_bell: wakes the controller
//	Stacks  one slot per thread of the largest task, then one per page reader; the first page of a slot is a guard
//	Plan    struct crpie_plan and everything it points to (read-only), private
//	End     end of what the last munmap removes; the zygote's stub follows
//
// All are addresses, multiples of the page size. restorer/core/src/core.h says who may write what.
type Region struct {
	Start, Shared, Control, Bell, Stacks, Plan, End uint64

	slots int // stacks
}

// Descriptors by which the zygote's stub maps the region. They and the standard streams are below firstScratch: no passed
// descriptor can meet them.
const (
	sealedFD = 3 + iota
	sharedFD
	bellFD

	firstRegionFile = sealedFD
	regionFiles     = bellFD - sealedFD + 1
)

func pageAlign(n uint64) uint64 { return (n + pageSize - 1) &^ (pageSize - 1) }

// layRegion lays a region out from start for a blob of blobSize bytes; End is set when the plan is complete. One status is
// the zygote's.
func layRegion(start, blobSize uint64, threads, slots int) Region {
	r := Region{Start: start, slots: slots}
	r.Shared = start + pageAlign(blobSize)
	r.Control = r.Shared + pageAlign(uint64(abi.SharedSize+(threads+1)*abi.StatusSize)) + logRingSize
	r.Bell = r.Control + pageAlign(uint64(abi.ControlSize+4*(threads+1)))
	r.Stacks = r.Bell + pageSize
	r.Plan = r.Stacks + uint64(slots)*stackSize
	return r
}

// regionSize bounds what layRegion takes, the plan left out, bytes.
func regionSize(blobSize uint64, threads, slots int) uint64 {
	r := layRegion(0, blobSize, threads, slots)
	return r.Plan
}

// logOff is where the log ring begins, from Shared.
func (r *Region) logOff() uint64 { return r.Control - r.Shared - logRingSize }

// controlOff and planOff are offsets in the sealed file, which begins with the blob.
func (r *Region) controlOff() uint64 { return r.Shared - r.Start }
func (r *Region) planOff() uint64    { return r.controlOff() + r.Bell - r.Control }
func (r *Region) sealedSize() uint64 { return r.planOff() + r.End - r.Plan }

// stack gives the usable part of a slot.
func (r *Region) stack(slot int) (lowest, size uint64) {
	return r.Stacks + uint64(slot)*stackSize + pageSize, stackSize - pageSize
}

// span is a half-open interval of addresses.
type span struct{ start, end uint64 }

// findGap picks a place in the largest hole between the used spans, which are sorted and may overlap: the middle, moved
// by random within half of the hole, so that nobody can know it. That keeps the region away from stacks, which grow down,
// and heaps, which grow up, while they are being restored.
func findGap(used []span, size, random uint64) (uint64, error) {
	var best span
	at := uint64(lowestAddr)
	consider := func(end uint64) {
		end = min(end, highestAddr)
		if end > at && end-at > best.end-best.start {
			best = span{at, end}
		}
	}
	for _, u := range used {
		consider(u.start)
		at = max(at, u.end)
	}
	consider(highestAddr)
	if best.end-best.start < size+2*pageSize {
		return 0, fmt.Errorf("no hole of %d bytes is free in every task's address space (the largest has %d)",
			size, best.end-best.start)
	}
	room := best.end - best.start - size
	middle := best.start + room/2
	return (middle - room/4 + (room/4+random)%(room/2)) &^ (pageSize - 1), nil
}
