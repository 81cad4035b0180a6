//go:build amd64

package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/pause"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/restorer/internal/cgroups"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// Runner carries out one plan. Its OS thread is locked: it is the tracer and the zygote's parent.
type Runner struct {
	Ctx  context.Context
	Plan *plan.Plan
	Opts *Options
	Stub []byte // code of the zygote's ELF file

	First []byte // code of the ELF file of a pid namespace's first process

	Network Network      // of the tasks; nil: this thread's
	Cgroups *cgroups.Set // what is made already, and what will be
	share   share
	passed  []*os.File
	calls   []stubCall

	pids        pids
	zygote      sys.PID      // 0: none or reaped, or the root task itself
	root        *sys.Sibling // if the zygote is the root task
	first       *sys.First   // of the pid namespace, if it is none of the tasks
	embodied    bool         // the Body executes the zygote
	traced      []tracee
	stopBy      time.Time          // when those that are asked to stop must have stopped
	restored    bool               // the tasks run
	waking      bool               // some connections may be awake
	tasks       map[int]sys.Pidfd  // that have connections, by the plan's pid
	asleep      []*plan.Connection // that no hook has done away with
	log         logReader          // of the shared memory
	lastErrors  map[int]saidError  // that plugins logged, by thread
	undoCgroups []func() error     // gives those that there were their properties back
	watch       watch
	watchers    map[*plan.Task]*watched // of the tasks whose hooks have been called
	keeps       uint64                  // bytes of files that those keep
	formatter   *uapi.CallFormatter     // of traced system calls
}

// Network is the network namespace that the tasks are restored into.
type Network interface {
	InNetwork(do func() error) error // on a thread that is in it
	OpenNetwork()                    // lets packets into it: the sockets are there
}

// Options say how a plan is carried out.
type Options struct {
	HookTimeout  time.Duration        // longest time that one call into a plugin may take; 0: no limit
	Timeout      time.Duration        // longest time without progress, hooks aside; 0: DefaultTimeout
	LeaveStopped bool                 // leave every task stopped (SIGSTOP)
	Log          func(report.Line)    // receives what plugins log; may be nil
	BeforeResume func(root int) error // called when everything is restored and nothing runs yet; may be nil

	// Act is called at each Action, with the pid of the root task, or 0 at PreRestore; may be nil. An error
	// undoes the restore, except at PostResume.
	Act func(a Action, root int) error

	Master func(master *os.File) error // gets the master of each terminal whose master no task has; may be nil

	// Body becomes the root task, if it is not nil. When the restore fails it exits with the status that Failed
	// gives, as soon as everything else is undone.
	Body   Body
	Failed func(err error) (status int)

	Trace func(step string) // called as the restore is prepared and proceeds; may be nil

	Pause   *pause.Options // has hooks wait for a debugger; nil: none does
	Plugins []blob.Input   // of the plan's image, with Pause

	Watch *Watch // what is noted of calls into plugins; nil: nothing
}

// Tell traces a step, if the options ask for it.
func (o *Options) Tell(step string) {
	if o.Trace != nil {
		o.Trace(step)
	}
}

// Run restores the plan's tasks and lets them go. On an error nothing of them is left.
func (r *Runner) Run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer r.close()
	lower, err := sys.RoomForFiles(r.Plan.Descriptors())
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer lower()
	if err := r.startFirst(); err != nil {
		return err
	}
	restore, err := sys.Subreaper() // who loses its parent on the way becomes ours to collect
	if err != nil {
		return err
	}
	defer restore()
	if err := r.restore(); err != nil {
		_ = r.lastLook() // what failed is known
		return r.giveUp(several.Join(err, r.undo()))
	}
	r.Cgroups.Keep()
	r.restored = true
	r.describe()
	_ = r.act(PostResume)() // the tasks run: there is nothing to undo
	return nil
}

