package mem

import (
	"fmt"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// sharedMemory is one piece of shared anonymous or System V memory. The zygote maps each one whole behind the region
// and fills it; a task cuts its own mappings out of that (mremap(2) with an old size of 0 makes another mapping of the
// same shared pages) and unmaps the whole when its children, who do the same, exist. System V memory is attached
// instead of mapped, and may be mapped by no task.
type sharedMemory struct {
	addr, size uint64
	order      int
	sysv       *pb.IpcShmEntry // or nil
}

// eachShared calls f for every mapping of shared anonymous memory.
func (p *Room) eachShared(f func(t *images.Task, id, end uint64)) {
	for _, t := range p.Dir.Tasks {
		m := &space{Room: p, Process: &job.Process{Of: p.Job, Img: t}}
		for _, v := range t.Mm.GetVmas() {
			if id, ok := m.shmemOf(v); ok {
				f(t, id, v.GetPgoff()+v.GetEnd()-v.GetStart())
			}
		}
	}
}

// SizeShmem finds the shared memory of all tasks and gives the address space that it needs together, bytes.
func (p *Room) SizeShmem() (total uint64) {
	p.sysvShmem()
	p.eachShared(func(_ *images.Task, id, end uint64) {
		s, seen := p.shmem[id]
		if !seen {
			s.order = len(p.shmem)
		}
		s.size = max(s.size, memory.PageUp(end))
		p.shmem[id] = s
	})
	for _, s := range p.shmem {
		total += s.size
	}
	return total
}

// AssignShmem gives each piece its address in the zygote, one behind the other.
func (p *Room) AssignShmem(at uint64) {
	for _, id := range p.shmids() {
		s := p.shmem[id]
		s.addr = at
		at += s.size
		p.shmem[id] = s
	}
}

// shmids lists the shared memory in the order in which it was found.
func (p *Room) shmids() []uint64 {
	ids := make([]uint64, len(p.shmem))
	for id, s := range p.shmem {
		ids[s.order] = id
	}
	return ids
}

// MakeShmem has the zygote make and fill all pieces.
func (p *Room) MakeShmem() {
	for _, id := range p.shmids() {
		s, what := p.shmem[id], fmt.Sprintf("shared memory %d", id)
		if s.sysv != nil {
			p.attachSysv(s.sysv, s.addr)
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
	return &space{Room: p, Process: &job.Process{Of: p.Job, Img: root, Task: &plan.Task{Pid: int(root.Pid)},
		Prog: p.Shared}}
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

// mapShmem maps the task's shared anonymous memory.
func (m *space) mapShmem() {
	for _, v := range m.vmas {
		id, shared := m.shmemOf(v)
		if !shared {
			continue
		}
		what, length := fmt.Sprintf("shared memory %d", id), v.GetEnd()-v.GetStart()
		m.Prog.Want(int64(v.GetStart()), what, uapi.SysMremap, m.shmem[id].addr+v.GetPgoff(), 0, length,
			uapi.MremapMaymoveFixed, v.GetStart())
		if v.GetProt() != uapi.ProtRead|uapi.ProtWrite {
			m.Prog.Sys(what, uapi.SysMprotect, v.GetStart(), length, uint64(v.GetProt()))
		}
	}
}

// UnmapShmem unmaps the whole pieces.
func (p *Room) UnmapShmem(prog *plan.Program) {
	for _, id := range p.shmids() {
		s := p.shmem[id]
		prog.Sys(fmt.Sprintf("shared memory %d", id), uapi.SysMunmap, s.addr, s.size)
	}
}
