package restorer

import (
	"fmt"
	"slices"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"google.golang.org/protobuf/proto"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/abi"
)

// A tree is restored from the root down. What several tasks share, open file descriptions and shared memory, is made by
// the zygote, and all of them inherit it. A task fills its memory, clones its children, who go on from a copy of it and
// change only what was different, and then restores the rest of itself.

// checkSharedTables refuses tasks that share more than a parent and a child do, clone(2).
func (p *planner) checkSharedTables(t *images.Task) {
	if t.Parent == nil || t.Ids == nil {
		return
	}
	for _, other := range p.dir.Tasks {
		if other == t {
			break
		}
		if other.Ids == nil {
			continue
		}
		for _, table := range []struct {
			name       string
			one, other uint32
		}{
			{"file descriptor table (CLONE_FILES)", t.Ids.GetFilesId(), other.Ids.GetFilesId()},
			{"file system attributes (CLONE_FS)", t.Ids.GetFsId(), other.Ids.GetFsId()},
			{"memory (CLONE_VM)", t.Ids.GetVmId(), other.Ids.GetVmId()},
			{"signal handlers (CLONE_SIGHAND)", t.Ids.GetSighandId(), other.Ids.GetSighandId()},
		} {
			if table.one == table.other {
				p.refuse(fmt.Sprintf("task %d", t.Pid), "", "it shares its %s with task %d: not supported", table.name, other.Pid)
			}
		}
	}
}

// planShared plans what the zygote makes before it creates the root task.
func (p *planner) planShared() {
	p.fds = newNumbers(p.dir)
	p.shared = &program{arena: p.plan.arena}
	p.makeSegments()
	p.makeNameless()
	p.shareFiles()
	p.checkLocks()
}

// shareFiles makes the descriptions that several tasks have, all pipes that connect tasks, and what is in flight.
func (p *planner) shareFiles() {
	users, pipeUsers := map[uint32]int{}, map[uint32]map[uint32]bool{}
	var order []*fdinfo.FdinfoEntry
	use := func(pid uint32, fd *fdinfo.FdinfoEntry) {
		if users[fd.GetId()]++; users[fd.GetId()] == 1 {
			order = append(order, fd)
		}
		if pipe := p.dir.Files[fd.GetId()].GetPipe(); pipe != nil {
			if pipeUsers[pipe.GetPipeId()] == nil {
				pipeUsers[pipe.GetPipeId()] = map[uint32]bool{}
			}
			pipeUsers[pipe.GetPipeId()][pid] = true
		}
	}
	for _, t := range p.dir.Tasks {
		seen := map[uint32]bool{}
		for _, fd := range t.Fds {
			if !seen[fd.GetId()] {
				seen[fd.GetId()] = true
				use(t.Pid, fd)
			}
		}
	}
	const nobody = 0 // is no pid
	flying := p.inFlight()
	for _, id := range flying {
		use(nobody, &fdinfo.FdinfoEntry{Id: &id, Type: p.dir.Files[id].GetType().Enum()})
	}
	var made []*fdinfo.FdinfoEntry
	linked := p.linkedSockets()
	for _, fd := range order {
		tasks := pipeUsers[p.dir.Files[fd.GetId()].GetPipe().GetPipeId()]
		connects := fd.GetType() == fdinfo.FdTypes_PIPE && (len(tasks) > 1 || tasks[nobody])
		flies := slices.Contains(flying, fd.GetId())
		if fd.GetType() != fdinfo.FdTypes_TTY && (users[fd.GetId()] > 1 || connects || linked[fd.GetId()] || flies) {
			made = append(made, &fdinfo.FdinfoEntry{
				Id: fd.Id, Type: fd.Type, Fd: proto.Uint32(uint32(p.fds.scratch())), Flags: proto.Uint32(fdCloexec),
			})
		}
	}
	zygote := &taskPlanner{planner: p, img: &images.Task{Fds: made}, task: &Task{Pid: int(p.dir.Tasks[0].Pid)}, prog: p.shared}
	f := newFilePlanner(zygote)
	f.collectPipes()
	f.collectSockets()
	for _, fd := range f.order {
		f.description(fd)
	}
	f.finishPipes()
	f.finishSockets()
	for _, fd := range made {
		if arm := p.armShared[fd.GetId()]; arm != nil && p.opened()[fd.GetId()] == "" { // no task will
			arm(f, uint64(fd.GetFd()))
		}
	}
	for _, arm := range zygote.armLater {
		arm()
	}
	for _, fd := range made { // from here on tasks find them
		p.sharedFDs[fd.GetId()] = int(fd.GetFd())
	}
}

