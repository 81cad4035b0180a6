package mem

import (
	"fmt"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
	"github.com/crpie/crpie/restorer/internal/uapi"
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
func (p *Room) eachShared(f func(t *images.Task, id, end uint64)) {
	for _, t := range p.Dir.Tasks {
		m := &space{Room: p, Process: &job.Process{Of: p.Job, Img: t}}
		for _, v := range t.Mm.GetVmas() {
			if id, ok := m.segmentOf(v); ok {
				f(t, id, v.GetPgoff()+v.GetEnd()-v.GetStart())
			}
		}
	}
}

// SizeSegments finds the segments and gives the address space they need together, bytes.
func (p *Room) SizeSegments() (total uint64) {
	p.sysvSegments()
	p.eachShared(func(_ *images.Task, id, end uint64) {
		s, seen := p.segments[id]
		if !seen {
			s.order = len(p.segments)
		}
		s.size = max(s.size, memory.PageUp(end))
		p.segments[id] = s
	})
	for _, s := range p.segments {
		total += s.size
	}
	return total
}

func (p *Room) PlaceSegments(at uint64) {
	for _, id := range p.segmentIDs() {
		s := p.segments[id]
		s.addr = at
		at += s.size
		p.segments[id] = s
	}
}

// segmentIDs lists the segments in the order in which they were found.
func (p *Room) segmentIDs() []uint64 {
	ids := make([]uint64, len(p.segments))
	for id, s := range p.segments {
		ids[s.order] = id
	}
	return ids
}

// MakeSegments plans the zygote's part.
func (p *Room) MakeSegments() {
	for _, id := range p.segmentIDs() {
		s, what := p.segments[id], fmt.Sprintf("shared memory %d", id)
		if s.sysv != nil {
			p.makeSysv(s.sysv, s.addr)
		} else {
			p.Shared.Want(int64(s.addr), what, uapi.SysMmap, s.addr, s.size, uapi.ProtRead|uapi.ProtWrite,
				uapi.MapShared|uapi.MapAnonymous|uapi.MapFixedNoreplace, ^uint64(0), 0)
		}
		m := p.zygoteMemory()
		for _, piece := range p.SharedContents(id, what, s.size) {
			m.addRead(s.addr+piece.Vaddr, piece)
		}
		m.emitReads(what, 0)
	}
}

// zygoteMemory plans contents that the zygote reads.
func (p *Room) zygoteMemory() *space {
	root := p.Dir.Tasks[0]
	return &space{Room: p, Process: &job.Process{Of: p.Job, Img: root, Task: &plan.Task{Pid: int(root.Pid)}, Prog: p.Shared}}
}

// SharedContents finds the contents of shared memory below an offset, whose page addresses are offsets.
func (p *Room) SharedContents(shmid uint64, what string, size uint64) []images.Piece {
	pm := p.Dir.Shmem[shmid]
	if pm == nil {
		return nil
	}
	pieces, err := p.Dir.Pieces(pm)
	if err != nil {
		p.missingPages(what, err)
		return nil
	}
	var inside []images.Piece
	for _, piece := range pieces {
		if end := min(piece.End(), memory.PageUp(size)); end > piece.Vaddr {
			inside = append(inside, piece.Cut(piece.Vaddr, end))
		}
	}
	return inside
}

// mapSegments maps the task's shared anonymous memory.
func (m *space) mapSegments() {
	for _, v := range m.vmas {
		id, shared := m.segmentOf(v)
		if !shared {
			continue
		}
		what, length := fmt.Sprintf("shared memory %d", id), v.GetEnd()-v.GetStart()
		m.Prog.Want(int64(v.GetStart()), what, uapi.SysMremap, m.segments[id].addr+v.GetPgoff(), 0, length,
			uapi.MremapMaymoveFixed, v.GetStart())
		if v.GetProt() != uapi.ProtRead|uapi.ProtWrite {
			m.Prog.Sys(what, uapi.SysMprotect, v.GetStart(), length, uint64(v.GetProt()))
		}
	}
}

// DropSegments unmaps the whole segments.
func (p *Room) DropSegments(prog *plan.Program) {
	for _, id := range p.segmentIDs() {
		s := p.segments[id]
		prog.Sys(fmt.Sprintf("shared memory %d", id), uapi.SysMunmap, s.addr, s.size)
	}
}
