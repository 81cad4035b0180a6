package planner

import (
	"fmt"
	"os"

	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
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

// checkSharedTables refuses tasks that share more than a descriptor table with the parent, each with the first task
// that has the same: a damaged image may give all tasks one.
func (p *planner) checkSharedTables(t *images.Task) {
	if t.Ids == nil {
		return
	}
	where := fmt.Sprintf("task %d", t.Pid)
	first := func(same func(other *images.Task) bool) *images.Task {
		i := slices.IndexFunc(p.Dir.Tasks,
			func(other *images.Task) bool { return other == t || other.Ids != nil && same(other) })
		if other := p.Dir.Tasks[i]; other != t {
			return other
		}
		return nil
	}
	for _, table := range sharedTables {
		if other := first(func(o *images.Task) bool {
			return table.id(o.Ids) == table.id(t.Ids)
		}); other != nil {
			p.Refuse(where, "", "it shares its %s with task %d: not supported", table.name, other.Pid)
		}
	}
	if other := first(func(o *images.Task) bool { return job.SharesFiles(t, o) }); other != nil &&
		!job.SharesFiles(t, t.Parent) {
		p.Refuse(where, "",
			"it shares its file descriptor table (CLONE_FILES) with task %d, but not with its parent: not supported",
			other.Pid)
	}
}

// planShared plans what the zygote makes before it creates the root task.
func (p *planner) planShared() {
	p.Fds = job.NewNumbers(p.Dir)
	p.Shared = &plan.Program{Arena: p.Plan.Arena}
	p.joinNamespaces()
	p.files.PlanInheritFDs()
	p.mem.MakeShmem()
	p.files.MakeNameless()
	p.files.OpenEnded()
	p.files.PlanLate()
	p.shareFiles()
	p.ttys.MakeTerminals()
	p.files.CheckLocks()
}

// joinNamespaces has the zygote, and so the tasks, enter the namespaces that the controller has made. The settings of
// IPC are written by way of the restorer's /proc, which a container may have for reading only.
func (p *planner) joinNamespaces() {
	if p.Own.PID {
		p.Plan.ControllerFD = p.Fds.Scratch()
	}
	if p.Own.Net != nil {
		for _, line := range p.Own.Net.Describe() {
			p.Plan.Network = append(p.Plan.Network, escape.Name(line))
		}
	}
	for _, ns := range p.Own.Entered() {
		fd, s := p.Fds.Scratch(), p.Shared
		p.Plan.Files = append(p.Plan.Files, plan.ExtraFile{Number: fd, Name: ns.Name,
			Open: func() (*os.File, error) { return p.Own.Open(ns) }})
		s.Sys(ns.Name, uapi.SysSetns, uint64(fd), ns.Flag)
		s.Sys("", uapi.SysClose, uint64(fd))
		switch {
		case ns.Flag == uapi.CloneNewipc && p.Own.IPC:
			p.mem.IpcNamespace()
		case ns.Flag == uapi.CloneNewipc:
			p.mem.LeaveObjects()
		}
	}
	if p.cgroupsAreMounted() { // by way of the restorer's mounts, and before those of the tasks are made
		p.enterCgroupNamespace(p.Shared, nil)
	}
	p.enterMounts()
	if p.gated() {
		p.gate = len(p.Shared.Ops)
		p.Shared.Core("others act in the namespaces", abi.WaitTraced{})
	}
}

// shareFiles makes the descriptions that several tasks have, all pipes that connect tasks, and those in flight.
func (p *planner) shareFiles() {
	made := p.filesOfZygote()
	zygote := p.ZygoteTask(made)
	p.files.Task(zygote).Descriptions()
	for _, fd := range made {
		if p.Opened()[fd.GetId()] == "" { // no task will
			zygote.Adopt(fd.GetId(), uint64(fd.GetFd()))
		}
	}
	zygote.Enter(job.PhaseTimers)
	for _, fd := range made { // from here on tasks find them
		p.SharedFDs[fd.GetId()] = int(fd.GetFd())
	}
}

// filesOfZygote gives each description that the zygote has to make a descriptor of its own.
func (p *planner) filesOfZygote() (made []*pb.FdinfoEntry) {
	users, linked, crowded := p.fileUsers(), p.socks.Linked(), p.socks.CrowdedPorts()
	for _, fd := range users.order {
		id := fd.GetId()
		_, passed := p.SharedFDs[id]
		late := fd.GetType() == pb.FdTypes_TTY || p.files.LateMakers[id] != nil || passed
		if !late && (users.tasks[id] > 1 || users.flying[id] || linked[id] || crowded[id] ||
			users.connects(p.Dir.Files[id].GetPipe())) {
			made = append(made, &pb.FdinfoEntry{
				Id: fd.Id, Type: fd.Type, Fd: pb.Uint32(uint32(p.Fds.Scratch())),
				Flags: pb.Uint32(uapi.FdCloexec),
			})
		}
	}
	return made
}

// fileUsers lists the tasks that have each open file description.
type fileUsers struct {
	order  []*pb.FdinfoEntry          // the first descriptor of each description
	tasks  map[uint32]int             // how many have it, by its id; being in flight counts for one
	flying map[uint32]bool            // it is in flight
	pipes  map[uint32]map[uint32]bool // the tasks at either end, by the pipe's id
}

const nobody = 0

// has what is in flight: no pid

// fileUsers counts the tasks that have a file open; a file that is on its way in a message of a unix socket is used by
// nobody, but has to be there.
func (p *planner) fileUsers() *fileUsers {
	u := &fileUsers{tasks: map[uint32]int{}, flying: map[uint32]bool{}, pipes: map[uint32]map[uint32]bool{}}
	for _, t := range p.Dir.Tasks {
		seen := map[uint32]bool{}
		for _, fd := range t.Fds {
			if !seen[fd.GetId()] {
				seen[fd.GetId()] = true
				u.add(t.Pid, fd, p.Dir.Files[fd.GetId()])
			}
		}
	}
	for _, id := range p.socks.InFlight() {
		u.flying[id] = true
		u.add(nobody, &pb.FdinfoEntry{Id: &id, Type: p.Dir.Files[id].GetType().Enum()}, p.Dir.Files[id])
	}
	return u
}

// add counts a user; for pipes also who has either end.
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
	made := t.helpersFor(func(h *job.Helper) bool { return !h.Group })
	for _, h := range made {
		if h.Zombie == nil {
			t.startHelper(h, func() {})
		}
	}
	for _, h := range made {
		if h.Zombie != nil {
			t.awaitZombie(h.Zombie)
		}
	}
	if len(made) > 0 {
		t.Mark("its helpers have ended", abi.MarkHelpers)
	}
	t.awaitZombies()
	t.mem.UnmapShmem(t.Prog)
}

