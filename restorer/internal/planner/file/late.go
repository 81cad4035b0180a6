package file

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// Some descriptions need a process that exists: pidfds, pidfd_open(2), files in /proc/PID, and namespaces, which are
// the process's own. The first task that has one makes it, when that process is there; other tasks that have the same
// description take it from there, pidfd_getfd(2). Pidfds of processes that are gone are made by the zygote, of one that
// it makes for that and that ends.

// ofNobody is what fdinfo says of a pidfd of a process that is gone.
const ofNobody = -1

// PlanLate plans the zygote's part, and finds out who makes what and who waits for whom.
func (p *Room) PlanLate() {
	p.LateMakers, p.Awaited = map[uint32]*images.Task{}, map[uint32]bool{}
	gone := map[uint32][]*pb.FdinfoEntry{}
	var order []uint32
	for _, t := range p.Dir.Tasks {
		for _, fd := range t.Fds {
			file := p.Dir.Files[fd.GetId()]
			_, passed := p.Inherited[fd.GetId()]
			if passed || p.LateMakers[fd.GetId()] != nil || !p.isLate(file) {
				continue
			}
			p.LateMakers[fd.GetId()] = t
			if e := file.GetPidfd(); e != nil && e.GetNspid() == ofNobody {
				if gone[e.GetIno()] == nil {
					order = append(order, e.GetIno())
				}
				gone[e.GetIno()] = append(gone[e.GetIno()], fd)
			} else if target := p.lateTarget(file); target != nil && !p.ExistsFor(target, t) {
				p.Awaited[target.Pid] = true
			}
		}
	}
	for _, inode := range order {
		p.makeGone(gone[inode])
	}
}

// isLate reports whether only a task can make a description.
func (p *Room) isLate(file *pb.FileEntry) bool {
	return file.GetType() == pb.FdTypes_PIDFD || file.GetType() == pb.FdTypes_NS || p.lateTarget(file) != nil
}

// lateTarget is the task that a pidfd or a file in /proc is of, or nil.
func (p *Room) lateTarget(file *pb.FileEntry) *images.Task {
	switch file.GetType() {
	case pb.FdTypes_PIDFD:
		return p.FindTask(file.GetPidfd().GetNspid())
	case pb.FdTypes_REG:
		if pid, of := job.ProcOf(file.GetReg().GetName()); of {
			return p.FindTask(int32(pid))
		}
	}
	return nil
}

// makeGone makes all descriptions of one process that is gone.
func (p *Room) makeGone(fds []*pb.FdinfoEntry) {
	var list []abi.Pidfd
	for _, fd := range fds {
		number := p.Fds.Scratch()
		p.SharedFDs[fd.GetId()] = number
		list = append(list, abi.Pidfd{FD: uint32(number),
			Flags: p.Dir.Files[fd.GetId()].GetPidfd().GetFlags() & uapi.ONonblock})
	}
	p.Shared.Core(fmt.Sprintf("%d pidfds of a process that is gone", len(fds)),
		abi.OpenExitedPidfds{Nr: uint64(len(fds)), Pidfds: memory.Records(p.Shared.Arena, list)})
}

// pidfd makes a description.
func (f *Descriptors) pidfd(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	e, target := file.GetPidfd(), f.lateTarget(file)
	if target == nil {
		f.Refuse(f.FdWhere(fd), "", "pidfd of process %d, which was not dumped: not supported", e.GetNspid())
		return
	}
	f.awaitTarget(target)
	f.Create(fd, fmt.Sprintf("pidfd of %d", target.Pid), uapi.SysPidfdOpen, uint64(target.Pid),
		uint64(e.GetFlags()&uapi.ONonblock))
	f.Owner(fd, e.GetFown())
}

func (f *Descriptors) awaitTarget(target *images.Task) {
	if f.Awaited[target.Pid] && target != f.Img {
		f.Follow(fmt.Sprintf("process %d exists", target.Pid), target, abi.MarkBorn)
	}
}

