package file

import (
	"fmt"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// pipeEnds are the two scratch descriptors from which all descriptions of one pipe are made.
type pipeEnds struct {
	read, write int
	taken       [2]bool // some description has taken the end itself; others open it anew
}

// pipePlanner plans the pipes of one task.
type pipePlanner struct {
	*Descriptors
	pipes map[uint32]*pipeEnds // by pipe id
}

const bothEnds = 2

// Collect creates every pipe with what was in it, at scratch numbers.
func (f *pipePlanner) Collect() {
	for _, fd := range f.Order {
		e := f.Dir.Files[fd.GetId()].GetPipe()
		_, shared := f.SharedFDs[fd.GetId()]
		_, passed := f.Inherited[fd.GetId()]
		if passed || fd.GetType() != pb.FdTypes_PIPE || f.pipes[e.GetPipeId()] != nil || shared {
			continue
		}
		id := e.GetPipeId()
		ends := &pipeEnds{read: f.Fds.Scratch(), write: f.Fds.Scratch()}
		f.pipes[id] = ends
		what := fmt.Sprintf("pipe %d", id)
		f.Prog.Core(what, abi.Pipe{Flags: uint64(e.GetFlags() & uapi.ODirect), Read: uint64(ends.read),
			Write: uint64(ends.write)})
		f.pipeContents(id, what, ends, e.GetFlags()&uapi.ODirect != 0)
	}
}

// pipeContents sets a pipe's size and writes what was in it.
func (f *pipePlanner) pipeContents(id uint32, what string, ends *pipeEnds, packets bool) {
	data := f.Dir.PipeData[id]
	if data != nil && data.Entry.GetSize() != 0 {
		f.Prog.Sys(what, uapi.SysFcntl, uint64(ends.write), uapi.FSetpipeSz, uint64(data.Entry.GetSize()))
	}
	b := f.pipeData(id)
	if len(b) == 0 {
		return
	}
	if packets {
		f.Refuse(f.Where(), "", "%s in packet mode with %d bytes in it: CRIU does not dump where packets end",
			what,
			len(b))
		return
	}
	// a full pipe must not block the restore
	f.Prog.Sys(what, uapi.SysFcntl, uint64(ends.write), uapi.FSetfl, uapi.ONonblock)
	f.Prog.Want(int64(len(b)), fmt.Sprintf("%d bytes in %s", len(b), what), uapi.SysWrite, uint64(ends.write),
		f.Prog.Arena.Bytes(b), uint64(len(b)))
	f.Prog.Sys(what, uapi.SysFcntl, uint64(ends.write), uapi.FSetfl, 0)
}

// Describe gives a description one end: the first one takes the scratch descriptor's, each further one opens the pipe
// again, which makes a description with flags of its own, proc_pid_fd(5).
func (f *pipePlanner) Describe(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	e := file.GetPipe()
	if number, passed := f.Inherited[fd.GetId()]; passed {
		f.inheritPipe(fd, number, e.GetFlags())
		f.Owner(fd, e.GetFown())
		return
	}
	ends := f.pipes[e.GetPipeId()]
	if ends == nil {
		f.Refuse(f.FdWhere(fd), "", "file %#x of files.img is not a pipe", fd.GetId())
		return
	}
	var from, which int
	switch e.GetFlags() & uapi.OAccmode {
	case uapi.ORdonly:
		from, which = ends.read, 0
	case uapi.OWronly:
		from, which = ends.write, 1
	default: // opened through /proc, as it will be now
		from, which = ends.read, bothEnds
	}
	what := fmt.Sprintf("pipe %d", e.GetPipeId())
	if which == bothEnds || ends.taken[which] {
		path := f.Prog.Arena.String(fmt.Sprintf("/proc/self/fd/%d", from))
		f.Create(fd, what, uapi.SysOpenat, uapi.AtFdcwd, path, uint64(e.GetFlags()&uapi.OAccmode))
	} else {
		ends.taken[which] = true
		f.Create(fd, what, uapi.SysFcntl, uint64(from), 0 /* F_DUPFD */, uint64(from))
	}
	f.SetFlags(fd, e.GetFlags())
	f.Owner(fd, e.GetFown())
}

// Finish closes the scratch ends: an end that no descriptor had is closed, as it was.
func (f *pipePlanner) Finish() {
	var scratch []int
	for _, ends := range f.pipes {
		scratch = append(scratch, ends.read, ends.write)
	}
	slices.Sort(scratch)
	for _, fd := range scratch {
		f.Prog.Sys("", uapi.SysClose, uint64(fd))
	}
}

// Epolls fills epoll sets, which are keyed by descriptor numbers, when all descriptors are in place.
func (f *Descriptors) Epolls() {
	for _, fd := range f.Order {
		if fd.GetType() == pb.FdTypes_EVENTPOLL {
			f.fill(uint64(fd.GetFd()), fd.GetId(), f.FdWhere(fd), "epoll set")
		}
	}
	for _, id := range f.flying[f.Img.Pid] {
		f.fill(uint64(f.SharedFDs[id]), id, f.Where(), "epoll set in flight")
	}
}

// FillInFlight has a task fill an epoll set that only a queue has. CRIU takes the numbers in it for those of the task
// that has the socket, and does not look whether they are of the same files.
func (p *Room) FillInFlight(by *images.Task, id uint32) {
	owner := job.TableOwner(by)
	p.flying[owner.Pid] = append(p.flying[owner.Pid], id)
}

// fill adds what was in an epoll set, once.
func (f *Descriptors) fill(set uint64, id uint32, where, what string) {
	if f.filled[id] {
		return
	}
	f.filled[id] = true
	for _, e := range f.Dir.Files[id].GetEpfd().GetTfd() {
		if !slices.ContainsFunc(f.Img.Fds, func(fd *pb.FdinfoEntry) bool { return fd.GetFd() == e.GetTfd() }) {
			f.Refuse(where, "", "%s with descriptor %d, which is closed: not supported", what, e.GetTfd())
			continue
		}
		event := f.Prog.Arena.Bytes(append(plan.Words32([]uint32{e.GetEvents()}),
			plan.Words64([]uint64{e.GetData()})...))
		f.Prog.Sys(fmt.Sprintf("epoll on fd %d", e.GetTfd()), uapi.SysEpollCtl, set, uapi.EpollCtlAdd,
			uint64(e.GetTfd()),
			event)
	}
}

// pipeData reads what was in a pipe.
func (f *pipePlanner) pipeData(id uint32) []byte {
	data := f.Dir.PipeData[id]
	if data == nil {
		return nil
	}
	return f.Payload(f.Where(), data.Data)
}
