//go:build amd64

package changes

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/procmaps"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
)

// Bounds of what is compared, bytes.
const (
	MaxShared  = 64 << 20 // shared memory of which contents are kept
	MaxMapping = 16 << 30 // one mapping whose pages are looked at
	MaxPages   = 4 << 30  // memory in all
)

// Bits of /proc/PID/pagemap, Documentation/admin-guide/mm/pagemap.rst: only this process has the page, it is a page of
// a file, swapped out, present.
const (
	PageExclusive = 1 << 56
	PageOfFile    = 1 << 61
	PageSwapped   = 1 << 62
	PagePresent   = 1 << 63
)

// PageMap tells which pages of a process there are.
type PageMap struct {
	pid      sys.PID
	f        *os.File      // /proc/PID/pagemap
	Walked   bool          // each page is looked at, because the kernel cannot list them
	resident []memory.Span // mappings that have any pages, if so
}

// OpenPageMap opens that of a process.
func OpenPageMap(pid sys.PID) (*PageMap, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		return nil, err
	}
	m := &PageMap{pid: pid, f: f}
	m.Own(memory.Span{End: memory.PageSize}) // finds out whether the kernel lists pages
	return m, nil
}

// Close closes it.
func (m *PageMap) Close() { m.f.Close() }

// findResident prepares for a kernel before Linux 6.7, where only whole mappings are known to be empty.
func (m *PageMap) findResident() {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", m.pid))
	for _, s := range procmaps.Smaps(string(text)) {
		if s.Resident > 0 {
			m.resident = append(m.resident, s.Span)
		}
	}
	m.Walked = true
}

// Own lists the parts of a span in which pages may be that are not a file's: reservations have none, whatever their
// size.
func (m *PageMap) Own(span memory.Span) (all []memory.Span) {
	if !m.Walked {
		if all, err := sys.OwnPages(m.f, span); err == nil {
			return all
		}
		m.findResident()
	}
	for _, r := range m.resident {
		if start, end := max(r.Start, span.Start), min(r.End, span.End); start < end {
			all = append(all, memory.Span{Start: start, End: end})
		}
	}
	return all
}

// Entries reads the entries of the pages from an address on, as many as there are.
func (m *PageMap) Entries(at uint64, into []byte) []uint64 {
	n, _ := m.f.ReadAt(into, int64(at/memory.PageSize*wordSize))
	return Words(into[:n])
}

// Present lists the pages of a span that a process has used, also such as it shares with others.
func (m *PageMap) Present(span memory.Span) (all []memory.Span) {
	const chunk = 1 << 15 // pages
	entries := make([]byte, chunk*wordSize)
	for at := span.Start; at < span.End; at += chunk * memory.PageSize {
		n := min(chunk, (span.End-at)/memory.PageSize) * wordSize
		for i, entry := range m.Entries(at, entries[:n]) {
			page := at + uint64(i)*memory.PageSize
			switch n := len(all); {
			case entry&(PagePresent|PageSwapped) == 0:
			case n > 0 && all[n-1].End == page:
				all[n-1].End += memory.PageSize
			default:
				all = append(all, memory.Span{Start: page, End: page + memory.PageSize})
			}
		}
	}
	return all
}

// HasOwnPages reports whether a mapping has pages that only this process sees.
func HasOwnPages(v *taskview.VMA) bool {
	return v.Flags&unix.MAP_SHARED == 0 && v.Name != "[vdso]" && v.Name != "[vsyscall]" &&
		!strings.HasPrefix(v.Name, "[vvar")
}
