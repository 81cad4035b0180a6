//go:build amd64

package run

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/changes"
	"github.com/crpie/crpie/internal/imagemem"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/stage"
)

// Watch says what is noted of the calls into plugins. The plan has threads stop before and after each of them; the
// calls of all tasks come one after the other then, so that what is seen before and after a call is what the call has
// done.
type Watch struct {
	Trace bool // notes the system calls that hooks make
	Diff  bool // finds out what they change

	Dumped func(pid int) (*imagemem.Dumped, error) // gives the memory that a task is given; with Diff
}

// watched is what is known of a task whose hooks are watched.
type watched struct {
	task    *plan.Task
	report  *report.Process
	diff    *changes.Diff // nil: nobody asks
	dumped  *imagemem.Dumped
	touched changes.Touched
	arrived []*plan.Thread // that wait for the others before the hooks of threads
	going   bool           // those hooks run
	looked  bool           // at memory, before the first hook that finds it
	kept    []keptFile
	names   *changes.Names
}

// watches reports whether a thread has stopped itself before a call that is watched.
func (r *Runner) watches(th *plan.Thread, ws unix.WaitStatus) bool {
	return r.Opts.Watch != nil && r.stoppedItself(r.tid(th), ws)
}

// watchedOf gives what is known of a task.
func (r *Runner) watchedOf(t *plan.Task) *watched {
	if w := r.watchers[t]; w != nil {
		return w
	}
	w := &watched{task: t, report: &report.Process{Pid: t.Pid, Comm: t.Comm, Threads: len(t.Threads)}}
	if r.Opts.Watch.Diff {
		w.diff = changes.New()
	}
	if r.watchers == nil {
		r.watchers = map[*plan.Task]*watched{}
	}
	r.watchers[t] = w
	return w
}

// Calls lists what the hooks of each task have done, in the order of the tasks.
func (r *Runner) Calls() (all []*report.Process) {
	for _, t := range r.Plan.Tasks {
		if w := r.watchers[t]; w != nil {
			all = append(all, w.report)
		}
	}
	return all
}

// watchCall lets a thread make the call before which it has stopped. Hooks of threads wait until every thread of the
// task has come to them: what threads do to change their privileges is not a hook's doing.
func (r *Runner) watchCall(t *plan.Task, th *plan.Thread) error {
	w := r.watchedOf(t)
	if stage.Stage(r.status(r.index(t, th)).Hook) != stage.PreSigreturnThread || w.going {
		return r.call(w, th)
	}
	w.arrived = append(w.arrived, th)
	if len(w.arrived) < len(t.Threads) {
		return nil
	}
	w.going = true
	for _, th := range t.Threads {
		if err := r.lookAt(t, true); err != nil {
			return r.explain(err)
		}
		if err := r.call(w, th); err != nil {
			return err
		}
	}
	return nil
}

// call lets a thread make a call, and notes what it has done. Everything else of the restore may wait meanwhile.
func (r *Runner) call(w *watched, th *plan.Thread) error {
	begun := time.Now()
	c, err := r.beginCall(w, th)
	if err != nil {
		return fmt.Errorf("restore task %d: %w", w.task.Pid, err)
	}
	defer c.mem.Close()
	before := c.state()
	c.since = time.Now()
	err = c.follow()
	c.report.Took = time.Since(c.since)
	if err != nil {
		c.report.Failed = true
		return err
	}
	if err := r.lookAt(w.task, true); err != nil {
		return r.explain(err)
	}
	c.judgeResult(r.status(c.index).Result)
	w.note(before, c.state(), c)
	if err := sys.Continue(c.tid); err != nil {
		return fmt.Errorf("restore task %d: %w", w.task.Pid, err)
	}
	r.waited(begun)
	return nil
}

// waited takes the time since then out of all limits.
func (r *Runner) waited(begun time.Time) {
	now := time.Now()
	r.watch.hooks, r.watch.moved = map[int]hookSeen{}, now
	if !r.watch.deadline.IsZero() {
		r.watch.deadline = r.watch.deadline.Add(now.Sub(begun))
	}
}

// watchedCall is a call into a plugin that is watched.
type watchedCall struct {
	*Runner
	watched *watched
	thread  *plan.Thread
	tid     sys.PID
	index   int // where the thread reports
	stage   stage.Stage
	report  *report.Call
	mem     *sys.Memory
	trace   *changes.Trace // nil: nobody asks
	since   time.Time
}

func (r *Runner) beginCall(w *watched, th *plan.Thread) (c *watchedCall, err error) {
	index := r.index(w.task, th)
	st := r.status(index)
	at := stage.Stage(st.Hook)
	plugin := r.Plan.ImageOf(w.task).PluginName(int(st.Plugin))
	c = &watchedCall{Runner: r, watched: w, thread: th, tid: r.tid(th), index: index, stage: at,
		report: &report.Call{Plugin: plugin, Stage: at, Hook: at.String(), Tid: th.Tid}}
	if c.mem, err = sys.OpenMemory(r.pid(w.task)); err != nil {
		return nil, err
	}
	w.report.Calls = append(w.report.Calls, c.report)
	if r.Opts.Watch.Trace {
		if r.formatter == nil {
			r.formatter = uapi.NewCallFormatter()
		}
		c.trace = changes.NewTrace(r.formatter, c.mem, c.report)
	}
	return c, w.look(c)
}

