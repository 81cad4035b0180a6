//go:build amd64

package inject

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/gdbserver"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/pause"
)

// pauses reports whether a call waits for a debugger.
func (p *target) pauses(c *functionCall) bool {
	o := p.opts.Pause
	if o == nil || c.stage != o.At.Stage {
		return false
	}
	index := o.At.Index(p.opts.Plugins)
	return index == pause.EveryPlugin || int(index) == c.plugin
}

// debugged is a call that gdb looks at. Its thread is at the first instruction of the hook.
type debugged struct {
	*target
	thread *thread
	call   *functionCall
	tracee *gdbserver.Tracee
	server *gdbserver.Server
	asked  bool // the thread to stop, because gdb wants it
}

// debug serves gdb until the hook has returned. No time limit counts until it is let go.
func (p *target) debug(t *thread, c *functionCall) (int32, error) {
	server, err := gdbserver.Listen()
	if err != nil {
		return 0, p.problem("pause: %w", err)
	}
	d := &debugged{target: p, thread: t, call: c, server: server,
		tracee: &gdbserver.Tracee{Pid: p.pid, Tid: t.tid, Memory: p.mem, Mapped: true, Beside: p.beside(t)}}
	d.keepTrap()
	defer d.announce()()
	result, err := d.follow()
	if failed := server.Close(d.tracee); failed != nil && err == nil {
		err = p.problem("pause: %w", failed)
	}
	return result, err
}

// beside lists the other threads, which stand still.
func (p *target) beside(t *thread) (tids []int) {
	for _, other := range p.threads {
		if other != t && other.stopped {
			tids = append(tids, int(other.tid))
		}
	}
	return tids
}

// keepTrap notes that SIGTRAP is ignored: breakpoints and steps reset its action (force_sig).
func (d *debugged) keepTrap() {
	if d.status.set("SigIgn")&bit(unix.SIGTRAP) != 0 && !slices.Contains(d.ignored, unix.SIGTRAP) {
		d.ignored = append(d.ignored, unix.SIGTRAP)
	}
}

// announce tells that the thread waits; over has to be called when it does no more.
func (d *debugged) announce() (over func()) {
	return d.opts.Pause.Tell(&pause.Waiting{Pid: int(d.pid), Tid: int(d.thread.tid), Stage: d.call.stage,
		Plugin: d.image.PluginName(d.call.plugin),
		GDB:    pause.Command(d.image, d.opts.Plugins, int(d.pid), d.server.Path())})
}

// follow lets the thread stand and run as gdb says. When it is let go it runs as without a debugger.
func (d *debugged) follow() (int32, error) {
	for signal := unix.SIGTRAP; ; {
		resume, err := d.server.Serve(d.session.ctx, d.tracee, int(signal), d.opts.Pause.GoOn)
		if errors.Is(err, gdbserver.ErrKilled) {
			d.forget(d.thread)
			err = d.problem("thread %d: %w", d.thread.tid, err)
		}
		if err != nil {
			return 0, err
		}
		if signal != unix.SIGTRAP && signal != unix.SIGINT { // the hook has crashed
			_, _, err := d.judge(d.thread, d.call, unix.WaitStatus(uint32(signal)<<8|0x7f))
			return 0, err
		}
		if d.server.Gone() {
			return d.target.follow(d.thread, d.call)
		}
		var done bool
		var result int32
		if signal, done, result, err = d.run(resume.Step); done || err != nil {
			return result, err
		}
	}
}

