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

// HasOwnPages reports whether a mapping has pages that only this process sees.
func HasOwnPages(v *taskview.VMA) bool {
	return v.Flags&unix.MAP_SHARED == 0 && v.Name != "[vdso]" && v.Name != "[vsyscall]" &&
		!strings.HasPrefix(v.Name, "[vvar")
}
