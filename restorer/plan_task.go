package restorer

import (
	"fmt"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/abi"
)

// taskPlanner plans one process.
type taskPlanner struct {
	*planner
	*jobTask
	gated bool // the program has waited for the tracer: hooks may run
}

// gateCreds is opened when every thread is traced: seccomp filters may be installed, and every process group exists.
const gateCreds = 1

// Barriers of a task, at which its other threads arrive and the leader waits; at barrierIDs all wait for all.
const (
	barrierOwn   = iota // threads that have set themselves up
	barrierHooks        // threads that have run their last hooks
	barrierIDs          // threads that have changed their ids
)

func (p *planner) planTask(img *images.Task) {
	if img.Dead() {
		p.planZombie(img)
		return
	}
	t := &taskPlanner{planner: p, jobTask: p.newTask(img, &Task{Pid: int(img.Pid), Comm: img.Core.GetTc().GetComm()})}
	p.plan.Tasks = append(p.plan.Tasks, t.task)
	for _, runsIn := range p.runsIn {
		t.task.Plugins = append(t.task.Plugins, runsIn[img.Pid])
	}
	t.checkIDs()
	t.warnOfParentsDeath()
	t.task.Stop = t.stopSignal()

	t.begin()
	if p.plan.Namespaces && img.Parent == nil { // somebody may act in them first
		t.awaitTracer()
	}
	early := slices.ContainsFunc(img.Children, func(child *images.Task) bool { return p.births[child.Pid].early })
	if !early {
		t.session()
	}
	t.hook(t.prog, abi.TaskCreated)
	t.mem.space(t.jobTask)
	if early { // children who must not be in the session that it leads
		t.cloneChildren(true)
		t.session()
	}
	t.adoption()
	t.children()
	t.hook(t.prog, abi.PostMemory)
	t.descriptors()
	t.hook(t.prog, abi.PostFiles)
	threads := t.threads()
	t.hook(t.prog, abi.PostThreads)
	t.signals()
	t.leave()
	t.limits()
	t.hook(t.prog, abi.PreCreds)
	t.credentials(threads)
	t.lastHook(len(threads))
	t.timersStart()
	t.prog.core(abi.OpPark, "")
	threads[0].thread.Ops = t.prog.ops
}

// checkIDs refuses numbers that somebody else has: clone3(2) could not give them out.
func (t *taskPlanner) checkIDs() {
	for _, th := range t.img.Threads {
		if who := t.host.Holder(int(th.Tid)); who != "" {
			t.refuse(fmt.Sprintf("task %d thread %d", t.task.Pid, th.Tid), "end that process, or restore elsewhere",
				"its id is taken by %s", who)
		}
	}
}

// hook adds the hooks of a stage, if there are any. The first one waits until a crash would be noticed.
func (t *taskPlanner) hook(p *program, stage abi.Hook) {
	if !t.anyRuns(stage) {
		return
	}
	if !t.gated {
		t.awaitTracer()
	}
	p.core(abi.OpHook, "", uint64(stage))
}

// awaitTracer makes the leader wait until the controller traces it.
func (t *taskPlanner) awaitTracer() {
	t.prog.core(abi.OpTraced, "")
	t.gated = true
}

// anyRuns reports whether a plugin has something to run in this task at a stage.
func (t *taskPlanner) anyRuns(stage abi.Hook) bool {
	for i, h := range t.hooked {
		if t.runsIn[i][t.img.Pid] && slices.Contains(h.Stages, stage) {
			return true
		}
	}
	return false
}

// begin: should the parent (of the root: the controller) die before the task is traced, the task dies too.
func (t *taskPlanner) begin() {
	switch {
	case t.births[t.img.Pid].helper != nil: // whose end must not be theirs: adoption
	case t.img.Parent == nil:
		t.prog.sys("die with the parent", sysPrctl, prSetPdeathsig, sigKill)
	default:
		t.prog.core(abi.OpParent, "", uint64(t.img.Parent.Pid))
	}
	if t.adopters[t.img.Pid] {
		t.prog.sys("child subreaper", sysPrctl, prSetChildSubreaper, 1)
	}
	t.prog.core(abi.OpReport, "created", 0)
	if t.files.awaited[t.img.Pid] {
		t.mark("it exists", markBorn)
	}
	if !t.img.Dead() {
		t.joinCgroups()
	}
}

// session puts the task into the session and process group it had. A child is in its parent's session, unless it leads
// one; with --shell-job the root and who shares its session stay in ours, setsid(2).
func (t *taskPlanner) session() {
	pid, sid := t.img.Pid, t.img.Sid
	switch {
	case sid == pid:
		t.prog.want(int64(pid), "session leader", sysSetsid)
		t.ttys.controllingTerminal(t.jobTask)
		if t.img.Pgid != pid {
			t.refuse(t.where(), "", "session leader in process group %d: impossible", t.img.Pgid)
		}
	case t.img.Parent != nil: // it is in the session of who clones it: planBirths
	case !t.opts.ShellJob:
		t.refuse(t.where(), "use --shell-job to restore it into the session of crpie",
			"it is in session %d, whose leader was not dumped", sid)
	}
	t.group()
}