// cloneChildren clones the children that are born now: early ones must not be in the session that the task is going to
// lead. Those with a helper are cloned by it.
func (t *taskPlanner) cloneChildren(early bool) {
	for _, child := range t.Img.Children {
		if b := t.Births[child.Pid]; b.Helper != nil || b.Early != early {
			continue
		}
		flags := uint64(0)
		if job.SharesFiles(child, t.Img) {
			flags = uapi.CloneFiles
		}
		t.Prog.Core(fmt.Sprintf("child %d", child.Pid), abi.CloneTask{Task: t.indexOf(child), Flags: flags})
	}
}

// awaitZombies waits, without collecting them, until the dead children are dead again.
func (t *taskPlanner) awaitZombies() {
	dead := false
	for _, child := range t.Img.Children {
		if child.Dead() {
			dead = true
			if h := t.Births[child.Pid].Helper; h != nil && h.Creator != t.Img {
				t.Follow("it has adopted the child", h.Creator, abi.MarkHelpers)
			}
			t.awaitZombie(child)
		}
	}
	if dead {
		t.forgetChildren()
	}
}

func (t *taskPlanner) awaitZombie(child *images.Task) {
	t.Prog.Sys(fmt.Sprintf("child %d has ended", child.Pid), uapi.SysWaitid, uapi.PPid, uint64(child.Pid), 0,
		uapi.WExited|uapi.WNowait, 0)
}

