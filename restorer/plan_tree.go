package restorer

import (
	"fmt"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
)

// A tree is restored from the root down. What several tasks share, open file descriptions and shared memory, is made by
// the zygote, and all of them inherit it. A task fills its memory, clones its children, who go on from a copy of it and
// change only what was different, and then restores the rest of itself.

// sharedTables are what tasks may share that CRIU does not dump, clone(2).
var sharedTables = []struct {
	name string
	id   func(*pb.TaskKobjIdsEntry) uint32
}{
	{"file system attributes (CLONE_FS)", (*pb.TaskKobjIdsEntry).GetFsId},
	{"memory (CLONE_VM)", (*pb.TaskKobjIdsEntry).GetVmId},
	{"signal handlers (CLONE_SIGHAND)", (*pb.TaskKobjIdsEntry).GetSighandId},
}

// checkSharedTables refuses tasks that share more than a descriptor table with the parent, each with the first task that
// has the same: a damaged image may give all tasks one.
func (p *planner) checkSharedTables(t *images.Task) {
	if t.Ids == nil {
		return
	}
	where := fmt.Sprintf("task %d", t.Pid)
	first := func(same func(other *images.Task) bool) *images.Task {
		i := slices.IndexFunc(p.dir.Tasks, func(other *images.Task) bool { return other == t || other.Ids != nil && same(other) })
		if other := p.dir.Tasks[i]; other != t {
			return other
		}
		return nil
	}
	for _, table := range sharedTables {
		if other := first(func(o *images.Task) bool { return table.id(o.Ids) == table.id(t.Ids) }); other != nil {
			p.refuse(where, "", "it shares its %s with task %d: not supported", table.name, other.Pid)
		}
	}
	if other := first(func(o *images.Task) bool { return sharesFiles(t, o) }); other != nil && !sharesFiles(t, t.Parent) {
		p.refuse(where, "", "it shares its file descriptor table (CLONE_FILES) with task %d, but not with its parent: not supported", other.Pid)
	}
}

// planShared plans what the zygote makes before it creates the root task.
func (p *planner) planShared() {
	p.fds = newNumbers(p.dir)
	p.shared = &program{arena: p.plan.arena}
	p.mem.ipcNamespace()
	p.files.planInheritFDs()
	p.mem.makeSegments()
	p.files.makeNameless()
	p.files.openEnded()
	p.files.planLate()
	p.shareFiles()
	p.ttys.makeTerminals()
	p.files.checkLocks()
}

// shareFiles makes the descriptions that several tasks have, all pipes that connect tasks, and what is in flight.
func (p *planner) shareFiles() {
	made := p.filesOfZygote()
	zygote := p.zygoteTask(made)
	p.files.task(zygote).descriptions()
	for _, fd := range made {
		if p.opened()[fd.GetId()] == "" { // no task will
			zygote.adopt(fd.GetId(), uint64(fd.GetFd()))
		}
	}
	zygote.enter(phaseTimers)
	for _, fd := range made { // from here on tasks find them
		p.sharedFDs[fd.GetId()] = int(fd.GetFd())
	}
}

// filesOfZygote gives each description that the zygote has to make a descriptor of its own.
func (p *planner) filesOfZygote() (made []*pb.FdinfoEntry) {
	users, linked, crowded := p.fileUsers(), p.socks.linked(), p.socks.crowdedPorts()
	for _, fd := range users.order {
		id := fd.GetId()
		_, passed := p.sharedFDs[id]
		late := fd.GetType() == pb.FdTypes_TTY || p.files.lateMakers[id] != nil || passed
		if !late && (users.tasks[id] > 1 || users.flying[id] || linked[id] || crowded[id] || users.connects(p.dir.Files[id].GetPipe())) {
			made = append(made, &pb.FdinfoEntry{
				Id: fd.Id, Type: fd.Type, Fd: pb.Uint32(uint32(p.fds.scratch())), Flags: pb.Uint32(fdCloexec),
			})
		}
	}
	return made
}

// fileUsers tells who has which open file description.
type fileUsers struct {
	order  []*pb.FdinfoEntry          // the first descriptor of each description
	tasks  map[uint32]int             // how many have it, by its id; being in flight counts for one
	flying map[uint32]bool            // it is in flight
	pipes  map[uint32]map[uint32]bool // the tasks at either end, by the pipe's id
}

const nobody = 0 // has what is in flight: no pid

func (p *planner) fileUsers() *fileUsers {
	u := &fileUsers{tasks: map[uint32]int{}, flying: map[uint32]bool{}, pipes: map[uint32]map[uint32]bool{}}
	for _, t := range p.dir.Tasks {
		seen := map[uint32]bool{}
		for _, fd := range t.Fds {
			if !seen[fd.GetId()] {
				seen[fd.GetId()] = true
				u.add(t.Pid, fd, p.dir.Files[fd.GetId()])
			}
		}
	}
	for _, id := range p.socks.inFlight() {
		u.flying[id] = true
		u.add(nobody, &pb.FdinfoEntry{Id: &id, Type: p.dir.Files[id].GetType().Enum()}, p.dir.Files[id])
	}
	return u
}

