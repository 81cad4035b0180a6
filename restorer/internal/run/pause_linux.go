//go:build amd64

package run

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/gdbserver"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/pause"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/stage"
)

// pauses reports whether a thread has stopped itself before a hook for a debugger.
func (r *Runner) pauses(th *plan.Thread, st abi.Status, ws unix.WaitStatus) bool {
	p := r.Opts.Pause
	return p != nil && st.Hook == uint32(p.At.Stage) && r.stoppedItself(r.tid(th), ws)
}

// stoppedItself reports whether a thread stands in the core and has sent itself SIGSTOP by tkill(2),
// restorer/core/src/calls.c.
func (r *Runner) stoppedItself(tid sys.PID, ws unix.WaitStatus) bool {
	if !ws.Stopped() || sys.Event(ws) != 0 || ws.StopSignal() != unix.SIGSTOP {
		return false
	}
	const fromThread = -6 // SI_TKILL
	info, err := sys.GetSigInfo(tid)
	regs, err2 := sys.GetRegs(tid)
	if err != nil || err2 != nil || info.Code() != fromThread {
		return false
	}
	plugin, ok := r.Plan.Image.PluginAt(blob.Addr(regs.Ip))
	return ok && plugin < 0
}

// pauseAt lets gdb look at a hook. Where the hook runs in all threads at once the others stand still meanwhile: they
// would run into gdb's breakpoints. Everything else of the restore waits, too, and no time limit counts.
func (r *Runner) pauseAt(t *plan.Task, th *plan.Thread) error {
	begun := time.Now()
	held, err := r.hold(t, th)
	all := append([]heldThread{{tracee{t, th, r.tid(th)}, 0}}, held...)
	if err == nil {
		err = r.debug(t, th, all)
	}
	if err == nil {
		err = r.debugHeld(all)
	}
	if err == nil {
		err = r.unhold(all)
	}
	r.waited(begun)
	return err
}

// heldThread is a thread that stands still while another one is looked at.
type heldThread struct {
	tracee
	ws unix.WaitStatus
}

// hold stops the other threads of a task that run hooks at the same time.
func (r *Runner) hold(t *plan.Task, except *plan.Thread) (held []heldThread, err error) {
	if r.Opts.Pause.At.Stage != stage.PreSigreturnThread {
		return nil, nil
	}
	for _, th := range r.traced {
		if th.task != t || th.thread == except {
			continue
		}
		if err := sys.Interrupt(th.tid); err != nil {
			return held, fmt.Errorf("restore: %w", err)
		}
		ws, stopped, err := sys.WaitUntil(th.tid, r.end())
		if err != nil || !stopped {
			return held, failed(t, th.thread.Tid, "thread %d does not stop for the debugger of another", th.thread.Tid)
		}
		held = append(held, heldThread{th, ws})
	}
	return held, nil
}

// debugHeld has those be looked at that have come to the hook as well, after the first. They stand still afterwards.
func (r *Runner) debugHeld(all []heldThread) error {
	for i := range all[1:] {
		h := &all[1:][i]
		if err := r.lookAt(h.task, true); err != nil {
			return r.explain(err)
		}
		if r.pauses(h.thread, r.status(r.index(h.task, h.thread)), h.ws) {
			if err := r.debug(h.task, h.thread, all); err != nil {
				return err
			}
			h.ws = 0
		}
	}
	return nil
}