// restore takes the steps in order and stops at the first that fails; Run undoes what was done.
func (r *Runner) restore() error {
	steps := []struct {
		name string
		do   func() error
	}{
		{"act before the restore", r.act(PreRestore)},
		{"map the region", r.prepare},
		{"make the cgroups", r.makeCgroups},
		{"start the zygote", r.startZygote},
		{"set up the namespaces", r.setUpNamespaces},
		{"hand out terminals", r.handOutMasters},
		{"create the tasks", r.awaitTasks},
		{"restore", r.awaitThreads},
		{"run the last hooks", r.awaitParked},
		{"stop the threads", r.stopThreads},
		{"hand out the registers", r.finish},
		{"set their scheduling", r.schedule},
		{"act after the restore", r.act(PostRestore)},
		{"announce the root task", r.announce},
		{"wake the connections", r.wake},
		{"act before they go", r.act(PreResume)},
		{"let them go", r.letGo},
	}
	for _, s := range steps {
		r.Opts.Tell(s.name)
		if err := r.cancelled(); err != nil {
			return err
		}
		if err := s.do(); err != nil {
			return err
		}
	}
	return nil
}

// cancelled returns an error once the caller's context has ended.
func (r *Runner) cancelled() error {
	if r.Ctx.Err() != nil {
		return fmt.Errorf("restore: %w", context.Cause(r.Ctx))
	}
	if r.embodied {
		return r.toldToEnd()
	}
	return nil
}

// prepare writes blob and plan where all tasks will map them, and opens what they inherit.
func (r *Runner) prepare() error {
	r.watch = watch{
		statuses: make([]abi.Status, r.Plan.Threads()+1), own: map[*plan.Task]*ownReport{},
		hooks: map[int]hookSeen{},
		moved: time.Now(),
		round: time.Now(),
	}
	if err := r.share.make(r.Plan); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	r.log.ring = r.sharedRing()
	r.lastErrors = map[int]saidError{}
	for _, p := range r.Plan.Files {
		f, err := p.Open()
		if err != nil {
			return fmt.Errorf("restore: open %s: %w", p.Name, err)
		}
		r.passed = append(r.passed, f)
	}
	return nil
}

// startZygote executes the stub. A zygote whose pid is one that a task needs ends by itself (core/src/tasks.c); its
// number is kept until another has been given a different one.
func (r *Runner) startZygote() error {
	reg := &r.Plan.Region
	entry, ok := r.Plan.Image.CoreSymbol("core_entry")
	if !ok {
		return errors.New("restore: the core has no core_entry")
	}
	stack, size := reg.Stack(0)
	r.calls = stubCalls(reg, r.Plan)
	elf := stubELF(r.Stub, reg.End, r.calls, uint64(entry), reg.Plan, stack+size)
	f, path, err := sys.Program("crpie-zygote", elf)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer f.Close()
	files, err := r.zygoteFiles()
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if r.Opts.Body != nil {
		return r.embody(f, files)
	}
	if r.Plan.Itself {
		return r.startRoot(path, files)
	}
	for {
		pid, err := sys.Start(path, []string{"crpie-zygote"}, files)
		if err != nil {
			return fmt.Errorf("restore: start the zygote: %w", err)
		}
		if !r.Plan.Uses(int(pid)) {
			r.zygote = pid
			return nil
		}
		defer r.reap(pid)
	}
}

// startRoot starts the zygote as the root task.
func (r *Runner) startRoot(path string, files []*os.File) error {
	root, p := r.Plan.Tasks[0].Pid, r.Plan
	process, pid, err := sys.StartAs(path, []string{"crpie-zygote"}, files,
		sys.Birth{Pid: root, PidNamespace: p.PidNamespace && !p.First, Sibling: p.Sibling, In: r.first})
	if err != nil {
		return fmt.Errorf("restore: start the zygote: %w", err)
	}
	r.root = process
	if p.PidNamespace {
		r.pids.born(root, pid, r.first)
	}
	return nil
}

// pid gives the number that this process has for a task, sys.Nobody if there is none yet.
func (r *Runner) pid(t *plan.Task) sys.PID { return r.pids.of(t.Pid) }

// tid gives the number that this process has for a thread.
func (r *Runner) tid(th *plan.Thread) sys.PID { return r.pids.of(th.Tid) }

// Root gives the root task's pid, once it exists.
func (r *Runner) Root() int { return int(r.pid(r.Plan.Tasks[0])) }