// resume lets the thread run, to its next system call if those are looked at.
func (c *watchedCall) resume(tid sys.PID) error {
	if c.trace != nil || c.watched.diff != nil {
		return sys.ContinueToSyscall(tid)
	}
	return sys.Continue(tid)
}

// follow lets the call run to its end, where the thread stops itself again.
func (c *watchedCall) follow() error {
	if err := c.resume(c.tid); err != nil {
		return fmt.Errorf("restore task %d: %w", c.watched.task.Pid, err)
	}
	for {
		const slice = 5 * time.Millisecond
		ws, changed, err := sys.WaitUntil(c.tid, time.Now().Add(slice))
		switch {
		case err != nil:
			return fmt.Errorf("restore task %d: %w", c.watched.task.Pid, err)
		case !changed:
			err = c.meanwhile()
		case c.stoppedItself(c.tid, ws):
			return nil
		default:
			err = c.judge(ws)
		}
		if err != nil {
			return err
		}
	}
}

// judge decides what a stop on the way means.
func (c *watchedCall) judge(ws unix.WaitStatus) error {
	t := c.watched.task
	switch {
	case ws.Stopped() && isSyscallStop(ws):
		if err := c.systemCall(); err != nil {
			return fmt.Errorf("restore task %d: %w", t.Pid, err)
		}
		return nil
	case somebodyStopped(ws):
		return c.goOn(t, c.tid, ws, c.resume)
	}
	_ = c.lookAt(t, true) // what it did last
	if err := c.casualty(t, c.thread, c.status(c.index), ws); err != nil {
		return err
	}
	return failed(t, c.thread.Tid, "thread %d was killed%s", c.thread.Tid, c.during(t, c.thread, c.status(c.index)))
}

// systemCall notes a system call that begins or ends. Those of the core are none of the hook's.
func (c *watchedCall) systemCall() error {
	info, err := sys.GetSyscallInfo(c.tid)
	if err != nil {
		return err
	}
	plugin, inBlob := c.Plan.Image.PluginAt(blob.Addr(info.Ip))
	switch {
	case info.Op == sys.SyscallExit:
		c.trace.Ends(info.Result)
		c.watched.touched.Ends(info.Result)
	case inBlob && plugin < 0:
	default:
		c.trace.Begins(&info)
		c.touches(&info)
	}
	return c.resume(c.tid)
}

// touches notes what hooks ask the kernel for and nothing in /proc tells. Addresses that the kernel keeps are set by
// the restore itself before PIE_RST_POST_THREADS.
func (c *watchedCall) touches(info *sys.SyscallInfo) {
	if c.watched.diff != nil && (c.stage >= stage.PostThreads || info.Nr == unix.SYS_RT_SIGACTION) {
		c.watched.touched.Begins(sys.PID(c.thread.Tid), info, c.mem, nil)
	}
}

// meanwhile passes on what is logged, and ends the wait for a hook that takes too long.
func (c *watchedCall) meanwhile() error {
	c.drainShared()
	if err := c.look(true); err != nil {
		return c.explain(err)
	}
	if err := c.cancelled(); err != nil {
		return err
	}
	if limit := c.Opts.HookTimeout; limit > 0 && time.Since(c.since) >= limit {
		return c.hookTimeout(c.watched.task, c.thread, c.status(c.index))
	}
	return nil
}

// judgeResult notes what the call has returned. An exit returns nothing.
func (c *watchedCall) judgeResult(result int64) {
	if c.stage == stage.Exit {
		return
	}
	c.report.Result = int32(result)
	c.report.Skipped = result == -int64(unix.ENOTSUP)
	c.report.Failed = result != 0 && !c.report.Skipped
}

// noteTimers notes the timers that hooks have changed.
func (r *Runner) noteTimers(w *watched) error {
	lent := &w.task.Lent
	was, is := make([]byte, lent.NrTimers*abi.TimerSize), make([]byte, lent.NrTimers*abi.TimerSize)
	if len(was) == 0 {
		return nil
	}
	err := sys.ReadProcess(r.pid(w.task), sys.Span{Addr: lent.DumpedTimers, Data: was},
		sys.Span{Addr: lent.Timers, Data: is})
	for at := 0; err == nil && at < len(was); at += abi.TimerSize {
		var before, after abi.Timer
		before.Get(was[at:])
		after.Get(is[at:])
		w.diff.AddTimer(&before, &after)
	}
	return err
}

// noteRegisters notes the registers that hooks have left in a thread.
func (r *Runner) noteRegisters(t *plan.Task, th *plan.Thread, was, is *abi.Regs) {
	if w := r.watchers[t]; w != nil && w.diff != nil {
		w.diff.AddRegisters(th.Tid, was, is)
	}
}