// children creates the tasks whose parent this is.
func (t *taskPlanner) children() {
	for _, child := range t.img.Children {
		for i, other := range t.dir.Tasks {
			if other == child {
				t.prog.core(abi.OpClone, fmt.Sprintf("child %d", child.Pid), uint64(i), 0)
			}
		}
	}
	t.awaitZombies()
	t.dropSegments()
}

// awaitZombies waits, without collecting them, until the dead children are dead again, and forgets the SIGCHLDs that this
// caused: those of the past are in the images.
func (t *taskPlanner) awaitZombies() {
	const pPid, wExited, wNowait, sigchld = 1, 4, 0x01000000, 17
	dead := false
	for _, child := range t.img.Children {
		if child.Dead() {
			dead = true
			t.prog.sys(fmt.Sprintf("child %d has ended", child.Pid), sysWaitid, pPid, uint64(child.Pid), 0, wExited|wNowait, 0)
		}
	}
	if dead {
		set, now := t.prog.arena.words(1<<(sigchld-1)), t.prog.arena.words(0, 0)
		t.prog.try("forget its SIGCHLD", sysRtSigtimedwait, set, 0, now, 8)
	}
}

// planZombie plans a task that had ended and waited for its parent: it is created and ends the same way.
func (p *planner) planZombie(img *images.Task) {
	t := &taskPlanner{
		planner: p, img: img, prog: &program{arena: p.plan.arena},
		task: &Task{Pid: int(img.Pid), Comm: img.Core.GetTc().GetComm(), Dead: true},
	}
	p.plan.Tasks = append(p.plan.Tasks, t.task)
	t.checkIDs()
	t.begin()
	t.session()
	if t.lateGroup() {
		t.refuse(t.where(), "", "dead task in process group %d, whose leader is no ancestor: not supported", img.Pgid)
	}
	t.prog.sys("name", sysPrctl, prSetName, t.prog.arena.string(t.task.Comm))
	code := img.Core.GetTc().GetExitCode() // as wait(2) reports it
	if sig := uint64(code & 0x7f); sig != 0 {
		t.prog.sys("no core dump", sysPrlimit64, 0, 4 /* RLIMIT_CORE */, t.prog.arena.words(0, 0), 0)
		if sig != sigKill && sig != sigStop {
			t.prog.sys("default action", sysRtSigaction, sig, t.prog.arena.words(0, 0, 0, 0), 0, 8)
		}
		t.prog.sys("unblock signals", sysRtSigprocmask, sigSetmask, t.prog.arena.words(0), 0, 8)
		t.prog.sys("killed by a signal", sysKill, uint64(img.Pid), sig)
	} else {
		t.prog.core(abi.OpExit, "ended", uint64(code>>8&0xff))
	}
	t.task.Threads = []*Thread{{Tid: t.task.Pid, Ops: t.prog.ops}}
}

// group puts the task into a process group whose leader exists by now: itself or an ancestor. The others wait until every
// task exists (lateGroup), setpgid(2).
func (t *taskPlanner) group() {
	switch pgid := t.img.Pgid; {
	case pgid == t.img.Sid && t.img.Sid == t.img.Pid: // setsid has done it
	case pgid == t.img.Pid:
		t.prog.sys("process group leader", sysSetpgid, 0, 0)
	case t.inherits(func(a *images.Task) bool { return a.Pid == pgid }):
		t.prog.sys("process group", sysSetpgid, 0, uint64(pgid))
	case t.lateGroup(), t.foreignGroup():
	default:
		t.refuse(t.where(), "", "it is in process group %d, whose leader was not dumped: not supported", pgid)
	}
}

// foreignGroup: with --shell-job, what was in the shell's group is in crpie's.
func (t *taskPlanner) foreignGroup() bool {
	return t.opts.ShellJob && t.img.Sid == t.dir.Tasks[0].Sid && t.img.Pgid == t.dir.Tasks[0].Pgid
}

// lateGroup: the leader of its group is a task that may not exist yet when this one begins.
func (t *taskPlanner) lateGroup() bool {
	pgid := t.img.Pgid
	if pgid == t.img.Pid || t.inherits(func(a *images.Task) bool { return a.Pid == pgid }) {
		return false
	}
	for _, other := range t.dir.Tasks {
		if other.Pid == pgid && other.Pgid == pgid {
			return true
		}
	}
	return false
}

// inherits reports whether an ancestor of the task is the one looked for.
func (t *taskPlanner) inherits(is func(*images.Task) bool) bool {
	for a := t.img.Parent; a != nil; a = a.Parent {
		if is(a) {
			return true
		}
	}
	return false
}
