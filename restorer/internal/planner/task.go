package planner

import (
	"fmt"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/file"
	"github.com/crpie/crpie/restorer/internal/planner/job"
	"github.com/crpie/crpie/stage"
)

// taskPlanner plans one process.
type taskPlanner struct {
	*planner
	*job.Process
	gated bool // the program has waited for the tracer: hooks may run
}

// planTask plans the program of a task's first thread, in the order in which a task is restored: docs/stages.md has the
// hooks' places in it.
func (p *planner) planTask(img *images.Task) {
	if img.Dead() {
		p.planZombie(img)
		return
	}
	t := &taskPlanner{planner: p, Process: p.NewTask(img, p.describe(img))}
	p.Plan.Tasks = append(p.Plan.Tasks, t.Task)
	for _, runsIn := range p.runsIn {
		t.Task.Plugins = append(t.Task.Plugins, runsIn[img.Pid])
	}
	t.addResident()
	t.checkIDs()
	t.warnOfParentsDeath()
	t.Task.Stop = t.stopSignal()

	t.begin()
	if p.Plan.Namespaces && img.Parent == nil && !p.gated() { // somebody may act in them first
		t.awaitTracer()
	}
	early := slices.ContainsFunc(img.Children, func(child *images.Task) bool { return p.Births[child.Pid].Early })
	if !early {
		t.session()
	}
	t.imports()
	t.hook(t.Prog, stage.TaskCreated)
	t.mem.Space(t.Process)
	if early { // children who must not be in the session that it leads
		t.cloneChildren(true)
		t.session()
	}
	t.children()
	t.adoption()
	t.hook(t.Prog, stage.PostMemory)
	t.descriptors()
	t.hook(t.Prog, stage.PostFiles)
	threads := t.threads()
	t.hook(t.Prog, stage.PostThreads)
	t.signals()
	t.lend()
	t.leave()
	t.limits()
	t.hook(t.Prog, stage.PreCreds)
	t.credentials(threads)
	t.lastHook(len(threads))
	t.timersStart()
	t.Prog.Core("", abi.Park{})
	threads[0].thread.Ops = t.Prog.Ops
}

// describe begins the plan of a task with what people read of it.
func (p *planner) describe(img *images.Task) *plan.Task {
	t := &plan.Task{Pid: int(img.Pid), Comm: img.Core.GetTc().GetComm(), Descriptors: len(img.Fds)}
	for _, fd := range img.Fds {
		switch fd.GetType() {
		case pb.FdTypes_INETSK, pb.FdTypes_UNIXSK, pb.FdTypes_PACKETSK, pb.FdTypes_NETLINKSK:
			t.Sockets++
		}
	}
	for _, at := range stage.All() {
		if names := p.running(img.Pid, at); names != nil {
			t.Hooks = append(t.Hooks, plan.StageHooks{Stage: at, Plugins: names})
		}
	}
	return t
}

// running lists the plugins that have something to run in a task at a stage.
func (p *planner) running(pid uint32, at stage.Stage) (names []string) {
	for i, h := range p.hooked {
		if p.runsIn[i][pid] && slices.Contains(h.Stages, at) {
			names = append(names, h.Name)
		}
	}
	return append(names, p.residentAt(pid, at)...)
}

// checkIDs refuses numbers that are taken: clone3(2) could not give them out.
func (t *taskPlanner) checkIDs() {
	for _, th := range t.Img.Threads {
		if who := t.Holder(th.Tid); who != "" && int(th.Tid) != t.Opts.Become {
			t.Refuse(fmt.Sprintf("task %d thread %d", t.Task.Pid, th.Tid),
				t.HintTaken(),
				"its id is taken by %s", who)
		}
	}
}

// hook adds the hooks of a stage, if there are any. The first one waits until a crash would be noticed.
func (t *taskPlanner) hook(p *plan.Program, at stage.Stage) {
	if t.running(t.Img.Pid, at) == nil {
		return
	}
	if !t.gated {
		t.awaitTracer()
	}
	p.Core("", abi.RunHooks{Stage: uint64(at)})
}

// awaitTracer makes the leader wait until the controller traces it.
func (t *taskPlanner) awaitTracer() {
	t.Prog.Core("", abi.WaitTraced{})
	t.gated = true
}

