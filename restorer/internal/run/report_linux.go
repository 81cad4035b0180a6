//go:build amd64

package run

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/backtrace"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/stage"
)

// hookError describes a hook that failed at an address.
func (r *Runner) hookError(t *plan.Task, th *plan.Thread, st abi.Status, at uint64, cause string) *report.HookError {
	return &report.HookError{
		Plugin:   r.Plan.ImageOf(t).PluginName(int(st.Plugin)),
		Hook:     stage.Stage(st.Hook),
		Pid:      t.Pid,
		Tid:      th.Tid,
		Where:    r.Plan.ImageOf(t).Describe(blob.Addr(at)),
		Cause:    cause,
		Location: r.locate(at),
	}
}

// hookErrorAt describes a hook that failed where a stopped thread is, with the callers.
func (r *Runner) hookErrorAt(t *plan.Task, th *plan.Thread, st abi.Status, regs *sys.Regs,
	cause string) *report.HookError {
	err := r.hookError(t, th, st, regs.Ip, cause)
	trace := backtrace.Of(&backtrace.Thread{Pid: int(r.pid(t)), Image: r.Plan.Image, Registers: regs.Numbered(),
		StackEnd: r.Plan.Region.StackEnd(regs.Sp), Read: func(addr uint64, b []byte) bool {
			return sys.ReadProcess(r.tid(th), sys.Span{Addr: addr, Data: b}) == nil
		}})
	err.Where, err.Callers, err.Location = trace.Where, trace.Callers, trace.Location
	return err
}

// opFailure explains an operation that gave a bad result.
func (r *Runner) opFailure(t *plan.Task, th *plan.Thread, ops []plan.Op, st abi.Status) error {
	if st.Hook != 0 {
		err := r.hookError(t, th, st, st.Fn, "returned "+hookResult(st.Result))
		if err.Errno = errnoOf(st.Result); err.Errno != 0 {
			err.Cause += r.lastError(err.Tid, st.HookSeq)
		}
		return err
	}
	if int(st.Op) >= len(ops) {
		return failed(t, th.Tid, "thread %d: its program ran off its end", th.Tid)
	}
	op := &ops[st.Op]
	err := failed(t, th.Tid, "thread %d: operation %d: %s: %s", th.Tid, st.Op, op, opResult(op, st))
	err.Operation, err.Errno = op.String(), errnoOf(st.Result)
	return err
}

// lastError quotes the last line of LogError from a call that has failed: mostly it says why.
func (r *Runner) lastError(tid int, call uint32) string {
	_ = r.lastLook() // passes on what was logged since the last look
	if said, ok := r.lastErrors[tid]; ok && said.call == call {
		return ": " + escape.Name(said.text)
	}
	return ""
}

func hookResult(result int64) string {
	if name := unix.ErrnoName(unix.Errno(-result)); result < 0 && name != "" {
		return fmt.Sprintf("%d (%s)", result, name)
	}
	return fmt.Sprintf("%d, which is neither 0 nor a negative errno (-ENOTSUP is %d)", result, -int(unix.ENOTSUP))
}

// opResult words what an operation returned: an errno, with the address if it was memory that could not be filled.
func opResult(op *plan.Op, st abi.Status) string {
	if errno := errnoOf(st.Result); errno != 0 {
		text := fmt.Sprintf("%s (%s)", errno.Error(), unix.ErrnoName(errno))
		if op.Code == abi.OpReadPages {
			text += fmt.Sprintf(" at address %#x", st.Detail)
		}
		return text
	}
	return fmt.Sprintf("gave %#x", uint64(st.Result))
}

func (r *Runner) zygoteFailure(st abi.Status) error {
	op := &r.Plan.Zygote[min(int(st.Op), len(r.Plan.Zygote)-1)]
	if op.Code == abi.OpCloneTask && st.Result == -int64(unix.EEXIST) {
		t := r.Plan.Tasks[op.Args[0]]
		return failed(t, 0, "its pid is taken by %s; --new-pids restores it beside that", host.PidHolder(t.Pid))
	}
	return fmt.Errorf("restore zygote: operation %d: %s: %s", st.Op, op, opResult(op, st))
}

// during says what a task was at when it ended: a hook, or else the operation of the thread.
func (r *Runner) during(t *plan.Task, th *plan.Thread, st abi.Status) string {
	hook := ""
	_ = r.eachThread(func(index int, of *plan.Task, _ *plan.Thread) error {
		if s := r.status(index); of == t && s.Hook != 0 && hook == "" {
			hook = fmt.Sprintf(" in plugin %s, %s", r.Plan.ImageOf(of).PluginName(int(s.Plugin)),
				stage.Stage(s.Hook).Call())
		}
		return nil
	})
	if hook != "" {
		return hook
	}
	if int(st.Op) < len(th.Ops) {
		return fmt.Sprintf(" at operation %d: %s", st.Op, &th.Ops[st.Op])
	}
	return ""
}

// endingCall names a system call by which a thread ends, or ends its task.
func endingCall(nr uint64) string {
	switch nr {
	case unix.SYS_EXIT:
		return "exit"
	case unix.SYS_EXIT_GROUP:
		return "exit_group"
	}
	return ""
}