// threads creates the threads and plans what each of them does for itself.
func (t *taskPlanner) threads() []*threadPlanner {
	var all []*threadPlanner
	for i, img := range t.img.Threads {
		th := &threadPlanner{
			taskPlanner: t, core: img.Core, thread: &Thread{Tid: int(img.Tid)},
			prog: &program{arena: t.prog.arena},
		}
		if i == 0 {
			th.prog = t.prog
		}
		t.task.Threads = append(t.task.Threads, th.thread)
		all = append(all, th)
		th.state()
	}
	for i, th := range all[1:] {
		stack, size := t.plan.Region.stack(i + 1)
		t.prog.sys("stack of a thread", sysMprotect, stack, size, protRead|protWrite)
		t.prog.core(abi.OpThread, fmt.Sprintf("thread %d", th.thread.Tid), uint64(i+1))
	}
	for i, th := range all {
		th.own()
		if i > 0 {
			th.prog.core(abi.OpArrive, "set up", barrierOwn)
		}
	}
	if len(all) > 1 {
		t.prog.core(abi.OpAwait, "all threads are set up", barrierOwn, uint64(len(all)-1))
	}
	return all
}

// credentials lets all threads change to the application's privileges once they are traced.
func (t *taskPlanner) credentials(threads []*threadPlanner) {
	t.closed()
	t.prog.core(abi.OpReport, "threads exist", 1)
	for i, th := range threads {
		th.prog.core(abi.OpGate, "every task and thread exists", gateCreds)
		if i == 0 && t.joinsLate(t.img) {
			th.prog.sys("process group", sysSetpgid, 0, uint64(t.img.Pgid))
		}
		if i == 0 {
			t.files.task(t.jobTask).owners()
		}
		th.identity()
		if i > 0 {
			th.prog.core(abi.OpArrive, "hooks of the thread have run", barrierHooks)
			th.prog.core(abi.OpPark, "")
			th.thread.Ops = th.prog.ops
		}
	}
}

// leave ends what tasks can do to each other: marks and statuses of this one are its own from here on. It comes before the
// limits for memory, which may leave no room for that.
func (t *taskPlanner) leave() { t.prog.core(abi.OpLeave, "") }

// closed keeps those who have the task's uid from looking into it, ptrace(2), until the controller has unmapped the region
// and sets the flag again.
func (t *taskPlanner) closed() {
	t.prog.sys("not dumpable while it is restored", sysPrctl, prSetDumpable, 0)
	t.task.Dumpable = -1
	if mm := t.img.Mm; mm != nil && mm.Dumpable != nil && mm.GetDumpable() <= 1 { // 2 cannot be set: suid_dumpable, prctl(2)
		t.task.Dumpable = int(mm.GetDumpable())
	}
}

// lastHook runs when every thread is done.
func (t *taskPlanner) lastHook(threads int) {
	if threads > 1 {
		t.prog.core(abi.OpAwait, "hooks of all threads", barrierHooks, uint64(threads-1))
	}
	t.hook(t.prog, abi.PreSigreturn)
}

// limits and other attributes of the process that need the restorer's privileges.
func (t *taskPlanner) limits() {
	p, tc := t.prog, t.img.Core.GetTc()
	if tc.GetChildSubreaper() {
		p.sys("child subreaper", sysPrctl, prSetChildSubreaper, 1)
	}
	if disabled := t.img.Mm.GetThpDisabled(); disabled {
		p.sys("no transparent huge pages", sysPrctl, prSetThpDisable, 1)
	} else if t.host.THPDisabled {
		p.sys("transparent huge pages", sysPrctl, prSetThpDisable, 0)
	}
	for bit := uint32(0); bit < 32; bit++ {
		if tc.GetMembarrierRegistrationMask()&(1<<bit) != 0 {
			p.sys("membarrier registration", sysMembarrier, 1<<bit)
		}
	}
	for resource, l := range tc.GetRlimits().GetRlimits() {
		t.limit(resource, l.GetCur(), l.GetMax())
	}
}

var rlimitNames = [...]string{"CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS",
	"LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"}

func (t *taskPlanner) limit(resource int, soft, hard uint64) {
	if resource >= len(rlimitNames) || resource >= len(t.host.Rlimits) {
		t.refuse(t.where(), "", "resource limit %d is unknown", resource)
		return
	}
	if ours := t.host.Rlimits[resource][1]; hard > ours && !t.host.has(capSysResource) {
		t.refuse(t.where(), "raise crpie's own hard limit first, or run it with CAP_SYS_RESOURCE",
			"RLIMIT_%s: hard limit %d is above crpie's own %d, and crpie lacks CAP_SYS_RESOURCE", rlimitNames[resource], hard, ours)
	}
	t.prog.sys("RLIMIT_"+rlimitNames[resource], sysPrlimit64, 0, uint64(resource), t.prog.arena.words(soft, hard), 0)
}
