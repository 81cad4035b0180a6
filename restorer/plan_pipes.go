package restorer

import (
	"fmt"
	"slices"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
)

// pipeEnds are the two scratch descriptors from which all descriptions of one pipe are made.
type pipeEnds struct {
	read, write int
	taken       [2]bool // some description has taken the end itself; others open it anew
}

// pipePlanner plans the pipes of one task.
type pipePlanner struct {
	*filePlanner
	pipes map[uint32]*pipeEnds // by pipe id
}

const bothEnds = 2

// collect creates every pipe with what was in it, at scratch numbers.
func (f *pipePlanner) collect() {
	for _, fd := range f.order {
		e := f.dir.Files[fd.GetId()].GetPipe()
		_, shared := f.sharedFDs[fd.GetId()]
		_, passed := f.inherited[fd.GetId()]
		if passed || fd.GetType() != pb.FdTypes_PIPE || f.pipes[e.GetPipeId()] != nil || shared {
			continue
		}
		id := e.GetPipeId()
		ends := &pipeEnds{read: f.fds.scratch(), write: f.fds.scratch()}
		f.pipes[id] = ends
		what := fmt.Sprintf("pipe %d", id)
		const oDirect = 0o40000 // packet mode, pipe(2)
		f.prog.core(abi.OpPipe, what, uint64(e.GetFlags()&oDirect), uint64(ends.read), uint64(ends.write))
		f.pipeContents(id, what, ends, e.GetFlags()&oDirect != 0)
	}
}

func (f *pipePlanner) pipeContents(id uint32, what string, ends *pipeEnds, packets bool) {
	data := f.dir.PipeData[id]
	if data != nil && data.Entry.GetSize() != 0 {
		f.prog.sys(what, sysFcntl, uint64(ends.write), fSetpipeSz, uint64(data.Entry.GetSize()))
	}
	b := f.pipeData(id)
	if len(b) == 0 {
		return
	}
	if packets {
		f.refuse(f.where(), "", "%s in packet mode with %d bytes in it: CRIU does not dump where packets end", what, len(b))
		return
	}
	// a full pipe must not block the restore
	f.prog.sys(what, sysFcntl, uint64(ends.write), fSetfl, oNonblock)
	f.prog.want(int64(len(b)), fmt.Sprintf("%d bytes in %s", len(b), what), sysWrite, uint64(ends.write),
		f.prog.arena.bytes(b), uint64(len(b)))
	f.prog.sys(what, sysFcntl, uint64(ends.write), fSetfl, 0)
}

// describe gives a description one end: the first one takes the scratch descriptor's, each further one opens the pipe
// again, which makes a description with flags of its own, proc_pid_fd(5).
func (f *pipePlanner) describe(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	e := file.GetPipe()
	if number, passed := f.inherited[fd.GetId()]; passed {
		f.inheritPipe(fd, number, e.GetFlags())
		f.owner(fd, e.GetFown())
		return
	}
	ends := f.pipes[e.GetPipeId()]
	if ends == nil {
		f.refuse(f.fdWhere(fd), "", "file %#x of files.img is no pipe", fd.GetId())
		return
	}
	var from, which int
	switch e.GetFlags() & oAccmode {
	case oRdonly:
		from, which = ends.read, 0
	case oWronly:
		from, which = ends.write, 1
	default: // opened through /proc, as it will be now
		from, which = ends.read, bothEnds
	}
	what := fmt.Sprintf("pipe %d", e.GetPipeId())
	if which == bothEnds || ends.taken[which] {
		path := f.prog.arena.string(fmt.Sprintf("/proc/self/fd/%d", from))
		f.create(fd, what, sysOpenat, atFdcwd, path, uint64(e.GetFlags()&oAccmode))
	} else {
		ends.taken[which] = true
		f.create(fd, what, sysFcntl, uint64(from), 0 /* F_DUPFD */, uint64(from))
	}
	f.setFlags(fd, e.GetFlags())
	f.owner(fd, e.GetFown())
}

// finish closes the scratch ends: an end that no descriptor had is closed, as it was.
func (f *pipePlanner) finish() {
	var scratch []int
	for _, ends := range f.pipes {
		scratch = append(scratch, ends.read, ends.write)
	}
	slices.Sort(scratch)
	for _, fd := range scratch {
		f.prog.sys("", sysClose, uint64(fd))
	}
}

// epolls fills epoll sets, which are keyed by descriptor numbers, when all descriptors are in place.
func (f *filePlanner) epolls() {
	own := map[uint32]bool{}
	for _, fd := range f.img.Fds {
		own[fd.GetFd()] = true
	}
	for _, fd := range f.order {
		if fd.GetType() != pb.FdTypes_EVENTPOLL || f.filled[fd.GetId()] {
			continue
		}
		f.filled[fd.GetId()] = true
		for _, e := range f.dir.Files[fd.GetId()].GetEpfd().GetTfd() {
			if !own[e.GetTfd()] {
				f.refuse(f.fdWhere(fd), "", "epoll set with descriptor %d, which is closed: not supported", e.GetTfd())
				continue
			}
			const epollCtlAdd = 1
			event := f.prog.arena.bytes(append(words32([]uint32{e.GetEvents()}), words64([]uint64{e.GetData()})...))
			f.prog.sys(fmt.Sprintf("epoll on fd %d", e.GetTfd()), sysEpollCtl, uint64(fd.GetFd()), epollCtlAdd,
				uint64(e.GetTfd()), event)
		}
	}
}

// pipeData reads what was in a pipe.
func (f *pipePlanner) pipeData(id uint32) []byte {
	data := f.dir.PipeData[id]
	if data == nil {
		return nil
	}
	return f.payload(f.where(), data.Data)
}