// ending explains a thread that is about to end, PTRACE_EVENT_EXIT, if it has asked for that itself: its registers are
// those of the call. Otherwise another thread or process ends the task, which is reported when it is seen.
func (r *Runner) ending(t *plan.Task, th *plan.Thread, st abi.Status) error {
	regs, err := sys.GetRegs(r.tid(th))
	if err != nil {
		return fmt.Errorf("restore task %d: %w", t.Pid, err)
	}
	if err := sys.Continue(r.tid(th)); err != nil {
		return fmt.Errorf("restore task %d: %w", t.Pid, err)
	}
	name := endingCall(regs.OrigAx)
	if name == "" {
		return nil
	}
	cause := fmt.Sprintf("called %s(%d)", name, int32(regs.Di))
	r.calledBy(t, th, &st, regs.Ip)
	if st.Hook != 0 {
		return r.hookErrorAt(t, th, st, &regs, cause)
	}
	return failed(t, th.Tid, "thread %d, %s: %s%s", th.Tid, r.Plan.Image.Describe(blob.Addr(regs.Ip)), cause,
		r.during(t, th, st))
}

// calledBy names the call of a thread that is in a plugin, although its report, which was read before, does not say so
// yet.
func (r *Runner) calledBy(t *plan.Task, th *plan.Thread, st *abi.Status, ip uint64) {
	if loc, ok := r.Plan.Image.Locate(blob.Addr(ip)); st.Hook == 0 && ok && loc.Plugin >= 0 {
		r.share.calling(r.index(t, th), st)
	}
}

// executed explains a task that has become another program, PTRACE_EVENT_EXEC: its only thread has the leader's id now.
func (r *Runner) executed(t *plan.Task) error {
	former, err := sys.EventMessage(r.pid(t))
	if err != nil {
		return fmt.Errorf("restore task %d: %w", t.Pid, err)
	}
	program, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", r.pid(t))) // only for the message
	cause, thread := fmt.Sprintf("called execve: it is %q now", program), t.Pid
	for i, th := range t.Threads {
		var st abi.Status // its own is gone with the old memory
		r.share.calling(t.StatusIndex+i, &st)
		if r.tid(th) == sys.PID(former) {
			thread = th.Tid
			if st.Hook != 0 {
				return r.hookError(t, th, st, st.Fn, cause)
			}
		}
	}
	return failed(t, thread, "thread %d %s", thread, cause)
}

// crash explains a thread that stopped for a signal.
func (r *Runner) crash(t *plan.Task, th *plan.Thread, st abi.Status, sig unix.Signal) error {
	regs, err := sys.GetRegs(r.tid(th))
	if err != nil {
		return fmt.Errorf("restore task %d: %w", t.Pid, err)
	}
	cause := "crashed with " + signalName(int(sig))
	if info, err := sys.GetSigInfo(r.tid(th)); err == nil && hasAddr(sig) {
		cause += fmt.Sprintf(" at address %#x", info.Addr())
		if r.Plan.Region.IsGuard(info.Addr()) {
			cause += ", the guard of its stack (a hook has 124 KiB)"
		} else {
			r.calledBy(t, th, &st, regs.Ip)
			cause += r.tooEarly(stage.Stage(st.Hook), regs.Ip, info.Addr())
		}
	}
	r.calledBy(t, th, &st, regs.Ip)
	if st.Hook != 0 {
		return r.hookErrorAt(t, th, st, &regs, cause)
	}
	return failed(t, th.Tid, "thread %d, %s: %s%s", th.Tid, r.Plan.Image.Describe(blob.Addr(regs.Ip)), cause,
		r.during(t, th, st))
}

// tooEarly says what is not there yet at the stage of a hook that crashed, if that is the likely reason. Nothing is
// mapped below vm.mmap_min_addr, 64 KiB: such an address is a null pointer at every stage.
func (r *Runner) tooEarly(hook stage.Stage, ip, addr uint64) string {
	_, inPlugin := r.Plan.Image.Locate(blob.Addr(ip))
	switch {
	case hook == stage.TaskCreated && addr >= 64<<10:
		return "; the program's memory is not there before PIE_RST_POST_MEMORY"
	case hook > stage.TaskCreated && hook < stage.PostThreads && !inPlugin:
		return "; the program's thread pointer, which libc needs, is not set yet: call libc at PIE_RST_PRE_SIGRETURN"
	}
	return ""
}

func hasAddr(sig unix.Signal) bool {
	return sig == unix.SIGSEGV || sig == unix.SIGBUS || sig == unix.SIGILL || sig == unix.SIGFPE
}

// hookTimeout stops the thread to see where it is.
func (r *Runner) hookTimeout(t *plan.Task, th *plan.Thread, st abi.Status) error {
	cause := fmt.Sprintf("still running after %v (--pie-timeout)", r.Opts.HookTimeout.Round(time.Millisecond))
	if tid := r.tid(th); sys.Interrupt(tid) == nil {
		if _, stopped, err := sys.WaitUntil(tid, time.Now().Add(time.Second)); err == nil && stopped {
			if regs, err := sys.GetRegs(tid); err == nil {
				return r.hookErrorAt(t, th, st, &regs, cause)
			}
		}
	}
	return r.hookError(t, th, st, st.Fn, cause)
}

func signalName(sig int) string {
	if name := unix.SignalName(unix.Signal(sig)); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", sig)
}
