package restorer

import (
	"cmp"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
)

// inherit plans what a child does with the copy of its parent's memory in which it begins: what both have in the same way
// stays, and its pages stay shared until one of them writes; the rest is unmapped.
func (m *memoryPlanner) inherit() {
	parent := m.of.origin(m.img)
	if parent == nil {
		return
	}
	m.keptVDSO = m.sameVDSO(parent)
	for _, pv := range parent.Mm.GetVmas() {
		for _, v := range m.vmas {
			if m.alike(v, pv) {
				both := span{max(v.GetStart(), pv.GetStart()), min(v.GetEnd(), pv.GetEnd())}
				if both.start < both.end {
					m.kept = append(m.kept, both)
				}
			}
		}
	}
	slices.SortFunc(m.kept, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	for _, pv := range parent.Mm.GetVmas() {
		m.unmapRest(pv)
	}
	m.forgetPages(parent)
	m.openGuards(parent)
}

const vmaPrivate = images.VmaFilePrivate | images.VmaAnonPrivate

// alike reports whether a mapping of the parent's, where they overlap, is as the task's own has to be.
func (m *memoryPlanner) alike(v, pv *pb.VmaEntry) bool {
	const madvDontfork, madvWipeonfork = 1 << 10, 1 << 18
	switch {
	case v.GetStatus()&vmaPrivate == 0 || v.GetStatus()&vmaPrivate != pv.GetStatus()&vmaPrivate,
		v.GetProt() != pv.GetProt(), v.GetFlags() != pv.GetFlags(), v.GetMadv() != pv.GetMadv(),
		v.GetMadv()&(madvDontfork|madvWipeonfork) != 0, pv.GetFlags()&mapLocked != 0,
		m.renewed[v] != 0, m.renewedOf(m.of.origin(m.img))[pv] != 0:
		return false
	case v.GetStatus()&images.VmaAnonPrivate != 0:
		return true
	}
	file := m.files.sameAs(uint32(v.GetShmid()))
	if !m.sameExe() && file == m.exeOf(m.of.origin(m.img)) {
		return false // what maps the parent's executable would keep the task from having its own
	}
	return file == m.files.sameAs(uint32(pv.GetShmid())) && v.GetPgoff()-v.GetStart() == pv.GetPgoff()-pv.GetStart()
}

func (m *memoryPlanner) exeOf(t *images.Task) string {
	return m.files.sameAs(t.Mm.GetExeFileId())
}

// sameExe reports whether the task begins with the executable that it must have.
func (m *memoryPlanner) sameExe() bool {
	return m.of.origin(m.img) != nil && m.exeOf(m.img) == m.exeOf(m.of.origin(m.img))
}

func (m *memoryPlanner) sameVDSO(parent *images.Task) bool {
	var theirs []*pb.VmaEntry
	for _, pv := range parent.Mm.GetVmas() {
		if pv.GetStatus()&(images.VmaVdso|images.VmaVvar) != 0 {
			theirs = append(theirs, pv)
		}
	}
	return slices.EqualFunc(theirs, m.vdsoVMA, func(a, b *pb.VmaEntry) bool {
		return a.GetStart() == b.GetStart() && a.GetEnd() == b.GetEnd() && a.GetStatus() == b.GetStatus()
	})
}

// unmapRest removes the parts of a mapping of the parent's that the task does not keep.
func (m *memoryPlanner) unmapRest(pv *pb.VmaEntry) {
	switch {
	case pv.GetStatus()&images.VmaVsyscall != 0:
		return
	case pv.GetStatus()&(images.VmaVdso|images.VmaVvar) != 0 && m.keptVDSO:
		return
	}
	for _, part := range split(span{pv.GetStart(), pv.GetEnd()}, m.kept) {
		if !part.inside {
			m.prog.sys("the parent's", sysMunmap, part.start, part.end-part.start)
		}
	}
}

// forgetPages drops pages that the parent has filled and the task has not: they are zeros, or the file's, again.
func (m *memoryPlanner) forgetPages(parent *images.Task) {
	const madvDontneed = 4
	var own []span
	for _, r := range m.runs {
		own = append(own, span{r.Vaddr, r.End()})
	}
	for _, r := range parent.Pagemap.Runs { // here or in a parent directory
		for _, part := range split(span{r.Vaddr, r.End()}, m.kept) {
			if !part.inside {
				continue
			}
			for _, p := range split(part.span, own) {
				if !p.inside {
					m.prog.sys("pages that only the parent has", sysMadvise, p.start, p.end-p.start, madvDontneed)
				}
			}
		}
	}
}

// openGuards removes the guard regions that the task has from its parent; advise makes its own.
func (m *memoryPlanner) openGuards(parent *images.Task) {
	for _, g := range parent.Guards {
		for _, part := range split(span{g.GetStart(), g.GetEnd()}, m.kept) {
			if part.inside {
				m.prog.sys("the parent's guard pages", sysMadvise, part.start, part.end-part.start, madvGuardRemove)
			}
		}
	}
}

// missing gives the parts of a mapping that the task does not have from its parent.
func (m *memoryPlanner) missing(v *pb.VmaEntry) []span {
	var parts []span
	for _, part := range split(span{v.GetStart(), v.GetEnd()}, m.kept) {
		if !part.inside {
			parts = append(parts, part.span)
		}
	}
	return parts
}

// stretch is a part of a span that lies wholly inside or outside of others.
type stretch struct {
	span
	inside bool
}

// split cuts a span at the borders of others, which are sorted and do not overlap.
func split(s span, others []span) []stretch {
	var parts []stretch
	first, _ := slices.BinarySearchFunc(others, s.start, func(o span, at uint64) int { return cmp.Compare(o.end, at+1) })
	for _, o := range others[first:] {
		if o.start >= s.end {
			break
		}
		if o.start > s.start {
			parts = append(parts, stretch{span{s.start, o.start}, false})
		}
		from, to := max(s.start, o.start), min(s.end, o.end)
		parts = append(parts, stretch{span{from, to}, true})
		s.start = to
	}
	if s.start < s.end {
		parts = append(parts, stretch{s, false})
	}
	return parts
}
