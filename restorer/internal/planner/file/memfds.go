package file

import (
	"fmt"
	"maps"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// memfdContents is the part of the memory room that memfds need.
type memfdContents interface {
	SharedContents(shmid uint64, what string, size uint64) []images.Piece // in pages whose addresses are offsets
	MakeHugeMemfd(id uint32, inode *pb.MemfdInodeEntry)
}

// makeMemfds makes every memfd with its contents.
func (p *Room) makeMemfds() {
	for _, id := range slices.Sorted(maps.Keys(p.Dir.Memfds)) {
		inode := p.Dir.Memfds[id]
		if AnonymousMemfd(inode) && !p.Held[id] {
			continue // MakeShmem
		}
		p.makeMemfd(id, inode)
	}
}

// makeMemfd makes a memfd once for all tasks. Contents come before seals, which would forbid them.
func (p *Room) makeMemfd(id uint32, inode *pb.MemfdInodeEntry) {
	if inode.GetHugetlbFlag() != 0 {
		p.Contents.MakeHugeMemfd(id, inode)
		return
	}
	what := fmt.Sprintf("memfd %q", inode.GetName())
	s, fd := p.Shared, p.Fds.Scratch()
	p.Nameless[MemfdKey(id)] = fd
	s.Open(fd, true, what, uapi.SysMemfdCreate, s.Arena.String(inode.GetName()), uapi.MfdAllowSealing)
	s.Sys(what, uapi.SysFtruncate, uint64(fd), inode.GetSize())
	p.memfdContents(what, fd, inode)
	p.OwnMemfd(what, fd, inode)
	p.SealMemfd(what, fd, id, inode.GetSeals())
}

// OwnMemfd gives a memfd its owner and mode.
func (p *Room) OwnMemfd(what string, fd int, inode *pb.MemfdInodeEntry) {
	p.Shared.Sys(what, uapi.SysFchown, uint64(fd), uint64(inode.GetUid()), uint64(inode.GetGid()))
	if inode.Mode != nil {
		p.Shared.Sys(what, uapi.SysFchmod, uint64(fd), uint64(inode.GetMode()&0o7777))
	}
}

func (p *Room) memfdContents(what string, fd int, inode *pb.MemfdInodeEntry) {
	for _, piece := range p.Contents.SharedContents(uint64(inode.GetShmid()), what, inode.GetSize()) {
		from := piece.Range()
		// the last page may be only partly the file's
		from.Size = min(from.Size, int64(inode.GetSize()-piece.Vaddr))
		p.copyFrom(what, fd, piece.Vaddr, from)
	}
}

// copyFrom copies a part of an image to an offset of a file, sendfile(2).
func (p *Room) copyFrom(what string, fd int, to uint64, from images.Range) {
	const atMost = 1 << 30 // sendfile(2) stops short of 2 GiB
	image := p.PagesFD(from.Level, from.File)
	p.Shared.Want(int64(to), what, uapi.SysLseek, uint64(fd), to, uapi.SeekSet)
	p.Shared.Want(from.Offset, what, uapi.SysLseek, uint64(image), uint64(from.Offset), 0)
	for left := from.Size; left > 0; left -= atMost {
		n := min(left, atMost)
		p.Shared.Want(n, fmt.Sprintf("%d bytes of %s", n, what), uapi.SysSendfile, uint64(fd), uint64(image), 0,
			uint64(n))
	}
}

// SealMemfd adds the seals as soon as the contents are there. F_SEAL_FUTURE_WRITE has to wait for the mappings that it
// leaves writable: the only task that has such a mapping adds the seals then.
func (p *Room) SealMemfd(what string, fd int, id, seals uint32) {
	if seals == 0 {
		return
	}
	seal := func(prog *plan.Program) {
		prog.Sys("seals of "+what, uapi.SysFcntl, uint64(fd), uapi.FAddSeals, uint64(seals))
	}
	var writers []*images.Task
	for _, t := range p.Dir.Tasks {
		if seals&uapi.FSealFutureWrite != 0 && p.writesTo(t, id) {
			writers = append(writers, t)
		}
	}
	switch len(writers) {
	case 0:
		seal(p.Shared)
	case 1:
		p.Later(writers[0].Pid, job.PhaseSeals, seal)
	default:
		p.Refuse(what, "", "tasks %d and %d have it mapped writable since before F_SEAL_FUTURE_WRITE: not supported",
			writers[0].Pid, writers[1].Pid)
	}
}

// writesTo reports whether a task has a writable shared mapping of a memfd.
func (p *Room) writesTo(t *images.Task, inode uint32) bool {
	for _, v := range t.Mm.GetVmas() {
		e := p.Dir.Files[uint32(v.GetShmid())].GetMemfd()
		if v.GetStatus()&images.VmaMemfd != 0 && e.GetInodeId() == inode && v.GetFlags()&uapi.MapShared != 0 &&
			(v.GetFdflags()&uapi.OAccmode != uapi.ORdonly || v.GetProt()&uapi.ProtWrite != 0) {
			return true
		}
	}
	return false
}

// memfd makes a description of a memfd. One for reading and writing is made by memfd_create(2) itself: the file would
// count as open for writing, which keeps it from being executed, if it were opened again (ETXTBSY, execve(2)).
func (f *Descriptors) memfd(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	e := file.GetMemfd()
	if number, made := f.Nameless[MemfdKey(e.GetInodeId())]; made && f.ofMemfdCreate(e.GetInodeId()) == fd.GetId() {
		what := f.ShownAs(fd.GetId())
		f.Create(fd, what, uapi.SysFcntl, uint64(number), 0 /* F_DUPFD */, 0)
		f.Prog.Want(int64(e.GetPos()), what, uapi.SysLseek, uint64(fd.GetFd()), e.GetPos(), uapi.SeekSet)
		f.SetFlags(fd, e.GetFlags())
	} else if path, ok := f.PathOf(fd.GetId(), f.FdWhere(fd)); ok {
		f.open(fd, f.ShownAs(fd.GetId()), path, e.GetFlags(), e.GetPos())
	}
	f.Owner(fd, e.GetFown())
}

// ofMemfdCreate gives the first description of a memfd for reading and writing. The images do not say which one its
// maker had.
func (p *Room) ofMemfdCreate(inode uint32) (id uint32) {
	for _, t := range p.Dir.Tasks {
		for _, fd := range t.Fds {
			e := p.Dir.Files[fd.GetId()].GetMemfd()
			if e != nil && e.GetInodeId() == inode &&
				e.GetFlags()&(uapi.OAccmode|uapi.OPath) == uapi.ORdwr {
				return fd.GetId()
			}
		}
	}
	return 0
}

// AnonymousMemfd: since Linux 6.16 shared anonymous memory looks to CRIU like a memfd that is called /dev/zero.
func AnonymousMemfd(inode *pb.MemfdInodeEntry) bool {
	return inode.GetName() == "/dev/zero" || inode.GetName() == "/dev/zero (deleted)"
}
