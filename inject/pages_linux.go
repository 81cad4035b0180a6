//go:build amd64

package inject

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
)

// Bits of /proc/PID/pagemap, Documentation/admin-guide/mm/pagemap.rst: only this process has the page, it is a page of
// a file, swapped out, present.
const (
	pageExclusive = 1 << 56
	pageOfFile    = 1 << 61
	pageSwapped   = 1 << 62
	pagePresent   = 1 << 63
)

// pageMap tells which pages of a process there are.
type pageMap struct {
	pid      sys.PID
	f        *os.File      // /proc/PID/pagemap
	walked   bool          // each page is looked at, because the kernel cannot list them
	resident []memory.Span // mappings that have any pages, if so
}

func openPageMap(pid sys.PID) (*pageMap, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		return nil, err
	}
	m := &pageMap{pid: pid, f: f}
	m.own(memory.Span{End: memory.PageSize}) // finds out whether the kernel lists pages
	return m, nil
}

func (m *pageMap) close() { m.f.Close() }

// findResident prepares for a kernel before Linux 6.7, where only whole mappings are known to be empty.
func (m *pageMap) findResident() {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", m.pid))
	for _, s := range parseSmaps(string(text)) {
		if s.resident > 0 {
			m.resident = append(m.resident, s.Span)
		}
	}
	m.walked = true
}

// own lists the parts of a span in which pages may be that are not a file's: reservations have none, whatever their
// size.
func (m *pageMap) own(span memory.Span) (all []memory.Span) {
	if !m.walked {
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

// entries reads the entries of the pages from an address on, as many as there are.
func (m *pageMap) entries(at uint64, into []byte) []uint64 {
	n, _ := m.f.ReadAt(into, int64(at/memory.PageSize*wordSize))
	return words(into[:n])
}

// writtenPages visits the pages that a process may have written since it was copied: it has them alone, or has dropped
// them. With all, it may have any page from elsewhere.
func writtenPages(now, then *pageMap, span memory.Span, all bool, visit func(page uint64)) {
	const chunk = 1 << 15 // pages
	a, b := make([]byte, chunk*wordSize), make([]byte, chunk*wordSize)
	for _, s := range union(now.own(span), then.own(span)) {
		for at := s.Start; at < s.End; at += chunk * memory.PageSize {
			n := min(chunk, (s.End-at)/memory.PageSize) * wordSize
			old := then.entries(at, b[:n])
			for i, is := range now.entries(at, a[:n]) {
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

// unsettles reports whether a system call of a hook may put pages where others were, or share them with a process that
// it starts: afterwards it says nothing that a page is not the process's alone.
func unsettles(info *sys.SyscallInfo, before []taskview.VMA) bool {
	switch info.Nr {
	case unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_CLONE, unix.SYS_CLONE3,
		unix.SYS_MREMAP, unix.SYS_REMAP_FILE_PAGES, unix.SYS_MADVISE, unix.SYS_PROCESS_MADVISE:
		return true
	case unix.SYS_MMAP:
		return info.Args[3]&unix.MAP_FIXED != 0
	case unix.SYS_MUNMAP:
		return taskview.At(before, info.Args[0]) != nil
	case unix.SYS_BRK:
		return info.Args[0] != 0
	}
	return false
}
