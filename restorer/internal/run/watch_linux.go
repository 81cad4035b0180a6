//go:build amd64

package run

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// idle is how long the controller sleeps without a bell before it looks for crashed, stopped and overdue threads;
// harried while signals from outside keep stopping them. A look at many tasks takes time that those need: between two
// of them passes dearest times as long, at most rarest.
const (
	idle    = 4 * time.Millisecond
	harried = 100 * time.Microsecond
	dearest = 64
	rarest  = 100 * time.Millisecond
)

// watch is what the controller knows of the threads, and since when.
type watch struct {
	statuses []abi.Status              // by index
	own      map[*plan.Task]*ownReport // the tasks that have left the shared memory
	news     uint32                    // the bell's count when these were read last
	round    time.Time                 // when they were looked after last
	took     time.Duration             // how long that took
	moved    time.Time                 // when a trusted status changed last
	// if set, for everything that is left: the tasks may be anybody's now, and say what they like
	deadline time.Time
	stopped  time.Time // when a thread was last stopped from outside
	hooks    map[int]hookSeen
}

// await sleeps until done, passing on what plugins log. A failed operation, a crash, an unexpected end, an overdue
// hook, and that nothing moves any more are its errors. It looks after all of them every few milliseconds, whatever
// tasks ring.
func (r *Runner) await(done func() bool) error {
	rung := sys.Word(r.share.bell, abi.BellRungOff)
	for {
		seen, news := loadWord(rung), r.share.hint(abi.BellNewsOff)
		begun := time.Now()
		round := begun.Sub(r.watch.round) >= r.pause()
		r.drainShared()
		if err := r.look(round || news != r.watch.news); err != nil {
			return r.explain(err)
		}
		r.watch.news = news
		if err := cmp.Or(r.cancelled(), r.failure()); err != nil {
			return err
		}
		if done() {
			return nil
		}
		if round {
			if err := r.lookAfter(); err != nil {
				return err
			}
			r.watch.round = time.Now()
			r.watch.took = r.watch.round.Sub(begun)
		}
		sys.FutexWait(rung, seen, r.pause())
	}
}

// explainTime bounds the wait for the event that follows.
const explainTime = time.Second

// explain finds what became of a task that is gone, or whose report is gone or nonsense. One that executes a program
// loses its memory a moment before PTRACE_EVENT_EXEC tells; one whose namespace's first process failed was killed by the
// kernel, and that process's report says why.
func (r *Runner) explain(err error) error {
	for end := time.Now().Add(explainTime); time.Now().Before(end); time.Sleep(collectPause) {
		_ = r.look(true) // of those that can be read
		if found := r.failure(); found != nil {
			return found
		}
		if found := r.casualties(); found != nil {
			return found
		}
	}
	return err
}

func (r *Runner) pause() time.Duration {
	if time.Since(r.watch.stopped) < 25*idle {
		return harried
	}
	if r.Opts.Watch != nil { // threads stop before each hook
		return max(harried, min(idle, r.watch.took))
	}
	return max(idle, min(rarest, dearest*r.watch.took))
}

// lookAfter finds changes that no bell announces: ends, stops and overdue hooks.
func (r *Runner) lookAfter() error {
	for _, find := range []func() error{r.overdue, r.checkFirst, r.casualties, r.stuck} {
		if err := find(); err != nil {
			return err
		}
	}
	return nil
}

func loadWord(w *uint32) uint32 { return atomic.LoadUint32(w) }

// look reads what the threads report. What a task has in memory of its own takes a system call to read: only if asked
// to.
func (r *Runner) look(all bool) error {
	for _, t := range r.Plan.Tasks {
		if err := r.lookAt(t, all); err != nil {
			return err
		}
	}
	zygote := r.zygoteStatus()
	r.know(zygote, r.share.status(zygote))
	return nil
}

// lookAt reads the reports of a task's threads: in the shared memory until the task has left it, then in its own (all:
// also there, which costs a system call).
func (r *Runner) lookAt(t *plan.Task, all bool) error {
	o := r.watch.own[t]
	if o == nil && r.share.status(t.StatusIndex).State == abi.StateLeft {
		o = newOwnReport(r.pids.find(t.Pid), &r.Plan.Region, r.sharedRing().head())
		r.watch.own[t] = o
	}
	if o != nil && !all {
		return nil
	} else if o != nil {
		return r.lookAtOwn(t, o)
	}
	for i := range t.Threads {
		st := r.share.status(t.StatusIndex + i)
		if i == 0 && st.State == abi.StateLeft { // just now: its own comes next time
			return nil
		}
		if err := r.see(t, i, st); err != nil {
			return err
		}
	}
	return nil
}

