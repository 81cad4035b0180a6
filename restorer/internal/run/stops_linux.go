//go:build amd64

package run

import (
	"cmp"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// Whoever may signal a task can stop it while it is restored. All signals but SIGKILL and SIGSTOP are blocked and stay
// pending until the task is let go. A SIGSTOP is dropped: nothing can hold it back, and a stopped task cannot be
// restored. It shows as a signal-delivery-stop of the thread that would have taken it; if that thread is not traced, as
// a group-stop of those that are traced, PTRACE_EVENT_STOP of ptrace(2); and before the task is traced as a process
// that makes no progress. The last two are undone by SIGCONT, which the task may see later if it has a handler for it.

// unstopAfter is how long nothing must have moved before untraced processes are looked at, which reads /proc.
const unstopAfter = 50 * time.Millisecond

// somebodyStopped reports whether a thread stopped for no crash, and for no request of the controller's.
func somebodyStopped(ws unix.WaitStatus) bool {
	if !ws.Stopped() {
		return false
	}
	switch ws.StopSignal() {
	case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGCONT:
		return true
	}
	return isEventStop(ws)
}

func isEventStop(ws unix.WaitStatus) bool { return sys.Event(ws) == unix.PTRACE_EVENT_STOP }

// isGroupStop: PTRACE_INTERRUPT and SIGCONT cause event stops, too, with SIGTRAP.
func isGroupStop(ws unix.WaitStatus) bool { return isEventStop(ws) && ws.StopSignal() != unix.SIGTRAP }

// goOn resumes a thread that a signal from outside has stopped, and its process.
func (r *Runner) goOn(t *plan.Task, tid sys.PID, ws unix.WaitStatus, resume func(tid sys.PID) error) error {
	r.watch.stopped = time.Now()
	if isGroupStop(ws) {
		if err := sys.Kill(r.pid(t), unix.SIGCONT); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	if err := resume(tid); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// tracee is a thread that is seized.
type tracee struct {
	task   *plan.Task
	thread *plan.Thread
	tid    sys.PID
}

// waitStop waits for a stop of the kind that good accepts, until stopBy. Stops with another cause are passed
// by, by resume; anything else at this point is a failure. A wait without a limit might never end: the leader of
// threads that have stopped can be killed alone, seccomp(2), and is reported when they are gone, which takes their
// tracer.
func (r *Runner) waitStop(th tracee, good func(unix.WaitStatus) bool, resume func(tid sys.PID) error) error {
	for {
		ws, changed, err := sys.WaitUntil(th.tid, r.stopBy)
		switch {
		case err != nil:
			return fmt.Errorf("restore: %w", err)
		case !changed:
			return failed(th.task, th.thread.Tid, "thread %d does not stop within %v (--progress-timeout)", th.thread.Tid,
				r.Opts.Limit())
		case ws.Stopped() && good(ws):
			return nil
		case sys.Event(ws) == unix.PTRACE_EVENT_EXIT:
			return failed(th.task, th.thread.Tid,
				"thread %d was killed, or ended itself, when it was to be stopped", th.thread.Tid)
		case ws.Stopped() && hasAddr(ws.StopSignal()):
			return failed(th.task, th.thread.Tid, "thread %d crashed with %s when it was to be stopped", th.thread.Tid,
				signalName(int(ws.StopSignal())))
		case !somebodyStopped(ws):
			return failed(th.task, th.thread.Tid, "thread %d: unexpected wait status %#x at the end", th.thread.Tid,
				uint32(ws))
		}
		if err := r.goOn(th.task, th.tid, ws, resume); err != nil {
			return err
		}
	}
}

// unstop lets processes go on that were stopped before they could be traced. Only what descends from this
// process by way of the plan is signalled.
func (r *Runner) unstop() {
	family := map[sys.PID]bool{sys.PID(os.Getpid()): true, r.zygote: true}
	untraced := []sys.PID{r.zygote}
	for _, t := range r.Plan.Tasks {
		family[r.pid(t)] = true
		if r.status(t.StatusIndex).State == abi.StateNew || t.Dead {
			untraced = append(untraced, r.pid(t))
		}
	}
	for _, pid := range untraced {
		if state, parent := host.ProcessState(int(pid)); pid != 0 && state == "T" && family[sys.PID(parent)] {
			_ = sys.Kill(pid, unix.SIGCONT)
		}
	}
}

// reapZygote collects the zygote, which ends by itself once it has created the tasks.
func (r *Runner) reapZygote() error {
	for end := r.end(); r.zygote != 0; { // 0: casualties has seen it
		ws, changed, err := sys.WaitUntil(r.zygote, time.Now().Add(unstopAfter))
		switch {
		case err != nil:
			return fmt.Errorf("restore: %w", err)
		case changed:
			r.zygote = 0
			return r.zygoteEnded(ws)
		case time.Now().After(end):
			return fmt.Errorf("restore zygote: it does not end within %v (--progress-timeout)",
				r.Opts.Limit())
		}
		r.unstop()
	}
	return nil
}

// end is when what begins now has to be over.
func (r *Runner) end() time.Time { return time.Now().Add(r.Opts.Limit()) }

// DefaultTimeout is how long a restore may make no progress, where RunOptions do not say.
const DefaultTimeout = time.Minute

// Limit returns how long the restore may stand still.
func (o *Options) Limit() time.Duration { return cmp.Or(o.Timeout, DefaultTimeout) }
