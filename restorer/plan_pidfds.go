package restorer

import (
	"encoding/binary"
	"fmt"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/abi"
)

// A pidfd needs its process, pidfd_open(2). The first task that has one of a living process opens it, when that process
// exists; other tasks that have the same description take it from there, pidfd_getfd(2). Those of processes that are gone are
// made by the zygote, of one that it makes for that and that ends.

// ofNobody is what fdinfo says of a pidfd of a process that is gone.
const ofNobody = -1

// planPidfds plans the zygote's part, and finds out who waits for whom.
func (p *planner) planPidfds() {
	p.pidfdMakers, p.awaited = map[uint32]*images.Task{}, map[uint32]bool{}
	gone := map[uint32][]*fdinfo.FdinfoEntry{}
	var order []uint32
	for _, t := range p.dir.Tasks {
		for _, fd := range t.Fds {
			e := p.dir.Files[fd.GetId()].GetPidfd()
			if e == nil || fd.GetType() != fdinfo.FdTypes_PIDFD || p.pidfdMakers[fd.GetId()] != nil {
				continue
			}
			p.pidfdMakers[fd.GetId()] = t
			target := p.findTask(e.GetNspid())
			switch {
			case e.GetNspid() == ofNobody:
				if gone[e.GetIno()] == nil {
					order = append(order, e.GetIno())
				}
				gone[e.GetIno()] = append(gone[e.GetIno()], fd)
			case target != nil && !p.existsFor(target, t):
				p.awaited[target.Pid] = true
			}
		}
	}
	for _, inode := range order {
		p.makeGone(gone[inode])
	}
}

func (p *planner) findTask(pid int32) *images.Task {
	for _, t := range p.dir.Tasks {
		if int32(t.Pid) == pid {
			return t
		}
	}
	return nil
}

// existsFor reports whether a task is there when another begins with its descriptors: itself, those that it is cloned from,
// and those that are cloned from it.
func (p *planner) existsFor(target, t *images.Task) bool {
	if b := p.births[target.Pid]; b.creator == t && b.helper == nil {
		return true
	}
	for a := t; a != nil; a = p.births[a.Pid].creator {
		if a == target {
			return true
		}
	}
	return false
}

// makeGone makes all descriptions of one process that is gone.
func (p *planner) makeGone(fds []*fdinfo.FdinfoEntry) {
	var list []byte
	for _, fd := range fds {
		number := p.fds.scratch()
		p.sharedFDs[fd.GetId()] = number
		list = binary.LittleEndian.AppendUint32(list, uint32(number))
		list = binary.LittleEndian.AppendUint32(list, p.dir.Files[fd.GetId()].GetPidfd().GetFlags()&oNonblock)
	}
	p.shared.core(abi.OpGone, fmt.Sprintf("%d pidfds of a process that is gone", len(fds)), uint64(len(fds)), p.shared.arena.bytes(list))
}

// pidfd makes a description or takes it from the task that has made it.
func (f *filePlanner) pidfd(fd *fdinfo.FdinfoEntry, file *fdinfo.FileEntry) {
	e := file.GetPidfd()
	maker, target := f.pidfdMakers[fd.GetId()], f.findTask(e.GetNspid())
	switch {
	case target == nil || maker == nil:
		f.refuse(f.fdWhere(fd), "", "pidfd of process %d, which was not dumped: not supported", e.GetNspid())
	case maker != f.img:
		f.takePidfd(fd, maker)
	default:
		if f.awaited[target.Pid] {
			f.follow(fmt.Sprintf("process %d exists", target.Pid), target, markBorn)
		}
		f.create(fd, fmt.Sprintf("pidfd of %d", target.Pid), sysPidfdOpen, uint64(target.Pid), uint64(e.GetFlags()&oNonblock))
		f.owner(fd, e.GetFown())
	}
}

func (f *filePlanner) takePidfd(fd *fdinfo.FdinfoEntry, maker *images.Task) {
	var number uint32
	for _, theirs := range maker.Fds {
		if theirs.GetId() == fd.GetId() {
			number = theirs.GetFd()
		}
	}
	what, scratch := fmt.Sprintf("pidfd that task %d has, too", maker.Pid), f.fds.scratch()
	f.follow(what, maker, markPidfds)
	f.prog.open(scratch, true, what, sysPidfdOpen, uint64(maker.Pid), 0)
	f.create(fd, what, sysPidfdGetfd, uint64(scratch), uint64(number), 0)
	f.prog.sys("", sysClose, uint64(scratch))
}

// sharesPidfds reports whether other tasks take pidfds from this one.
func (t *taskPlanner) sharesPidfds() bool {
	for _, other := range t.dir.Tasks {
		for _, fd := range other.Fds {
			if other != t.img && t.pidfdMakers[fd.GetId()] == t.img {
				return true
			}
		}
	}
	return false
}