// run lets the thread run until it stops for gdb, with a signal, or the hook has returned. A step over a system call is
// one to its end: it may be the one by which the hook returns.
func (d *debugged) run(step bool) (signal unix.Signal, done bool, result int32, err error) {
	resume, overCall := sys.ContinueToSyscall, step && d.tracee.AtSystemCall()
	if step && !overCall {
		resume = sys.Step
	}
	for {
		ws, err := d.await(resume)
		if err != nil {
			return 0, false, 0, err
		}
		switch signal, stop := d.stopOf(ws); {
		case stop && signal == unix.SIGTRAP:
			return signal, false, 0, d.settle()
		case stop:
			return signal, false, 0, nil
		case overCall && kindOf(ws) == stopSyscall:
			info, err := sys.GetSyscallInfo(d.thread.tid)
			if err == nil && info.Op == sys.SyscallExit {
				d.trace.Ends(info.Result)
				d.touched.Ends(info.Result)
				return unix.SIGTRAP, false, 0, nil
			}
		}
		if done, result, err := d.judge(d.thread, d.call, ws); done || err != nil {
			return 0, done, result, err
		}
		if overCall && d.atExit() {
			return unix.SIGTRAP, false, 0, nil
		}
	}
}

// settle exchanges the stop at which SIGTRAP is about to be delivered for one without a signal: if crpie is killed
// meanwhile the thread goes on instead of dying. PTRACE_INTERRUPT takes effect before the next instruction and before
// any other signal, kernel/signal.c get_signal.
func (d *debugged) settle() error {
	t := d.thread
	err := sys.Interrupt(t.tid)
	if err == nil {
		err = sys.Continue(t.tid)
	}
	if err != nil {
		return d.problem("%w", err)
	}
	t.stopped = false
	ws, changed, err := sys.WaitUntil(t.tid, d.stopBy())
	switch {
	case err != nil:
		return d.problem("%w", err)
	case !changed:
		return d.problem("thread %d does not stop again for the debugger", t.tid)
	case kindOf(ws) == stopGone:
		d.forget(t)
		return d.problem("thread %d was killed", t.tid)
	}
	t.stopped = true
	if kind := kindOf(ws); kind != stopAsked && kind != stopGroup {
		return d.problem("thread %d: unexpected wait status %#x under the debugger", t.tid, uint32(ws))
	}
	return nil
}

// atExit reports whether the thread stands behind a system call, to whose end judge has let it run.
func (d *debugged) atExit() bool {
	info, err := sys.GetSyscallInfo(d.thread.tid)
	return err == nil && info.Op == sys.SyscallExit
}

// stopOf tells whether a stop is for gdb: a breakpoint or a step, a crash, or what gdb has asked for.
func (d *debugged) stopOf(ws unix.WaitStatus) (signal unix.Signal, stop bool) {
	switch kindOf(ws) {
	case stopAsked:
		asked := d.asked
		d.asked = false
		return unix.SIGINT, asked
	case stopSignal:
	default:
		return 0, false
	}
	info, err := sys.GetSigInfo(d.thread.tid)
	if err != nil || meaningOf(info.Signo(), info.Code()) != signalCrash {
		return 0, false
	}
	if info.Signo() == unix.SIGTRAP {
		_ = d.server.AtTrap(d.tracee)
	}
	return info.Signo(), true
}

// await lets the thread run until its next stop, or the end of the session.
func (d *debugged) await(resume func(sys.PID) error) (unix.WaitStatus, error) {
	t := d.thread
	if err := resume(t.tid); err != nil {
		return 0, d.problem("%w", err)
	}
	t.stopped = false
	for {
		const slice = 5 * time.Millisecond
		ws, changed, err := sys.WaitUntil(t.tid, time.Now().Add(slice))
		switch {
		case err != nil:
			return 0, d.problem("%w", err)
		case changed && kindOf(ws) == stopGone:
			d.forget(t)
			return 0, d.problem("thread %d was killed", t.tid)
		case changed:
			t.stopped = true
			return ws, nil
		case d.session.ctx.Err() != nil:
			return 0, d.overrun(t, d.call)
		case d.server.Interrupted():
			d.asked = true
			if err := sys.Interrupt(t.tid); err != nil {
				return 0, d.problem("%w", err)
			}
		}
	}
}