func (u *fileUsers) add(pid uint32, fd *pb.FdinfoEntry, file *pb.FileEntry) {
	if u.tasks[fd.GetId()]++; u.tasks[fd.GetId()] == 1 {
		u.order = append(u.order, fd)
	}
	if e := file.GetPipe(); e != nil {
		if u.pipes[e.GetPipeId()] == nil {
			u.pipes[e.GetPipeId()] = map[uint32]bool{}
		}
		u.pipes[e.GetPipeId()][pid] = true
	}
}

// connects reports whether a pipe, if it is one, ends in several tasks or in flight.
func (u *fileUsers) connects(e *pb.PipeEntry) bool {
	return e != nil && (len(u.pipes[e.GetPipeId()]) > 1 || u.pipes[e.GetPipeId()][nobody])
}

// children creates the tasks whose parent this is, and what helps in that, and sees the dead ones dead again.
func (t *taskPlanner) children() {
	t.cloneChildren(false)
	made := t.helpersFor(func(h *helper) bool { return !h.group })
	for _, h := range made {
		if h.zombie == nil {
			t.startHelper(h, func() {})
		}
	}
	for _, h := range made {
		if h.zombie != nil {
			t.awaitZombie(h.zombie)
		}
	}
	if len(made) > 0 {
		t.mark("its helpers have ended", markHelpers)
	}
	t.awaitZombies()
	t.mem.dropSegments(t.prog)
}

func (t *taskPlanner) cloneChildren(early bool) {
	for _, child := range t.img.Children {
		if b := t.births[child.Pid]; b.helper != nil || b.early != early {
			continue
		}
		flags := uint64(0)
		if sharesFiles(child, t.img) {
			flags = cloneFiles
		}
		t.prog.core(abi.OpClone, fmt.Sprintf("child %d", child.Pid), t.indexOf(child), flags)
	}
}

// awaitZombies waits, without collecting them, until the dead children are dead again.
func (t *taskPlanner) awaitZombies() {
	dead := false
	for _, child := range t.img.Children {
		if child.Dead() {
			dead = true
			if h := t.births[child.Pid].helper; h != nil && h.creator != t.img {
				t.follow("it has adopted the child", h.creator, markHelpers)
			}
			t.awaitZombie(child)
		}
	}
	if dead {
		t.forgetChildren()
	}
}

func (t *taskPlanner) awaitZombie(child *images.Task) {
	t.prog.sys(fmt.Sprintf("child %d has ended", child.Pid), sysWaitid, pPid, uint64(child.Pid), 0, wExited|wNowait, 0)
}

// planZombie plans a task that had ended and waited for its parent: it is created and ends the same way.
func (p *planner) planZombie(img *images.Task) {
	t := &taskPlanner{
		planner: p, jobTask: p.newTask(img, &Task{Pid: int(img.Pid), Comm: img.Core.GetTc().GetComm(), Dead: true}),
	}
	p.plan.Tasks = append(p.plan.Tasks, t.task)
	t.checkIDs()
	t.begin()
	t.session()
	if p.joinsLate(img) {
		t.follow("its process group exists", p.groupMaker(img.Pgid), markGroup)
		t.prog.sys("process group", sysSetpgid, 0, uint64(img.Pgid))
	}
	for _, h := range p.helpers {
		if h.zombie == img {
			t.orphans(h)
		}
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

// group puts the task into a process group that exists by now: one of its own, an ancestor's, or one whose leader is gone and
// has to be helped. The others wait until every task exists (joinsLate), setpgid(2).
func (t *taskPlanner) group() {
	switch pgid := t.img.Pgid; {
	case pgid == t.img.Sid && t.img.Sid == t.img.Pid: // setsid has done it
	case pgid == t.img.Pid:
		t.prog.sys("process group leader", sysSetpgid, 0, 0)
		t.ttys.foreground(t.jobTask, pgid)
	case t.helpedGroup():
		return
	case inherits(t.img):
		t.prog.sys("process group", sysSetpgid, 0, uint64(pgid))
	}
	if t.groupMarks[t.img.Pid] {
		t.mark("its process group exists", markGroup)
	}
}

// helpedGroup makes the group whose leader is gone, if that is for this task to do.
func (t *taskPlanner) helpedGroup() bool {
	helpers := t.helpersFor(func(h *helper) bool { return h.group })
	for _, h := range helpers {
		t.startHelper(h, func() {
			t.prog.sys("group of which nobody is the leader", sysSetpgid, uint64(h.pid), uint64(h.pid))
			t.prog.sys("process group", sysSetpgid, 0, uint64(h.pid))
			t.ttys.foreground(t.jobTask, h.pid)
			t.mark("its process group exists", markGroup)
		})
	}
	return len(helpers) > 0
}

// joinsLate: the group may not exist yet when the task begins.
func (p *planner) joinsLate(t *images.Task) bool {
	maker := p.groupMaker(t.Pgid)
	return maker != nil && maker != t && !inherits(t)
}

// inherits reports whether an ancestor leads the process group of the task.
func inherits(t *images.Task) bool {
	for a := t.Parent; a != nil; a = a.Parent {
		if a.Pid == t.Pgid && a.Pgid == t.Pgid {
			return true
		}
	}
	return false
}