// begin: should the parent (of the root: the controller) die before the task is traced, the task dies too.
func (t *taskPlanner) begin() {
	switch {
	case t.Births[t.Img.Pid].Helper != nil: // whose end must not be theirs: adoption
	case t.Img.Parent == nil:
		t.Prog.Sys("die with the parent", uapi.SysPrctl, uapi.PrSetPdeathsig, uapi.SigKill)
	default:
		t.Prog.Core("", abi.SetPdeathsig{Parent: uint64(t.Img.Parent.Pid)})
	}
	if t.adopters[t.Img.Pid] && !t.isInit(t.Img) {
		t.Prog.Sys("child subreaper", uapi.SysPrctl, uapi.PrSetChildSubreaper, 1)
	}
	t.Prog.Core("created", abi.Notify{})
	if t.files.Awaited[t.Img.Pid] {
		t.Mark("it exists", abi.MarkBorn)
	}
	if !t.Img.Dead() {
		t.joinCgroups()
	}
}

// session puts the task into the session and process group it had. A child is in its parent's session, unless it leads
// one; with --shell-job the root and who shares its session stay in ours, setsid(2).
func (t *taskPlanner) session() {
	pid, sid := t.Img.Pid, t.Img.Sid
	switch {
	case sid == pid:
		if t.Img.Parent == nil && t.Opts.Become != 0 { // it may lead one already, and then cannot
			t.Prog.Try("session leader", uapi.SysSetsid)
			t.Prog.Want(int64(pid), "session leader", uapi.SysGetsid, 0)
		} else {
			t.Prog.Want(int64(pid), "session leader", uapi.SysSetsid)
		}
		t.ttys.ControllingTerminal(t.Process)
		if t.Img.Pgid != pid {
			t.Refuse(t.Where(), "", "session leader in process group %d: the images contradict themselves",
				t.Img.Pgid)
		}
	case t.Img.Parent != nil: // it is in the session of who clones it: planBirths
	case t.Opts.ShellJob && t.Own.First:
		t.Warn(t.Where(), "session and process group are crpie's: in the new pid namespace their number is 0")
	case !t.Opts.ShellJob:
		t.Refuse(t.Where(), "use --shell-job to restore it into the session of crpie",
			"it is in session %d, whose leader was not dumped", sid)
	}
	t.group()
}

// threads creates the threads and plans what each of them does for itself.
func (t *taskPlanner) threads() []*threadPlanner {
	var all []*threadPlanner
	for i, img := range t.Img.Threads {
		th := &threadPlanner{
			taskPlanner: t, core: img.Core, thread: &plan.Thread{Tid: int(img.Tid)},
			prog: &plan.Program{Arena: t.Prog.Arena},
		}
		if i == 0 {
			th.prog = t.Prog
		}
		t.Task.Threads = append(t.Task.Threads, th.thread)
		all = append(all, th)
		th.state()
	}
	for i, th := range all[1:] {
		stack, size := t.Plan.Region.Stack(i + 1)
		t.Prog.Sys("stack of a thread", uapi.SysMprotect, stack, size, uapi.ProtRead|uapi.ProtWrite)
		t.Prog.Core(fmt.Sprintf("thread %d", th.thread.Tid), abi.CloneThread{Thread: uint64(i + 1)})
	}
	for i, th := range all {
		th.own()
		if i > 0 {
			th.prog.Core("set up", abi.ArriveBarrier{Barrier: abi.BarrierSetup})
		}
	}
	if len(all) > 1 {
		t.Prog.Core("all threads are set up",
			abi.WaitBarrier{Barrier: abi.BarrierSetup, Threads: uint64(len(all) - 1)})
	}
	return all
}

// credentials lets all threads change to the application's privileges once they are traced.
func (t *taskPlanner) credentials(threads []*threadPlanner) {
	t.closed()
	t.Prog.Core("threads exist", abi.Notify{Ready: 1})
	for i, th := range threads {
		th.awaitAll()
		if i == 0 && t.joinsLate(t.Img) {
			th.prog.Sys("process group", uapi.SysSetpgid, 0, uint64(t.Img.Pgid))
		}
		if i == 0 {
			file.Owners(t.Process)
		}
		th.identity()
		if i > 0 {
			th.prog.Core("hooks of the thread have run", abi.ArriveBarrier{Barrier: abi.BarrierHooks})
			th.prog.Core("", abi.Park{})
			th.thread.Ops = th.prog.Ops
		}
	}
}

