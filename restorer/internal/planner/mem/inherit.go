package mem

import (
	"cmp"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/uapi"
)

// inherit plans what a child does with the copy of its parent's memory in which it begins: what both have in the same
// way stays, and its pages stay shared until one of them writes; the rest is unmapped.
func (m *space) inherit() {
	parent := m.Of.Origin(m.Img)
	if parent == nil {
		return
	}
	m.keptVDSO = m.sameVDSO(parent)
	for _, pv := range parent.Mm.GetVmas() {
		for _, v := range m.vmas {
			if m.alike(v, pv) {
				both := memory.Span{Start: max(v.GetStart(), pv.GetStart()),
					End: min(v.GetEnd(), pv.GetEnd())}
				if both.Start < both.End {
					m.kept = append(m.kept, both)
				}
			}
		}
	}
	slices.SortFunc(m.kept, func(a, b memory.Span) int { return cmp.Compare(a.Start, b.Start) })
	for _, pv := range parent.Mm.GetVmas() {
		m.unmapRest(pv)
	}
	m.forgetPages(parent)
	m.openGuards(parent)
}

const vmaPrivate = images.VmaFilePrivate | images.VmaAnonPrivate

// alike reports whether a mapping of the parent's, where they overlap, is as the task's own has to be.
func (m *space) alike(v, pv *pb.VmaEntry) bool {
	const dontfork, wipeonfork = 1 << uapi.MadvDontfork, 1 << uapi.MadvWipeonfork
	switch {
	case v.GetStatus()&vmaPrivate == 0 || v.GetStatus()&vmaPrivate != pv.GetStatus()&vmaPrivate,
		v.GetProt() != pv.GetProt(), v.GetFlags() != pv.GetFlags(), v.GetMadv() != pv.GetMadv(),
		v.GetMadv()&(dontfork|wipeonfork) != 0, pv.GetFlags()&uapi.MapLocked != 0,
		m.renewed[v] != 0, m.renewedOf(m.Of.Origin(m.Img))[pv] != 0:
		return false
	case v.GetStatus()&images.VmaAnonPrivate != 0:
		return true
	}
	file := m.files.SameAs(uint32(v.GetShmid()))
	if !m.sameExe() && file == m.exeOf(m.Of.Origin(m.Img)) {
		return false // what maps the parent's executable would keep the task from having its own
	}
	return file == m.files.SameAs(uint32(pv.GetShmid())) && v.GetPgoff()-v.GetStart() == pv.GetPgoff()-pv.GetStart()
}

func (m *space) exeOf(t *images.Task) string {
	return m.files.SameAs(t.Mm.GetExeFileId())
}

// sameExe reports whether the task begins with the executable that it must have.
func (m *space) sameExe() bool {
	return m.Of.Origin(m.Img) != nil && m.exeOf(m.Img) == m.exeOf(m.Of.Origin(m.Img))
}

// sameVDSO reports whether a child has the vDSO where its parent has it, so that it keeps the one that it is born with.
func (m *space) sameVDSO(parent *images.Task) bool {
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
func (m *space) unmapRest(pv *pb.VmaEntry) {
	switch {
	case pv.GetStatus()&images.VmaVsyscall != 0:
		return
	case pv.GetStatus()&(images.VmaVdso|images.VmaVvar) != 0 && m.keptVDSO:
		return
	}
	for _, part := range split(memory.Span{Start: pv.GetStart(), End: pv.GetEnd()}, m.kept) {
		if !part.inside {
			m.Prog.Sys("the parent's", uapi.SysMunmap, part.Start, part.End-part.Start)
		}
	}
}

// forgetPages drops pages that the parent has filled and the task has not: they are zeros, or the file's, again.
func (m *space) forgetPages(parent *images.Task) {
	var own []memory.Span
	for _, r := range m.runs {
		own = append(own, memory.Span{Start: r.Vaddr, End: r.End()})
	}
	for _, r := range parent.Pagemap.Runs { // here or in a parent directory
		for _, part := range split(memory.Span{Start: r.Vaddr, End: r.End()}, m.kept) {
			if !part.inside {
				continue
			}
			for _, p := range split(part.Span, own) {
				if !p.inside {
					m.Prog.Sys("pages that only the parent has", uapi.SysMadvise, p.Start,
						p.End-p.Start, uapi.MadvDontneed)
				}
			}
		}
	}
}

// openGuards removes the guard regions that the task has from its parent; advise makes its own.
func (m *space) openGuards(parent *images.Task) {
	for _, g := range parent.Guards {
		for _, part := range split(memory.Span{Start: g.GetStart(), End: g.GetEnd()}, m.kept) {
			if part.inside {
				m.Prog.Sys("the parent's guard pages", uapi.SysMadvise, part.Start, part.End-part.Start,
					uapi.MadvGuardRemove)
			}
		}
	}
}

// missing gives the parts of a mapping that the task does not have from its parent.
func (m *space) missing(v *pb.VmaEntry) []memory.Span {
	var parts []memory.Span
	for _, part := range split(memory.Span{Start: v.GetStart(), End: v.GetEnd()}, m.kept) {
		if !part.inside {
			parts = append(parts, part.Span)
		}
	}
	return parts
}

// stretch is a part of a span that lies wholly inside or outside of others.
type stretch struct {
	memory.Span
	inside bool
}

// split cuts a span at the borders of others, which are sorted and do not overlap.
func split(s memory.Span, others []memory.Span) []stretch {
	var parts []stretch
	first, _ := slices.BinarySearchFunc(others, s.Start,
		func(o memory.Span, at uint64) int { return cmp.Compare(o.End, at+1) })
	for _, o := range others[first:] {
		if o.Start >= s.End {
			break
		}
		if o.Start > s.Start {
			parts = append(parts, stretch{memory.Span{Start: s.Start, End: o.Start}, false})
		}
		from, to := max(s.Start, o.Start), min(s.End, o.End)
		parts = append(parts, stretch{memory.Span{Start: from, End: to}, true})
		s.Start = to
	}
	if s.Start < s.End {
		parts = append(parts, stretch{s, false})
	}
	return parts
}