// zygoteFiles lists what the zygote is executed with, by number: every passed descriptor has the number already under
// which the tasks look for it, and each number in between is closed.
func (r *Runner) zygoteFiles() ([]*os.File, error) {
	files := make([]*os.File, r.Plan.FdsPassed())
	copy(files, []*os.File{os.Stdin, os.Stdout, os.Stderr})
	copy(files[plan.FirstRegionFile:], r.share.files)
	for i, p := range r.Plan.Files {
		files[p.Number] = r.passed[i]
	}
	if !r.Plan.PidNamespace {
		return files, nil
	}
	self, err := sys.SelfPidfd()
	if err != nil {
		return nil, err
	}
	r.passed = append(r.passed, self)
	files[r.Plan.ControllerFD] = self
	return files, nil
}

func (r *Runner) reap(pid sys.PID) {
	_ = sys.Kill(pid, unix.SIGKILL)
	_, _ = sys.Wait(pid)
}

// close gives up descriptors and mappings of the controller, after success and failure.
func (r *Runner) close() {
	for _, f := range r.passed {
		f.Close()
	}
	for _, task := range r.tasks {
		task.Close()
	}
	if r.root != nil {
		r.root.Close()
	}
	if r.first != nil && !r.restored {
		r.first.Close()
	}
	r.share.close()
}

// seizeOptions: the kernel kills the tasks should the controller die, shows a thread that ends itself or executes a
// program while its registers tell so, and keeps filters quiet until the tasks are let go.
func seizeOptions(t *plan.Task) uintptr {
	options := uintptr(sys.OptExitKill | sys.OptSysGood | sys.OptTraceExit | sys.OptTraceExec)
	if t.Seccomp {
		options |= sys.OptSuspendSeccomp
	}
	return options
}

// seize traces a thread that exists.
func (r *Runner) seize(t *plan.Task, th *plan.Thread) error {
	tid := r.pids.find(th.Tid)
	if r.embodied && tid == r.body() {
		return nil // it is
	}
	if err := sys.Seize(tid, seizeOptions(t)); err != nil {
		return fmt.Errorf("restore task %d: %w", t.Pid, err)
	}
	r.traced = append(r.traced, tracee{t, th, tid})
	return nil
}

// awaitTasks traces every task as soon as it exists: its hooks wait for that.
func (r *Runner) awaitTasks() error {
	missing := r.Plan.Alive()
	var failed error
	err := r.await(func() bool {
		missing = slices.DeleteFunc(missing, func(t *plan.Task) bool {
			if failed != nil || r.status(t.StatusIndex).State == abi.StateNew {
				return false
			}
			failed = r.seize(t, t.Threads[0])
			// it has ended with its namespace's first process: await says why that did
			if r.Plan.PidNamespace && errors.Is(failed, unix.ESRCH) {
				failed = nil
				return false
			}
			r.share.tell(abi.ControlTracedAt(t.StatusIndex), 1)
			return true
		})
		return failed != nil || len(missing) == 0
	})
	return cmp.Or(failed, err)
}

// awaitThreads waits until every task has its memory, files and threads, and traces the threads.
func (r *Runner) awaitThreads() error {
	alive := len(r.Plan.Alive())
	if err := r.await(func() bool { return int(r.share.hint(abi.BellReadyOff)) >= alive }); err != nil {
		return err
	}
	for _, t := range r.Plan.Alive() {
		for _, th := range t.Threads[1:] {
			if err := r.seize(t, th); errors.Is(err, unix.ESRCH) {
				return r.explain(err)
			} else if err != nil {
				return err
			}
		}
	}
	r.letChange()
	return nil
}

// letChange lets the tasks change to the application's privileges, which a plan's only thread does unasked once it is
// ready. Whoever has those may now have them report anything.
func (r *Runner) letChange() {
	calls := time.Duration(r.Plan.LateCalls)
	if calls == 0 || r.Opts.HookTimeout > 0 {
		r.watch.deadline = r.end().Add(calls * r.Opts.HookTimeout)
	}
	r.share.tell(abi.ControlGateOff, abi.GateCreds)
}

// awaitParked waits until every thread has done everything it does itself.
func (r *Runner) awaitParked() error {
	if err := r.await(r.allParked); err != nil {
		return err
	}
	if err := r.lastLook(); err != nil {
		return err
	}
	return r.reapZygote()
}

// allParked reports whether every thread has carried out its program.
func (r *Runner) allParked() bool {
	for _, t := range r.Plan.Alive() {
		for i := range t.Threads {
			if r.status(t.StatusIndex+i).State != abi.StateParked {
				return false
			}
		}
	}
	return true
}