// lookAtOwn reads what a task that has left reports. That it has ended is for casualties to say.
func (r *Runner) lookAtOwn(t *plan.Task, o *ownReport) error {
	all, head, err := o.read(t.StatusIndex, len(t.Threads))
	o.head = head
	if err == nil && r.log.tail >= o.after {
		err = o.log.drain(head, func(rec []byte) { r.passOn(rec, t) })
	}
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("restore task %d: what it reports cannot be read: %w", t.Pid, err)
	}
	for i, st := range all {
		if err := r.see(t, i, st); err != nil {
			return err
		}
	}
	return nil
}

// lastLook passes on what has been logged until now.
func (r *Runner) lastLook() error {
	if r.log.ring == nil {
		return nil
	}
	r.drainShared()
	for _, o := range r.watch.own {
		o.after = 0
	}
	for end := time.Now().Add(lineTime); ; time.Sleep(collectPause) {
		if err := r.look(true); err != nil || !r.writing() || time.Now().After(end) {
			return err
		}
	}
}

// lineTime bounds the wait for threads that are writing a line: what another has logged may be behind it.
const lineTime = 100 * time.Millisecond

// writing reports whether a line has been begun that is not complete.
func (r *Runner) writing() bool {
	for _, o := range r.watch.own {
		if o.log.tail < o.head {
			return true
		}
	}
	return false
}

// see takes what a thread reports, if it can be.
func (r *Runner) see(t *plan.Task, thread int, st abi.Status) error {
	if st.State > abi.StateParked {
		tid := t.Threads[thread].Tid
		return failed(t, tid, "thread %d reports state %#x, which is none: something has overwritten its report", tid,
			st.State)
	}
	r.know(t.StatusIndex+thread, st)
	return nil
}

func (r *Runner) know(index int, st abi.Status) {
	if known := &r.watch.statuses[index]; *known != st {
		*known, r.watch.moved = st, time.Now()
	}
}

func (r *Runner) status(index int) abi.Status { return r.watch.statuses[index] }

// eachThread calls f with every thread's index into the statuses; the zygote comes last with nil.
func (r *Runner) eachThread(f func(index int, t *plan.Task, th *plan.Thread) error) error {
	index := 0
	for _, t := range r.Plan.Tasks {
		for _, th := range t.Threads {
			if err := f(index, t, th); err != nil {
				return err
			}
			index++
		}
	}
	return f(index, nil, nil)
}

// failure finds the first thread whose program failed.
func (r *Runner) failure() error {
	return r.eachThread(func(index int, t *plan.Task, th *plan.Thread) error {
		st := r.status(index)
		if st.State != abi.StateFailed {
			return nil
		}
		if t == nil {
			return r.zygoteFailure(st)
		}
		return r.opFailure(t, th, th.Ops, st)
	})
}

// hookSeen is since when a thread has been in the same call into a plugin.
type hookSeen struct {
	seq   uint32
	since time.Time
}

// overdue finds a hook that has been running longer than allowed.
func (r *Runner) overdue() error {
	if r.Opts.HookTimeout <= 0 || r.Opts.Watch != nil { // then the time of a call counts from its turn
		return nil
	}
	return r.eachThread(func(index int, t *plan.Task, th *plan.Thread) error {
		st := r.status(index)
		if t == nil || st.Hook == 0 {
			return nil
		}
		seen, ok := r.watch.hooks[index]
		if !ok || seen.seq != st.HookSeq {
			r.watch.hooks[index] = hookSeen{st.HookSeq, time.Now()}
			return nil
		}
		if time.Since(seen.since) < r.Opts.HookTimeout {
			return nil
		}
		return r.hookTimeout(t, th, st)
	})
}

// stuck reports that nothing moves any more. A running hook has a limit of its own. Once privileges have changed, a
// task may report whatever it likes: from then on the time for everything together is limited.
func (r *Runner) stuck() error {
	limit := r.Opts.Limit()
	if !r.watch.deadline.IsZero() {
		if time.Now().After(r.watch.deadline) {
			return fmt.Errorf("restore: the tasks are not done %v after they could have been (--progress-timeout): %s",
				limit, r.laggards())
		}
		return nil
	}
	inHook := slices.ContainsFunc(r.watch.statuses, func(st abi.Status) bool { return st.Hook != 0 })
	if quiet := time.Since(r.watch.moved); inHook || quiet < unstopAfter {
		return nil
	} else if quiet >= limit {
		return fmt.Errorf("restore: nothing has moved for %v (--progress-timeout): %s", limit, r.laggards())
	}
	r.unstop()
	return nil
}

