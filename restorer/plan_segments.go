package restorer

import (
	"fmt"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
)

// segment is shared anonymous memory. The zygote maps each one whole behind the region and fills it; a task cuts its own
// mappings out of that (mremap(2) with an old size of 0 makes another mapping of the same shared pages) and unmaps the
// whole when its children, who do the same, exist. System V segments are attached instead of mapped, and may be mapped by
// no task.
type segment struct {
	addr, size uint64
	order      int
	sysv       *pb.IpcShmEntry // or nil
}

// eachShared calls f for every mapping of shared anonymous memory.
func (p *memRoom) eachShared(f func(t *images.Task, id, end uint64)) {
	for _, t := range p.dir.Tasks {
		m := &memoryPlanner{memRoom: p, jobTask: &jobTask{of: p.job, img: t}}
		for _, v := range t.Mm.GetVmas() {
			if id, ok := m.segmentOf(v); ok {
				f(t, id, v.GetPgoff()+v.GetEnd()-v.GetStart())
			}
		}
	}
}

// sizeSegments finds the segments and gives the address space they need together, bytes.
func (p *memRoom) sizeSegments() (total uint64) {
	p.sysvSegments()
	p.eachShared(func(_ *images.Task, id, end uint64) {
		s, seen := p.segments[id]
		if !seen {
			s.order = len(p.segments)
		}
		s.size = max(s.size, pageAlign(end))
		p.segments[id] = s
	})
	for _, s := range p.segments {
		total += s.size
	}
	return total
}

func (p *memRoom) placeSegments(at uint64) {
	for _, id := range p.segmentIDs() {
		s := p.segments[id]
		s.addr = at
		at += s.size
		p.segments[id] = s
	}
}

// segmentIDs lists the segments in the order in which they were found.
func (p *memRoom) segmentIDs() []uint64 {
	ids := make([]uint64, len(p.segments))
	for id, s := range p.segments {
		ids[s.order] = id
	}
	return ids
}

// makeSegments plans the zygote's part.
func (p *memRoom) makeSegments() {
	for _, id := range p.segmentIDs() {
		s, what := p.segments[id], fmt.Sprintf("shared memory %d", id)
		if s.sysv != nil {
			p.makeSysv(s.sysv, s.addr)
		} else {
			p.shared.want(int64(s.addr), what, sysMmap, s.addr, s.size, protRead|protWrite,
				mapShared|mapAnonymous|mapFixedNoreplace, ^uint64(0), 0)
		}
		m := p.zygoteMemory()
		for _, piece := range p.sharedContents(id, what, s.size) {
			m.addRead(s.addr+piece.Vaddr, piece)
		}
		m.emitReads(what, 0)
	}
}

// zygoteMemory plans contents that the zygote reads.
func (p *memRoom) zygoteMemory() *memoryPlanner {
	root := p.dir.Tasks[0]
	return &memoryPlanner{memRoom: p, jobTask: &jobTask{of: p.job, img: root, task: &Task{Pid: int(root.Pid)}, prog: p.shared}}
}

// sharedContents finds the contents of shared memory below an offset, whose page addresses are offsets.
func (p *memRoom) sharedContents(shmid uint64, what string, size uint64) []images.Piece {
	pm := p.dir.Shmem[shmid]
	if pm == nil {
		return nil
	}
	pieces, err := p.dir.Pieces(pm)
	if err != nil {
		p.missingPages(what, err)
		return nil
	}
	var inside []images.Piece
	for _, piece := range pieces {
		if end := min(piece.End(), pageAlign(size)); end > piece.Vaddr {
			inside = append(inside, piece.Cut(piece.Vaddr, end))
		}
	}
	return inside
}

// mapSegments maps the task's shared anonymous memory.
func (m *memoryPlanner) mapSegments() {
	for _, v := range m.vmas {
		id, shared := m.segmentOf(v)
		if !shared {
			continue
		}
		what, length := fmt.Sprintf("shared memory %d", id), v.GetEnd()-v.GetStart()
		m.prog.want(int64(v.GetStart()), what, sysMremap, m.segments[id].addr+v.GetPgoff(), 0, length,
			mremapMaymoveFixed, v.GetStart())
		if v.GetProt() != protRead|protWrite {
			m.prog.sys(what, sysMprotect, v.GetStart(), length, uint64(v.GetProt()))
		}
	}
}

// dropSegments unmaps the whole segments.
func (p *memRoom) dropSegments(prog *program) {
	for _, id := range p.segmentIDs() {
		s := p.segments[id]
		prog.sys(fmt.Sprintf("shared memory %d", id), sysMunmap, s.addr, s.size)
	}
}