// unhold lets threads go on. What else one has stopped for is decided now; a wait status of 0 stands for nothing.
func (r *Runner) unhold(held []heldThread) error {
	for _, h := range held {
		err := error(nil)
		if h.ws == 0 || isEventStop(h.ws) && !isGroupStop(h.ws) {
			err = sys.Continue(h.tid)
		} else {
			err = r.casualty(h.task, h.thread, r.status(r.index(h.task, h.thread)), h.ws)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// index is where a thread reports.
func (r *Runner) index(t *plan.Task, th *plan.Thread) int {
	return t.StatusIndex + slices.Index(t.Threads, th)
}

// debugged is a thread that gdb looks at.
type debugged struct {
	*Runner
	task   *plan.Task
	thread *plan.Thread
	tracee *gdbserver.Tracee
	server *gdbserver.Server
	seq    uint32    // of the call
	ended  bool      // the thread stands behind it
	mask   uint64    // of signals
	ignore bool      // SIGTRAP was ignored
	over   func()    // is called when it waits no more
	alone  bool      // it was let go: gdb does not come again
	since  time.Time // when
}

// debug serves gdb until the hook has returned, where the thread stands again. gdb sees the others that stand, too.
func (r *Runner) debug(t *plan.Task, th *plan.Thread, standing []heldThread) error {
	d, err := r.attachDebugger(t, th)
	if err != nil {
		return fmt.Errorf("restore task %d: pause: %w", t.Pid, err)
	}
	d.tracee.Meanwhile = func() error { return r.endedBeside(t) }
	for _, other := range standing {
		if other.thread != th {
			d.tracee.Beside = append(d.tracee.Beside, int(other.tid))
		}
	}
	err = d.follow()
	d.over()
	if failed := d.end(err == nil); err == nil && failed != nil {
		err = fmt.Errorf("restore task %d: pause: %w", t.Pid, failed)
	}
	return err
}

// endedBeside reports a task that has ended while another one waits for a debugger: there is nothing more to restore.
func (r *Runner) endedBeside(waits *plan.Task) error {
	for _, th := range r.traced {
		if th.task != waits && !th.task.Dead && sys.Ending(th.tid) {
			return failed(th.task, th.thread.Tid, "thread %d: it was killed while a debugger could look at task %d",
				th.thread.Tid, waits.Pid)
		}
	}
	return nil
}

// attachDebugger prepares a thread: at the hook's first instruction, and with SIGTRAP unblocked, because the kernel
// forgets the action of a blocked signal that a breakpoint or a step causes (force_sig).
func (r *Runner) attachDebugger(t *plan.Task, th *plan.Thread) (d *debugged, err error) {
	tid, st := r.tid(th), r.status(r.index(t, th))
	d = &debugged{Runner: r, task: t, thread: th, seq: st.HookSeq,
		tracee: &gdbserver.Tracee{Pid: r.pid(t), Tid: tid, Mapped: st.Hook > uint32(stage.PostMemory)}}
	if d.tracee.Memory, err = sys.OpenMemory(d.tracee.Pid); err != nil {
		return nil, err
	}
	status, err := sys.ReadProc(fmt.Sprintf("/proc/%d/task/%d/status", d.tracee.Pid, tid))
	if err == nil {
		d.ignore = ignoresTrap(string(status))
		d.mask, err = sys.GetSigmask(tid)
	}
	if err == nil {
		err = sys.SetSigmask(tid, d.mask&^(1<<(unix.SIGTRAP-1)))
	}
	if err == nil {
		err = d.toFunction(st.Fn)
	}
	if err == nil {
		d.server, err = gdbserver.Listen()
	}
	if err != nil {
		d.tracee.Memory.Close()
		return nil, err
	}
	r.drainShared()
	d.over = r.announcePause(d, st)
	return d, nil
}

// ignoresTrap reads SigIgn, proc_pid_status(5).
func ignoresTrap(status string) bool {
	var set uint64
	for line := range strings.Lines(status) {
		if _, err := fmt.Sscanf(line, "SigIgn: %x", &set); err == nil {
			break
		}
	}
	return set&(1<<(unix.SIGTRAP-1)) != 0
}

// toFunction steps to the hook, a few instructions of the core.
func (d *debugged) toFunction(fn uint64) error {
	const most = 10000
	for range most {
		regs, err := sys.GetRegs(d.tracee.Tid)
		if err != nil || regs.Ip == fn {
			return err
		}
		if err := sys.Step(d.tracee.Tid); err != nil {
			return err
		}
		ws, err := sys.Wait(d.tracee.Tid)
		if err != nil {
			return err
		}
		if !ws.Stopped() {
			return fmt.Errorf("thread %d has ended: wait status %#x", d.thread.Tid, uint32(ws))
		}
	}
	return fmt.Errorf("thread %d does not come to the hook", d.thread.Tid)
}

// announcePause tells that a thread waits; over has to be called when it does no more.
func (r *Runner) announcePause(d *debugged, st abi.Status) (over func()) {
	pid := int(d.tracee.Pid)
	return r.Opts.Pause.Tell(&pause.Waiting{Pid: pid, Tid: int(d.tracee.Tid), Stage: stage.Stage(st.Hook),
		Plugin: r.Plan.ImageOf(d.task).PluginName(int(st.Plugin)),
		GDB:    pause.Command(r.Plan.Image, r.Opts.Plugins, pid, d.server.Path())})
}

// follow lets the thread stand and run as gdb says.
func (d *debugged) follow() error {
	signal := unix.SIGTRAP
	for {
		resume, err := d.server.Serve(d.Ctx, d.tracee, int(signal), d.Opts.Pause.GoOn)
		var elsewhere *report.TaskError
		switch {
		case err == nil:
		case errors.As(err, &elsewhere):
			return err
		case errors.Is(err, gdbserver.ErrKilled):
			return failed(d.task, d.thread.Tid, "thread %d: %v", d.thread.Tid, err)
		default:
			return fmt.Errorf("restore: %w", err)
		}
		if signal != unix.SIGTRAP && signal != unix.SIGINT { // the hook has crashed
			return d.crash(d.task, d.thread, d.status(d.index(d.task, d.thread)), signal)
		}
		d.alone, d.since = d.server.Gone(), time.Now()
		stopped, ws, err := d.run(resume.Step)
		if err != nil || !stopped {
			return err
		}
		if signal = ws.StopSignal(); isEventStop(ws) {
			signal = unix.SIGINT
		}
	}
}

// run lets the thread run until it stops for gdb; stopped is false when the hook has returned.
func (d *debugged) run(step bool) (stopped bool, ws unix.WaitStatus, err error) {
	resume := sys.Continue
	if step {
		resume = sys.Step
	}
	if err := resume(d.tracee.Tid); err != nil {
		return false, 0, fmt.Errorf("restore: %w", err)
	}
	for {
		const slice = 5 * time.Millisecond
		ws, changed, err := sys.WaitUntil(d.tracee.Tid, time.Now().Add(slice))
		if err != nil {
			return false, 0, fmt.Errorf("restore: %w", err)
		}
		if changed {
			done, err := d.seen(ws, resume)
			if d.ended || done || err != nil {
				return !d.ended && err == nil, ws, err
			}
			continue
		}
		over, err := d.news()
		if over || err != nil {
			return false, 0, err
		}
		if d.server.Interrupted() {
			if err := sys.Interrupt(d.tracee.Tid); err != nil {
				return false, 0, fmt.Errorf("restore: %w", err)
			}
		}
	}
}

// seen decides what a stop means; done: gdb has to know.
func (d *debugged) seen(ws unix.WaitStatus, resume func(sys.PID) error) (done bool, err error) {
	switch {
	case d.stoppedItself(d.tracee.Tid, ws):
		d.ended = true
		return false, nil
	case d.alone && !somebodyStopped(ws): // as without a debugger
	case gdbserver.IsTrap(ws):
		return true, d.server.AtTrap(d.tracee)
	case !d.alone && isEventStop(ws) && !isGroupStop(ws),
		ws.Stopped() && sys.Event(ws) == 0 && hasAddr(ws.StopSignal()):
		return true, nil
	case somebodyStopped(ws):
		return false, d.goOn(d.task, d.tracee.Tid, ws, resume)
	}
	_ = d.lookAt(d.task, true) // what it did last
	if err := d.casualty(d.task, d.thread, d.status(d.index(d.task, d.thread)), ws); err != nil {
		return false, err
	}
	return false, fmt.Errorf("restore task %d: thread %d has ended under the debugger", d.task.Pid, d.thread.Tid)
}

// news passes on what is logged; over: the hook has returned.
func (d *debugged) news() (over bool, err error) {
	d.drainShared()
	if err := d.look(true); err != nil {
		return false, d.explain(err)
	}
	if err := d.cancelled(); err != nil {
		return false, err
	}
	st := d.status(d.index(d.task, d.thread))
	if d.alone && d.Opts.HookTimeout > 0 && time.Since(d.since) >= d.Opts.HookTimeout {
		return false, d.hookTimeout(d.task, d.thread, st)
	}
	return st.HookSeq != d.seq || st.State == abi.StateFailed, nil
}

// end gives the thread its mask, and the task its action for SIGTRAP, again.
func (d *debugged) end(whole bool) error {
	defer d.tracee.Memory.Close()
	if !whole {
		return d.server.Close(nil)
	}
	d.stopBy = d.Runner.end()
	err := d.stand()
	if err == nil {
		err = d.server.Close(d.tracee)
	}
	if err == nil {
		err = sys.SetSigmask(d.tracee.Tid, d.mask)
	}
	if err == nil && d.ignore {
		err = d.ignoreAgain()
	}
	return err
}

// stand stops a thread whose hook has returned without that being seen: it has overwritten what the thread reports.
func (d *debugged) stand() error {
	if d.ended {
		return nil
	}
	if err := sys.Interrupt(d.tracee.Tid); err != nil {
		return err
	}
	stopped := func(ws unix.WaitStatus) bool { return isEventStop(ws) && !isGroupStop(ws) }
	return d.waitStop(tracee{d.task, d.thread, d.tracee.Tid}, stopped, interruptAgain)
}

// ignoreAgain sets SIGTRAP's action by a system call of the thread, which stands in the core. Its argument lies below
// its stack and the red zone, psABI x86-64, 3.2.2.
func (d *debugged) ignoreAgain() error {
	const size, below = 32, 256 // struct sigaction of the kernel
	tid := d.tracee.Tid
	regs, err := sys.GetRegs(tid)
	if err != nil {
		return err
	}
	insn, ok := d.Plan.Image.CoreSymbol("core_syscall_insn")
	if !ok {
		return os.ErrNotExist
	}
	action := make([]byte, size)
	binary.LittleEndian.PutUint64(action, 1) // SIG_IGN
	at := (regs.Sp - below - size) &^ 15
	if err := d.tracee.Memory.Write(at, action); err != nil {
		return err
	}
	if err := prepareCall(tid, uint64(insn), uapi.SysRtSigaction, uint64(unix.SIGTRAP), at, 0, 8); err != nil {
		return err
	}
	if err := d.finishCalls("rt_sigaction of SIGTRAP", []tracee{{d.task, d.thread, tid}}); err != nil {
		return err
	}
	return sys.SetRegs(tid, &regs)
}