// awaitAll waits until every task and thread exists and is traced. A thread that is the only one has nobody else to
// wait for, and is traced since it was born: it goes on while the controller only wakes up.
func (th *threadPlanner) awaitAll() {
	switch {
	case len(th.Dir.Tasks) > 1 || len(th.Img.Threads) > 1 || len(th.helpers) > 0:
		th.prog.Core("every task and thread exists", abi.WaitGate{Gate: abi.GateCreds})
	case !th.gated:
		th.awaitTracer()
	}
}

// leave ends what tasks can do to each other: marks and statuses of this one are its own from here on. It comes before
// the limits for memory, which may leave no room for that.
func (t *taskPlanner) leave() { t.Prog.Core("", abi.UnshareStatus{}) }

// closed keeps those who have the task's uid from looking into it, ptrace(2), until the controller has unmapped the
// region and sets the flag again.
func (t *taskPlanner) closed() {
	t.Prog.Sys("not dumpable while it is restored", uapi.SysPrctl, uapi.PrSetDumpable, 0)
	t.Task.Dumpable = -1
	// 2 cannot be set: suid_dumpable, prctl(2)
	if mm := t.Img.Mm; mm != nil && mm.Dumpable != nil && mm.GetDumpable() <= 1 {
		t.Task.Dumpable = int(mm.GetDumpable())
	}
}

// lastHook runs when every thread is done.
func (t *taskPlanner) lastHook(threads int) {
	if threads > 1 {
		t.Prog.Core("hooks of all threads",
			abi.WaitBarrier{Barrier: abi.BarrierHooks, Threads: uint64(threads - 1)})
	}
	t.hook(t.Prog, stage.PreSigreturn)
}

// limits and other attributes of the process that need the restorer's privileges.
func (t *taskPlanner) limits() {
	p, tc := t.Prog, t.Img.Core.GetTc()
	if tc.GetChildSubreaper() {
		p.Sys("child subreaper", uapi.SysPrctl, uapi.PrSetChildSubreaper, 1)
	}
	if disabled := t.Img.Mm.GetThpDisabled(); disabled {
		p.Sys("no transparent huge pages", uapi.SysPrctl, uapi.PrSetThpDisable, 1)
	} else if t.Host.THPDisabled {
		p.Sys("transparent huge pages", uapi.SysPrctl, uapi.PrSetThpDisable, 0)
	}
	for bit := uint32(0); bit < 32; bit++ {
		if tc.GetMembarrierRegistrationMask()&(1<<bit) != 0 {
			p.Sys("membarrier registration", uapi.SysMembarrier, 1<<bit)
		}
	}
	for resource, l := range tc.GetRlimits().GetRlimits() {
		t.limit(resource, l.GetCur(), l.GetMax())
	}
}

// limit plans one resource limit. Raising a hard limit needs CAP_SYS_RESOURCE, getrlimit(2).
func (t *taskPlanner) limit(resource int, soft, hard uint64) {
	if resource >= len(uapi.RlimitNames) || resource >= len(t.Host.Rlimits) {
		t.Refuse(t.Where(), "", "resource limit %d is unknown", resource)
		return
	}
	if ours := t.Host.Rlimits[resource][1]; hard > ours && !t.Host.Has(uapi.CapSysResource) {
		t.Refuse(t.Where(), "raise crpie's own hard limit first, or run it with CAP_SYS_RESOURCE",
			"RLIMIT_%s: hard limit %d is above crpie's own %d, and crpie lacks CAP_SYS_RESOURCE",
			uapi.RlimitNames[resource], hard, ours)
	}
	t.Prog.Sys("RLIMIT_"+uapi.RlimitNames[resource], uapi.SysPrlimit64, 0, uint64(resource),
		t.Prog.Arena.Words(soft, hard), 0)
}
