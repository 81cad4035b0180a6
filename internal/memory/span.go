package memory

import (
	"cmp"
	"slices"
)

// PageSize is the unit of mappings and of their protection on x86-64, and of CRIU's images of its memory, bytes.
const PageSize = 4096

// AlignUp gives the least multiple of to, a power of two, that is not less than n. Where none fits it gives the largest
// value, which every limit refuses, so that no size from a file wraps around.
func AlignUp[T ~uint64](n, to T) T {
	if n > ^(to - 1) {
		return ^T(0)
	}
	return (n + to - 1) &^ (to - 1)
}

// PageUp aligns a size or an address to pages.
func PageUp(n uint64) uint64 { return AlignUp(n, PageSize) }

// PageDown gives the start of the page in which an address lies.
func PageDown(n uint64) uint64 { return n &^ (PageSize - 1) }

// Bounds of the addresses at which memory for the restorer, or for a graft, is looked for.
const (
	LowestAddr = 0x100000 // above any vm.mmap_min_addr in use
	// HighestAddr is below the stack and the vDSO that the kernel puts at the top of an address space of four-level
	// page tables, Documentation/arch/x86/x86_64/mm.rst.
	HighestAddr = 0x7e0000000000
)

// Span is a half-open interval of addresses.
type Span struct{ Start, End uint64 }

// Size is the length of a span, bytes.
func (s Span) Size() uint64 { return s.End - s.Start }

// Has reports whether an address is in the span.
func (s Span) Has(addr uint64) bool { return addr >= s.Start && addr < s.End }

// LargestHole finds the largest span from LowestAddr to HighestAddr that no used one touches; the lowest of several.
// The used ones may overlap, and come in any order.
func LargestHole(used []Span) (best Span) {
	used = slices.SortedFunc(slices.Values(used), func(a, b Span) int { return cmp.Compare(a.Start, b.Start) })
	at := uint64(LowestAddr)
	for _, u := range append(used, Span{HighestAddr, HighestAddr}) {
		if end := min(u.Start, HighestAddr); end > at && end-at > best.Size() {
			best = Span{at, end}
		}
		at = max(at, u.End)
	}
	return best
}

// Place picks an address for size bytes in a hole that has two pages more: the middle, moved by random within half of
// the hole, so that it cannot be guessed. That keeps the memory away from stacks, which grow down, and heaps, which
// grow up.
func (s Span) Place(size, random uint64) uint64 {
	room := s.Size() - size
	middle := s.Start + room/2
	return PageDown(middle - room/4 + (room/4+random)%(room/2))
}

// Union gives the spans that two lists cover, in the order of addresses and apart from each other.
func Union(a, b []Span) (all []Span) {
	both := slices.Concat(a, b)
	slices.SortFunc(both, func(a, b Span) int { return cmp.Compare(a.Start, b.Start) })
	for _, s := range both {
		if n := len(all); n > 0 && s.Start <= all[n-1].End {
			all[n-1].End = max(all[n-1].End, s.End)
		} else {
			all = append(all, s)
		}
	}
	return all
}