// planZombie plans a task that had ended and waited for its parent: it is created and ends the same way.
func (p *planner) planZombie(img *images.Task) {
	t := &taskPlanner{
		planner: p, Process: p.NewTask(img, &plan.Task{Pid: int(img.Pid), Comm: img.Core.GetTc().GetComm(),
			Dead: true}),
	}
	p.Plan.Tasks = append(p.Plan.Tasks, t.Task)
	t.checkIDs()
	t.begin()
	t.session()
	if p.joinsLate(img) {
		t.Follow("its process group exists", p.groupMaker(img.Pgid), abi.MarkGroup)
		t.Prog.Sys("process group", uapi.SysSetpgid, 0, uint64(img.Pgid))
	}
	for _, h := range p.helpers {
		if h.Zombie == img {
			t.orphans(h)
		}
	}
	t.Prog.Sys("name", uapi.SysPrctl, uapi.PrSetName, t.Prog.Arena.String(t.Task.Comm))
	code := img.Core.GetTc().GetExitCode() // as wait(2) reports it
	if sig := uint64(code & 0x7f); sig != 0 {
		t.Prog.Sys("no core dump", uapi.SysPrlimit64, 0, uapi.RlimitCore, t.Prog.Arena.Words(0, 0), 0)
		if sig != uapi.SigKill && sig != uapi.SigStop {
			t.Prog.Sys("default action", uapi.SysRtSigaction, sig, t.Prog.Arena.Words(0, 0, 0, 0), 0, 8)
		}
		t.Prog.Sys("unblock signals", uapi.SysRtSigprocmask, uapi.SigSetmask, t.Prog.Arena.Words(0), 0, 8)
		t.Prog.Sys("killed by a signal", uapi.SysKill, uint64(img.Pid), sig)
	} else {
		t.Prog.Core("ended", abi.ExitGroup{Status: uint64(code >> 8 & 0xff)})
	}
	t.Task.Threads = []*plan.Thread{{Tid: t.Task.Pid, Ops: t.Prog.Ops}}
}

// group puts the task into a process group that exists by now: one of its own, an ancestor's, or one whose leader is
// gone and has to be helped. The others wait until every task exists (joinsLate), setpgid(2).
func (t *taskPlanner) group() {
	switch pgid := t.Img.Pgid; {
	case pgid == t.Img.Sid && t.Img.Sid == t.Img.Pid: // setsid has done it
	case pgid == t.Img.Pid:
		t.Prog.Sys("process group leader", uapi.SysSetpgid, 0, 0)
		t.ttys.Foreground(t.Process, pgid)
	case t.helpedGroup():
		return
	case t.joinsSessionLeader():
		t.Prog.Sys("process group of the session's leader", uapi.SysSetpgid, 0, uint64(pgid))
		t.Mark("its process group exists", abi.MarkGroup)
		return
	case inherits(t.Img):
		t.Prog.Sys("process group", uapi.SysSetpgid, 0, uint64(pgid))
	}
	if t.groupMarks[t.Img.Pid] {
		t.Mark("its process group exists", abi.MarkGroup)
	}
}

// helpedGroup makes the group whose leader is gone, if that is for this task to do.
func (t *taskPlanner) helpedGroup() bool {
	helpers := t.helpersFor(func(h *job.Helper) bool { return h.Group })
	for _, h := range helpers {
		t.startHelper(h, func() {
			t.Prog.Sys("group of which nobody is the leader", uapi.SysSetpgid, uint64(h.Pid), uint64(h.Pid))
			t.Prog.Sys("process group", uapi.SysSetpgid, 0, uint64(h.Pid))
			t.ttys.Foreground(t.Process, h.Pid)
			t.Mark("its process group exists", abi.MarkGroup)
		})
	}
	return len(helpers) > 0
}

// joinsSessionLeader: the helper that leads the session waits for this task.
func (t *taskPlanner) joinsSessionLeader() bool {
	h := t.sessionLeader(t.Img.Pgid)
	return h != nil && h.Member == t.Img
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
