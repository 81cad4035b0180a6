//go:build amd64

package inject

import (
	"github.com/crpie/crpie/internal/changes"
	"github.com/crpie/crpie/internal/memory"
)

// writtenPages visits the pages that a process may have written since it was copied: it has them alone, or has dropped
// them. With all, it may have any page from elsewhere.
func writtenPages(now, then *changes.PageMap, span memory.Span, all bool, visit func(page uint64)) {
	const chunk = 1 << 15 // pages
	a, b := make([]byte, chunk*8), make([]byte, chunk*8)
	for _, s := range memory.Union(now.Own(span), then.Own(span)) {
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

// written reports whether a page may have been written to, by its entries in /proc/PID/pagemap before and after. The
// copy shares pages until one of the two writes: a page that is the process's alone has been copied.
func written(was, is uint64, all bool) bool {
	const there = changes.PagePresent | changes.PageSwapped
	own := func(entry uint64) bool { return entry&there != 0 && entry&changes.PageOfFile == 0 }
	switch {
	case is&changes.PageSwapped != 0:
		return true
	case own(is):
		return all || is&changes.PageExclusive != 0
	}
	return own(was)
}
