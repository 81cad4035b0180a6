package restorer

import (
	"fmt"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
)

// A fifo keeps its contents, and lets others open it without waiting, as long as somebody has it open, fifo(7). The zygote
// opens each one for both reading and writing, fills it, and every task holds on to that until it has its own descriptors.

// openFifos plans the zygote's part.
func (p *fileRoom) openFifos() {
	for _, t := range p.dir.Tasks {
		for _, fd := range t.Fds {
			e := p.dir.Files[fd.GetId()].GetFifo()
			if _, open := p.nameless[fifoKey(e)]; e != nil && !open {
				p.openFifo(fmt.Sprintf("task %d fd %d", t.Pid, fd.GetFd()), e)
			}
		}
	}
}

func fifoKey(e *pb.FifoEntry) string { return fmt.Sprintf("fifo %d", e.GetPipeId()) }

func (p *fileRoom) openFifo(where string, e *pb.FifoEntry) {
	path, ok := p.pathOf(e.GetRegfId(), where)
	if !ok || !p.isFifo(where, e.GetRegfId(), path) {
		return
	}
	fd, s, what := p.fds.scratch(), p.shared, "fifo "+p.shownAs(e.GetRegfId())
	p.nameless[fifoKey(e)] = fd
	s.open(fd, true, what, sysOpenat, atFdcwd, s.arena.string(path), oRdwr|oNonblock)
	data := p.dir.FifoData[e.GetPipeId()]
	if data == nil {
		return
	}
	if data.Entry.GetSize() != 0 {
		s.sys(what, sysFcntl, uint64(fd), fSetpipeSz, uint64(data.Entry.GetSize()))
	}
	if data.Data.Size == 0 {
		return
	}
	b := p.payload(where, data.Data)
	p.mustBeEmpty(what, fd)
	s.want(int64(len(b)), fmt.Sprintf("%d bytes in %s", len(b), what), sysWrite, uint64(fd), s.arena.bytes(b), uint64(len(b)))
}

// mustBeEmpty fails the restore if somebody who was not dumped has put data into the fifo: tee(2) would copy it and leave it
// there.
func (p *fileRoom) mustBeEmpty(what string, fd int) {
	const eagain, nonblock = -11, 2 // SPLICE_F_NONBLOCK
	read, write, s := uint64(p.fds.scratch()), uint64(p.fds.scratch()), p.shared
	s.core(abi.OpPipe, what, 0, read, write)
	s.want(eagain, what+" has nobody else's data in it", sysTee, uint64(fd), write, 1, nonblock)
	s.sys("", sysClose, read)
	s.sys("", sysClose, write)
}

// isFifo sees that what has the name is one.
func (p *fileRoom) isFifo(where string, id uint32, path string) bool {
	if p.namelessOf(id) != "" {
		return true
	}
	if info, err := p.host.Stat(path); err != nil || unixType(info.Mode()) != sIfifo {
		p.refuse(where, "put back the fifo that was there at dump time", "%s is no fifo", path)
		return false
	}
	return true
}

// fifo opens a description of a fifo.
func (f *filePlanner) fifo(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	e := file.GetFifo()
	reg := f.dir.Files[e.GetRegfId()].GetReg()
	if keeper, ok := f.nameless[fifoKey(e)]; ok { // or it has been refused
		f.open(fd, "fifo "+f.shownAs(e.GetRegfId()), procFd(keeper), reg.GetFlags(), 0)
	}
	f.owner(fd, reg.GetFown())
}
