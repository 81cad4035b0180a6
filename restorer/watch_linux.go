//go:build amd64

package restorer

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/sys"
)

// idle is how long the controller sleeps without a bell before it looks for crashed and overdue threads.
const idle = 4 * time.Millisecond

func loadWord(w *uint32) uint32     { return atomic.LoadUint32(w) }
func storeWord(w *uint32, v uint32) { atomic.StoreUint32(w, v) }

// await sleeps until done, passing on what plugins log. A failed operation, a crash, an unexpected end or an overdue
// hook is its error.
func (r *runner) await(done func() bool) error {
	bell := sys.Word(r.shared, abi.SharedBell)
	for {
		seen := loadWord(bell)
		r.drainLog()
		if err := cmp.Or(r.cancelled(), r.failure()); err != nil {
			return err
		}
		if done() {
			return nil
		}
		if err := r.overdue(); err != nil {
			return err
		}
		sys.FutexWait(bell, seen, idle)
		if loadWord(bell) != seen {
			continue
		}
		if err := r.casualties(); err != nil {
			return err
		}
	}
}

// status is what a thread's struct crpie_status says now.
type status struct {
	state, op    uint32
	result       int64
	hook, plugin uint32
	fn           uint64
	seq          uint32
	detail       uint64
}

func (r *runner) status(index int) status {
	off := abi.SharedSize + index*abi.StatusSize
	word := func(at int) uint32 { return loadWord(sys.Word(r.shared, off+at)) }
	word64 := func(at int) uint64 { return atomic.LoadUint64(sys.Word64(r.shared, off+at)) }
	return status{
		state:  word(abi.StatusState),
		op:     word(abi.StatusOp),
		result: int64(word64(abi.StatusResult)),
		hook:   word(abi.StatusHook),
		plugin: word(abi.StatusPlugin),
		fn:     word64(abi.StatusFn),
		seq:    word(abi.StatusHookSeq),
		detail: word64(abi.StatusDetail),
	}
}

// eachThread calls f with every thread's index into the statuses; the zygote comes last with nil.
func (r *runner) eachThread(f func(index int, t *Task, th *Thread) error) error {
	index := 0
	for _, t := range r.plan.Tasks {
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
func (r *runner) failure() error {
	return r.eachThread(func(index int, t *Task, th *Thread) error {
		st := r.status(index)
		if st.state != abi.StateFailed {
			return nil
		}
		if t == nil {
			return r.zygoteFailure(st)
		}
		return r.opFailure(t, th, th.Ops, st)
	})
}

// hookWatch remembers since when each thread has been in the same call into a plugin.
type hookWatch struct {
	seen map[int]hookSeen
}

type hookSeen struct {
	seq   uint32
	since time.Time
}

// overdue finds a hook that has been running longer than allowed.
func (r *runner) overdue() error {
	if r.opts.HookTimeout <= 0 {
		return nil
	}
	return r.eachThread(func(index int, t *Task, th *Thread) error {
		st := r.status(index)
		if t == nil || st.hook == 0 {
			return nil
		}
		if r.hooks.seen == nil {
			r.hooks.seen = map[int]hookSeen{}
		}
		seen, ok := r.hooks.seen[index]
		if !ok || seen.seq != st.seq {
			r.hooks.seen[index] = hookSeen{st.seq, time.Now()}
			return nil
		}
		if time.Since(seen.since) < r.opts.HookTimeout {
			return nil
		}
		return r.hookTimeout(t, th, st)
	})
}

// casualties finds a traced thread that got a signal, and processes that ended before their time.
func (r *runner) casualties() error {
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
	return r.eachThread(func(index int, t *Task, th *Thread) error {
		if t == nil || t.Dead {
			return nil
		}
		ws, changed, err := sys.Poll(th.Tid)
		if err != nil && th.Tid == t.Pid && isZombie(t.Pid) { // another task's child, gone before it could be traced: only /proc tells
			return t.failed(th.Tid, "it has ended%s", r.during(t, th, r.status(index)))
		}
		if err != nil || !changed {
			return nil // not there yet, or nothing happened
		}
		return r.casualty(t, th, r.status(index), ws)
	})
}

// zygoteEnded: status 0 is its ordinary end; it is waited for again by nobody.
func (r *runner) zygoteEnded(ws unix.WaitStatus) error {
	if ws.Exited() && ws.ExitStatus() == 0 {
		return nil
	}
	if ws.Exited() {
		return stubError(r.calls, ws.ExitStatus())
	}
	return fmt.Errorf("restore zygote: killed by %s", signalName(int(ws.Signal())))
}

// casualty explains a thread's end or stop. When a whole task ends, the thread that is noticed first need not be the one
// that ended it; the leader's end is reported last of all, wait(2) of a traced thread group.
func (r *runner) casualty(t *Task, th *Thread, st status, ws unix.WaitStatus) error {
	switch {
	case sys.Event(ws) == unix.PTRACE_EVENT_EXIT:
		return r.ending(t, th, st)
	case sys.Event(ws) == unix.PTRACE_EVENT_EXEC:
		return r.executed(t)
	case th.Tid != t.Pid && (ws.Exited() || ws.Signaled()):
		return nil
	case ws.Exited():
		return t.failed(th.Tid, "thread %d ended with status %d%s", th.Tid, ws.ExitStatus(), r.during(t, th, st))
	case ws.Signaled():
		return t.failed(th.Tid, "thread %d was killed by %s%s", th.Tid, signalName(int(ws.Signal())), r.during(t, th, st))
	case ws.Stopped() && ws.StopSignal() == unix.SIGSTOP:
		return sys.Continue(th.Tid) // somebody else's; the task is not theirs to stop yet
	case ws.Stopped():
		return r.crash(t, th, st, ws.StopSignal())
	}
	return nil
}
