//go:build amd64

package inject

import (
	"slices"

	"github.com/crpie/crpie/internal/changes"
	"github.com/crpie/crpie/internal/memory"
)

// Bits of /proc/PID/pagemap, Documentation/admin-guide/mm/pagemap.rst: only this process has the page, it is a page of
// a file, swapped out, present.
const (
	pageExclusive = 1 << 56
	pageOfFile    = 1 << 61
	pageSwapped   = 1 << 62
	pagePresent   = 1 << 63
)

// writtenPages visits the pages that a process may have written since it was copied: it has them alone, or has dropped
// them. With all, it may have any page from elsewhere.
func writtenPages(now, then *changes.PageMap, span memory.Span, all bool, visit func(page uint64)) {
	const chunk = 1 << 15 // pages
	a, b := make([]byte, chunk*8), make([]byte, chunk*8)
	for _, s := range union(now.Own(span), then.Own(span)) {
		for at := s.Start; at < s.End; at += chunk * memory.PageSize {
			n := min(chunk, (s.End-at)/memory.PageSize) * 8
			old := then.Entries(at, b[:n])
			for i, is := range now.Entries(at, a[:n]) {
				was := uint64(0)
				if i < len(old) {
					was = old[i]
				}
				if written(was, is, all) {
					visit(at + uint64(i)*memory.PageSize)
				}
			}
		}
	}
}

// union gives the spans that two lists cover, in the order of addresses and apart from each other.
func union(a, b []memory.Span) (all []memory.Span) {
	both := slices.Concat(a, b)
	slices.SortFunc(both, func(a, b memory.Span) int {
		if a.Start < b.Start {
			return -1
		}
		return 1
	})
	for _, s := range both {
		if n := len(all); n > 0 && s.Start <= all[n-1].End {
			all[n-1].End = max(all[n-1].End, s.End)
		} else {
			all = append(all, s)
		}
	}
	return all
}

// written reports whether a page may have been written to, by its entries in /proc/PID/pagemap before and after. The
// copy shares pages until one of the two writes: a page that is the process's alone has been copied.
func written(was, is uint64, all bool) bool {
	const there = pagePresent | pageSwapped
	own := func(entry uint64) bool { return entry&there != 0 && entry&pageOfFile == 0 }
	switch {
	case is&pageSwapped != 0:
		return true
	case own(is):
		return all || is&pageExclusive != 0
	}
	return own(was)
}