// inProc opens a file in a task's folder of /proc. What is there of threads and descriptors comes later than the
// folder.
func (f *Descriptors) inProc(fd *pb.FdinfoEntry, target *images.Task, name, rest string) {
	reg := f.Dir.Files[fd.GetId()].GetReg()
	if thread, ok := strings.CutPrefix(rest, "task/"); ok {
		number, inThread, _ := strings.Cut(thread, "/")
		if number != strconv.Itoa(int(target.Pid)) {
			f.Refuse(f.FdWhere(fd), "", "%s is of a thread: not supported", name)
			return
		}
		rest = inThread
	}
	if strings.HasPrefix(rest, "fdinfo/") && target != f.Img {
		f.Refuse(f.FdWhere(fd), "", "%s is of another task's descriptor: not supported", name)
		return
	}
	open := func() {
		f.awaitTarget(target)
		f.open(fd, name, name, reg.GetFlags(), reg.GetPos())
		f.Owner(fd, reg.GetFown())
	}
	if strings.HasPrefix(rest, "fdinfo/") {
		f.Later(job.PhaseDescriptors, func(*plan.Program) { open(); f.duplicates(fd) })
		return
	}
	open()
}

// namespaces are the files in /proc/PID/ns, namespaces(7), with the numbers that the images have for the task's own.
func namespaces(ids *pb.TaskKobjIdsEntry) map[uint32]namespace {
	return map[uint32]namespace{
		uapi.CloneNewtime: {"time", ids.GetTimeNsId()}, uapi.CloneNewns: {"mnt", ids.GetMntNsId()},
		uapi.CloneNewcgroup: {"cgroup", ids.GetCgroupNsId()},
		uapi.CloneNewuts:    {"uts", ids.GetUtsNsId()}, uapi.CloneNewipc: {"ipc", ids.GetIpcNsId()},
		uapi.CloneNewuser: {"user", ids.GetUserNsId()},
		uapi.CloneNewpid:  {"pid", ids.GetPidNsId()}, uapi.CloneNewnet: {"net", ids.GetNetNsId()},
	}
}

type namespace struct {
	name string
	id   uint32
}

// namespaceFile opens a namespace of the task's.
func (f *Descriptors) namespaceFile(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	e := file.GetNsf()
	ns, known := namespaces(f.Img.Ids)[e.GetNsCflag()]
	if !known || ns.id != e.GetNsId() {
		f.Refuse(f.FdWhere(fd), "", "namespace %d of kind %#x, which is not the task's own: not supported",
			e.GetNsId(),
			e.GetNsCflag())
		return
	}
	f.open(fd, "namespace "+ns.name, "/proc/self/ns/"+ns.name, e.GetFlags(), 0)
}

// takeLate takes a description from the task that has made it.
func (f *Descriptors) takeLate(fd *pb.FdinfoEntry, maker *images.Task) {
	var number uint32
	for _, theirs := range maker.Fds {
		if theirs.GetId() == fd.GetId() {
			number = theirs.GetFd()
		}
	}
	what, scratch := fmt.Sprintf("what task %d has, too", maker.Pid), f.Fds.Scratch()
	f.Follow(what, maker, abi.MarkLate)
	f.Prog.Open(scratch, true, what, uapi.SysPidfdOpen, uint64(maker.Pid), 0)
	f.Create(fd, what, uapi.SysPidfdGetfd, uint64(scratch), uint64(number), 0)
	f.Prog.Sys("", uapi.SysClose, uint64(scratch))
}

// givesLate reports whether other tasks take descriptions from this one.
func (t *Descriptors) givesLate() bool {
	for _, other := range t.Dir.Tasks {
		for _, fd := range other.Fds {
			if other != t.Img && t.LateMakers[fd.GetId()] == t.Img {
				return true
			}
		}
	}
	return false
}