// laggards says what threads are at that have not parked and do not wait for others, the first few of them.
func (r *Runner) laggards() string {
	const most = 3
	var who []string
	_ = r.eachThread(func(index int, t *plan.Task, th *plan.Thread) error {
		if st := r.status(index); t != nil && !t.Dead && st.State != abi.StateParked && !waitsAtEnd(th, st) {
			who = append(who, fmt.Sprintf("task %d thread %d%s", t.Pid, th.Tid, r.during(t, th, st)))
		}
		return nil
	})
	if more := len(who) - most; more > 0 {
		who = append(who[:most], fmt.Sprintf("and %d more threads", more))
	}
	return strings.Join(who, "; ")
}

// waitsAtEnd reports whether the thread says that it waits for the controller or for other threads.
func waitsAtEnd(th *plan.Thread, st abi.Status) bool {
	if int(st.Op) >= len(th.Ops) {
		return false
	}
	return abi.Ops[th.Ops[st.Op].Code].Waits
}

// casualties finds a traced thread that got a signal, and processes that ended before their time.
func (r *Runner) casualties() error {
	if r.zygote != 0 {
		ws, changed, err := sys.Poll(r.zygote)
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		if changed {
			r.zygote = 0
			return r.zygoteEnded(ws)
		}
	}
	quiet := time.Since(r.watch.moved) >= idle
	return r.eachThread(func(index int, t *plan.Task, th *plan.Thread) error {
		if t == nil || t.Dead {
			return nil
		}
		if !quiet && r.status(index).State == abi.StateNew {
			return nil // most often not born yet
		}
		ws, changed, err := sys.Poll(r.tid(th))
		// another task's child, gone before it could be traced: only /proc tells
		if err != nil && th.Tid == t.Pid && host.IsZombie(int(r.pid(t))) {
			return failed(t, th.Tid, "it has ended%s", r.during(t, th, r.status(index)))
		}
		if err != nil || !changed {
			return nil // not there yet, or nothing happened
		}
		st := r.status(index)
		if r.lookAt(t, true) == nil { // what it did last
			st = r.status(index)
		} else { // execve(2), munmap(2)
			r.share.calling(index, &st)
		}
		return r.casualty(t, th, st, ws)
	})
}

// zygoteEnded takes a status of 0 for its ordinary end; it is not waited for again.
func (r *Runner) zygoteEnded(ws unix.WaitStatus) error {
	if ws.Exited() && ws.ExitStatus() == 0 {
		return nil
	}
	if ws.Exited() {
		return stubError(r.calls, ws.ExitStatus())
	}
	return fmt.Errorf("restore zygote: killed by %s", signalName(int(ws.Signal())))
}

// casualty explains a thread's end or stop. When a whole task ends, the thread that is noticed first need not be the
// one that ended it; the leader's end is reported last of all, wait(2) of a traced thread group.
func (r *Runner) casualty(t *plan.Task, th *plan.Thread, st abi.Status, ws unix.WaitStatus) error {
	switch {
	case sys.Event(ws) == unix.PTRACE_EVENT_EXIT:
		return r.ending(t, th, st)
	case sys.Event(ws) == unix.PTRACE_EVENT_EXEC:
		return r.executed(t)
	case th.Tid != t.Pid && (ws.Exited() || ws.Signaled()):
		return nil
	case ws.Exited():
		return failed(t, th.Tid, "thread %d ended with status %d%s", th.Tid, ws.ExitStatus(),
			r.during(t, th, st))
	case ws.Signaled():
		return failed(t, th.Tid, "thread %d was killed by %s%s", th.Tid, signalName(int(ws.Signal())),
			r.during(t, th, st))
	case r.pauses(th, st, ws):
		return r.pauseAt(t, th)
	case r.watches(th, ws):
		return r.watchCall(t, th)
	case somebodyStopped(ws):
		return r.goOn(t, r.tid(th), ws, sys.Continue)
	case ws.Stopped():
		return r.crash(t, th, st, ws.StopSignal())
	}
	return nil
}
