package file

import (
	"errors"
	"fmt"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
)

// A fifo keeps its contents, and lets others open it without waiting, as long as a process has it open, fifo(7). The
// zygote opens each one for both reading and writing, fills it, and every task holds on to that until it has its own
// descriptors.

// openFifos plans the zygote's part.
func (p *Room) openFifos() {
	for _, t := range p.Dir.Tasks {
		for _, fd := range t.Fds {
			e := p.Dir.Files[fd.GetId()].GetFifo()
			if _, open := p.Nameless[fifoKey(e)]; e != nil && !open {
				p.openFifo(fmt.Sprintf("task %d fd %d", t.Pid, fd.GetFd()), e)
			}
		}
	}
}

func fifoKey(e *pb.FifoEntry) string { return fmt.Sprintf("fifo %d", e.GetPipeId()) }

// openFifo opens a fifo and writes what was in it. The descriptor stays open in the zygote for all tasks: without it
// the contents would be gone with the last reader. Read and write together never block, fifo(7).
func (p *Room) openFifo(where string, e *pb.FifoEntry) {
	path, ok := p.PathOf(e.GetRegfId(), where)
	if !ok || !p.isFifo(where, e.GetRegfId(), path) {
		return
	}
	fd, s, what := p.Fds.Scratch(), p.Shared, "fifo "+p.ShownAs(e.GetRegfId())
	p.Nameless[fifoKey(e)] = fd
	s.Open(fd, true, what, uapi.SysOpenat, uapi.AtFdcwd, s.Arena.String(path), uapi.ORdwr|uapi.ONonblock)
	data := p.Dir.FifoData[e.GetPipeId()]
	if data == nil {
		return
	}
	if data.Entry.GetSize() != 0 {
		s.Sys(what, uapi.SysFcntl, uint64(fd), uapi.FSetpipeSz, uint64(data.Entry.GetSize()))
	}
	if data.Data.Size == 0 {
		return
	}
	b := p.Payload(where, data.Data)
	p.mustBeEmpty(what, fd)
	s.Want(int64(len(b)), fmt.Sprintf("%d bytes in %s", len(b), what), uapi.SysWrite, uint64(fd), s.Arena.Bytes(b),
		uint64(len(b)))
}

// mustBeEmpty fails the restore if a process that was not dumped has put data into the fifo: tee(2) would copy it and
// leave it there.
func (p *Room) mustBeEmpty(what string, fd int) {
	const eagain, nonblock = -11, 2 // SPLICE_F_NONBLOCK
	read, write, s := uint64(p.Fds.Scratch()), uint64(p.Fds.Scratch()), p.Shared
	s.Core(what, abi.Pipe{Read: read, Write: write})
	s.Want(eagain, what+" has nobody else's data in it", uapi.SysTee, uint64(fd), write, 1, nonblock)
	s.Sys("", uapi.SysClose, read)
	s.Sys("", uapi.SysClose, write)
}

// isFifo sees that what has the name is one.
func (p *Room) isFifo(where string, id uint32, path string) bool {
	if p.NamelessOf(id) != "" {
		return true
	}
	info, err := p.Host.Stat(path)
	if errors.Is(err, host.ErrUnseen) || err == nil && uapi.UnixType(info.Mode()) == uapi.SIfifo {
		return true
	}
	p.Refuse(where, "put back the fifo that was there at dump time", "%s is not a fifo", path)
	return false
}

// fifo opens a description of a fifo.
func (f *Descriptors) fifo(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	e := file.GetFifo()
	reg := f.Dir.Files[e.GetRegfId()].GetReg()
	if keeper, ok := f.Nameless[fifoKey(e)]; ok { // or it has been refused
		f.open(fd, "fifo "+f.ShownAs(e.GetRegfId()), ProcFd(keeper), reg.GetFlags(), 0)
	}
	f.Owner(fd, reg.GetFown())
}
