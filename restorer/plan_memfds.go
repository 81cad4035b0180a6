package restorer

import (
	"fmt"
	"maps"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
)

// memfd_create(2) and fcntl(2) F_ADD_SEALS.
const (
	mfdAllowSealing = 2
	fAddSeals       = 1033
	sealFutureWrite = 0x10
)

// memfdContents is the part of the memory room that memfds need.
type memfdContents interface {
	sharedContents(shmid uint64, what string, size uint64) []images.Piece // in pages whose addresses are offsets
	makeHugeMemfd(id uint32, inode *pb.MemfdInodeEntry)
}

// makeMemfds makes every memfd with its contents.
func (p *fileRoom) makeMemfds() {
	for _, id := range slices.Sorted(maps.Keys(p.dir.Memfds)) {
		inode := p.dir.Memfds[id]
		if anonymousMemfd(inode) && !p.held[id] {
			continue // makeSegments
		}
		p.makeMemfd(id, inode)
	}
}

func (p *fileRoom) makeMemfd(id uint32, inode *pb.MemfdInodeEntry) {
	if inode.GetHugetlbFlag() != 0 {
		p.contents.makeHugeMemfd(id, inode)
		return
	}
	what := fmt.Sprintf("memfd %q", inode.GetName())
	s, fd := p.shared, p.fds.scratch()
	p.nameless[memfdKey(id)] = fd
	s.open(fd, true, what, sysMemfdCreate, s.arena.string(inode.GetName()), mfdAllowSealing)
	s.sys(what, sysFtruncate, uint64(fd), inode.GetSize())
	p.memfdContents(what, fd, inode)
	p.ownMemfd(what, fd, inode)
	p.sealMemfd(what, fd, id, inode.GetSeals())
}

func (p *fileRoom) ownMemfd(what string, fd int, inode *pb.MemfdInodeEntry) {
	p.shared.sys(what, sysFchown, uint64(fd), uint64(inode.GetUid()), uint64(inode.GetGid()))
	if inode.Mode != nil {
		p.shared.sys(what, sysFchmod, uint64(fd), uint64(inode.GetMode()&0o7777))
	}
}

func (p *fileRoom) memfdContents(what string, fd int, inode *pb.MemfdInodeEntry) {
	for _, piece := range p.contents.sharedContents(uint64(inode.GetShmid()), what, inode.GetSize()) {
		from := piece.Range()
		from.Size = min(from.Size, int64(inode.GetSize()-piece.Vaddr)) // the last page may be only partly the file's
		p.copyFrom(what, fd, piece.Vaddr, from)
	}
}

// copyFrom copies a part of an image to an offset of a file, sendfile(2).
func (p *fileRoom) copyFrom(what string, fd int, to uint64, from images.Range) {
	const atMost = 1 << 30 // sendfile(2) stops short of 2 GiB
	image := p.pagesFD(from.Level, from.File)
	p.shared.want(int64(to), what, sysLseek, uint64(fd), to, 0 /* SEEK_SET */)
	p.shared.want(from.Offset, what, sysLseek, uint64(image), uint64(from.Offset), 0)
	for left := from.Size; left > 0; left -= atMost {
		n := min(left, atMost)
		p.shared.want(n, fmt.Sprintf("%d bytes of %s", n, what), sysSendfile, uint64(fd), uint64(image), 0, uint64(n))
	}
}

// sealMemfd adds the seals as soon as the contents are there. F_SEAL_FUTURE_WRITE has to wait for the mappings that it
// leaves writable: the only task that has such a mapping adds the seals then.
func (p *fileRoom) sealMemfd(what string, fd int, id, seals uint32) {
	if seals == 0 {
		return
	}
	seal := func(prog *program) { prog.sys("seals of "+what, sysFcntl, uint64(fd), fAddSeals, uint64(seals)) }
	var writers []*images.Task
	for _, t := range p.dir.Tasks {
		if seals&sealFutureWrite != 0 && p.writesTo(t, id) {
			writers = append(writers, t)
		}
	}
	switch len(writers) {
	case 0:
		seal(p.shared)
	case 1:
		p.later(writers[0].Pid, phaseSeals, seal)
	default:
		p.refuse(what, "", "tasks %d and %d have it mapped writable since before F_SEAL_FUTURE_WRITE: not supported",
			writers[0].Pid, writers[1].Pid)
	}
}

// writesTo reports whether a task has a writable shared mapping of a memfd.
func (p *fileRoom) writesTo(t *images.Task, inode uint32) bool {
	for _, v := range t.Mm.GetVmas() {
		e := p.dir.Files[uint32(v.GetShmid())].GetMemfd()
		if v.GetStatus()&images.VmaMemfd != 0 && e.GetInodeId() == inode && v.GetFlags()&mapShared != 0 &&
			(v.GetFdflags()&oAccmode != oRdonly || v.GetProt()&protWrite != 0) {
			return true
		}
	}
	return false
}

// memfd makes a description of a memfd. One for reading and writing is that of memfd_create(2) itself: the file would count as
// open for writing, which keeps it from being executed, if it were opened again (ETXTBSY, execve(2)).
func (f *filePlanner) memfd(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	e := file.GetMemfd()
	if number, made := f.nameless[memfdKey(e.GetInodeId())]; made && f.ofMemfdCreate(e.GetInodeId()) == fd.GetId() {
		what := f.shownAs(fd.GetId())
		f.create(fd, what, sysFcntl, uint64(number), 0 /* F_DUPFD */, 0)
		f.prog.want(int64(e.GetPos()), what, sysLseek, uint64(fd.GetFd()), e.GetPos(), 0 /* SEEK_SET */)
		f.setFlags(fd, e.GetFlags())
	} else if path, ok := f.pathOf(fd.GetId(), f.fdWhere(fd)); ok {
		f.open(fd, f.shownAs(fd.GetId()), path, e.GetFlags(), e.GetPos())
	}
	f.owner(fd, e.GetFown())
}

// ofMemfdCreate gives the first description of a memfd for reading and writing. The images do not say which one its maker had.
func (p *fileRoom) ofMemfdCreate(inode uint32) (id uint32) {
	for _, t := range p.dir.Tasks {
		for _, fd := range t.Fds {
			e := p.dir.Files[fd.GetId()].GetMemfd()
			if e != nil && e.GetInodeId() == inode && e.GetFlags()&(oAccmode|oPath) == oRdwr {
				return fd.GetId()
			}
		}
	}
	return 0
}

// anonymousMemfd: since Linux 6.16 shared anonymous memory looks to CRIU like a memfd that is called /dev/zero.
func anonymousMemfd(inode *pb.MemfdInodeEntry) bool {
	return inode.GetName() == "/dev/zero" || inode.GetName() == "/dev/zero (deleted)"
}
