//go:build amd64

package inject

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/backtrace"
	"github.com/crpie/crpie/internal/changes"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/stage"
)

// enter makes one call into a plugin.
func (p *target) enter(c functionCall) (int32, error) {
	t := p.threads[c.thread]
	call := &Call{Plugin: p.image.PluginName(c.plugin), Stage: c.stage, Hook: c.stage.String(), Tid: p.shownTid(t),
		Early: early(c.stage)}
	if err := p.prepare(t, &c); err != nil {
		return 0, err
	}
	p.report.Calls = append(p.report.Calls, call)
	p.trace, p.lastError = p.startTrace(call), ""
	begun := time.Now()
	result, err := p.followCall(t, &c)
	call.Took, call.Result, call.Skipped = time.Since(begun), result, result == -int32(unix.ENOTSUP)
	if err == nil && (result == 0 || call.Skipped) {
		err = p.takeChanges(t, &c, call.Skipped)
	}
	if err == nil && failed(c.stage, result) {
		e := p.hookError(t, &c, c.fn, "returned "+resultText(result))
		if e.Errno = errnoOf(result); e.Errno != 0 && p.lastError != "" {
			e.Cause += ": " + escape.Name(p.lastError)
		}
		err = e
	}
	if err != nil {
		call.Failed = true
		return 0, &HookFailed{Report: p.session.report, Err: err}
	}
	return result, p.giveBack(t)
}

// shownTid is the number by which people know a thread: a copy's is its leader's.
func (p *target) shownTid(t *thread) int {
	if p.copy {
		return int(p.self.pid)
	}
	return int(t.tid)
}

// prepare writes the context and the frame for a call and sets the thread's registers to it.
func (p *target) prepare(t *thread, c *functionCall) error {
	if err := p.save(t); err != nil {
		return err
	}
	if err := p.saveXstate(t); err != nil {
		return err
	}
	at := p.region.frame + frameStart
	err := p.mem.Write(at, frame(at, p.symbol("inject_return"), &t.regs, t.mask, t.xstate, &p.xsave))
	if err == nil {
		ctx := p.context(t, c)
		b := make([]byte, abi.CtxSize)
		ctx.Put(b)
		err = p.mem.Write(p.region.arena, b)
	}
	if err == nil {
		err = p.lend(t, c)
	}
	if err == nil {
		t.lent = true
		err = sys.SetRegs(t.tid, p.atHook(t, c, at)) // from here on the frame leads back
	}
	if err == nil {
		t.vectors = true
		err = sys.SetXstate(t.tid, initialXstate(len(t.xstate)))
	}
	if err == nil {
		t.blocked = false
		err = sys.SetSigmask(t.tid, blockOthers())
	}
	if err != nil {
		return p.problem("%w", err)
	}
	return nil
}

// saveXstate keeps the vector registers, once: a hook may use them all.
func (p *target) saveXstate(t *thread) error {
	if t.xstate != nil {
		return nil
	}
	area, err := sys.ReadXstate(t.tid)
	if err != nil {
		return p.problem("%w", err)
	}
	t.xstate = area
	return nil
}

// context is what the call is told.
func (p *target) context(t *thread, c *functionCall) abi.Ctx {
	ctx, plugin := p.ctx, &p.table.plugins[c.plugin]
	ctx.Hook, ctx.Tid = uint32(c.stage), int32(t.inner)
	ctx.Plugin, ctx.Params, ctx.NrParams = plugin.Name, plugin.Params, plugin.NrParams
	switch c.stage {
	case stage.PreSigreturnThread:
		ctx.Regs, ctx.Timers = p.region.regs(), 0
	case stage.PreSigreturn:
		ctx.NrTimers = uint64(len(p.timers))
	default:
		ctx.Timers = 0
	}
	return ctx
}

// atHook are the registers with which a function begins. A hook takes (ctx), an init (stage, ctx) and an exit (stage,
// ret, ctx).
func (p *target) atHook(t *thread, c *functionCall, frame uint64) *sys.Regs {
	regs := t.regs
	ctx := p.region.arena
	regs.Di, regs.Si, regs.Dx = ctx, 0, 0
	switch c.stage {
	case stage.Init:
		regs.Di, regs.Si = p.purpose(), ctx
	case stage.Exit:
		regs.Di, regs.Si, regs.Dx = p.purpose(), 0, ctx
	}
	const interrupts = 0x202 // rflags of a program: IF, and a bit that is always set
	regs.Ip, regs.Sp, regs.Bp, regs.OrigAx, regs.Flags = c.fn, frame, 0, ^uint64(0), interrupts
	return &regs
}

// purpose is what init and exit are told, CR_PLUGIN_STAGE__* of abi.h.
func (s *session) purpose() uint64 {
	const dump, restore = 0, 2
	if aroundDump(s.opts.Stages) {
		return dump
	}
	return restore
}

// followCall lets a call run to its end, with a debugger where one is asked for.
func (p *target) followCall(t *thread, c *functionCall) (int32, error) {
	if p.pauses(c) {
		return p.debug(t, c)
	}
	return p.follow(t, c)
}

// follow lets a call run to its end.
func (p *target) follow(t *thread, c *functionCall) (int32, error) {
	for end := p.hookEnd(); ; {
		ws, err := p.await(t, end)
		if err == errLate {
			return 0, p.overrun(t, c)
		}
		if err != nil {
			return 0, err
		}
		done, result, err := p.judge(t, c, ws)
		if done || err != nil {
			return result, err
		}
	}
}

// judge decides what a stop of a thread that runs a hook means.
func (p *target) judge(t *thread, c *functionCall, ws unix.WaitStatus) (done bool, result int32, err error) {
	switch kindOf(ws) {
	case stopSignal:
		return false, 0, p.judgeSignal(t, c)
	case stopSyscall:
	default:
		return false, 0, nil
	}
	info, err := sys.GetSyscallInfo(t.tid)
	if err != nil {
		return false, 0, p.problem("%w", err)
	}
	if info.Op == sys.SyscallExit {
		p.trace.Ends(info.Result)
		p.touched.Ends(info.Result)
		return false, 0, nil
	}
	switch p.entries.meaningOf(&info) {
	case callReturn:
		_, err := p.toEnd(t)
		return true, int32(info.Args[0]), err
	case callLog:
		p.log(t, c, &info)
		_, err := p.toEnd(t)
		return false, 0, err
	case callLeaves:
		p.trace.Begins(&info)
		return false, 0, p.keepIn(t, c, &info)
	}
	p.trace.Begins(&info)
	if p.before != nil {
		p.touched.Begins(t.tid, &info, p.mem, p.before.vmas)
	}
	t.slept = t.slept || slices.Contains(sleeps, info.Nr)
	return false, 0, nil
}

// keepIn makes a system call that would end or replace the process fail, and the hook with it.
func (p *target) keepIn(t *thread, c *functionCall, info *sys.SyscallInfo) error {
	regs, err := sys.GetRegs(t.tid)
	if err == nil {
		regs.OrigAx = ^uint64(0)
		err = sys.SetRegs(t.tid, &regs)
	}
	if err != nil {
		return p.problem("%w", err)
	}
	if _, err := p.toEnd(t); err != nil {
		return err
	}
	regs.Ip = info.Ip
	cause := "called " + leaving(info.Nr)
	if info.Nr == unix.SYS_EXIT || info.Nr == unix.SYS_EXIT_GROUP {
		cause += fmt.Sprintf("(%d)", int32(info.Args[0]))
	}
	return p.hookErrorAt(t, c, &regs, cause)
}

// judgeSignal decides on a signal that arrives during a hook: a crash of the hook ends the attempt, every other signal
// waits until the program goes on. A signal that is ignored is no longer so after a crash, because the kernel resets it
// (force_sig).
func (p *target) judgeSignal(t *thread, c *functionCall) error {
	info, err := sys.GetSigInfo(t.tid)
	if err != nil {
		return p.problem("%w", err)
	}
	if meaningOf(info.Signo(), info.Code()) != signalCrash {
		return p.keepSignal(t)
	}
	regs, err := sys.GetRegs(t.tid)
	if err != nil {
		return p.problem("%w", err)
	}
	if p.status.set("SigIgn")&bit(info.Signo()) != 0 {
		p.ignored = append(p.ignored, info.Signo())
	}
	cause := "crashed with " + changes.SignalName(info.Signo())
	if info.Signo() != unix.SIGTRAP && info.Signo() != unix.SIGSYS {
		cause += fmt.Sprintf(" at address %#x", info.Addr())
	}
	if p.region.inGuard(info.Addr()) {
		cause += fmt.Sprintf(", the guard of its stack (a hook has %d KiB)", stackSize>>10)
	}
	return p.hookErrorAt(t, c, &regs, cause)
}

var errLate = errors.New("late")

// await lets a thread run until its next stop, the end of its time, or of the session.
func (p *target) await(t *thread, end time.Time) (unix.WaitStatus, error) {
	if err := sys.ContinueToSyscall(t.tid); err != nil {
		return 0, p.problem("%w", err)
	}
	t.stopped = false
	for {
		const slice = 50 * time.Millisecond // how soon the end of the session is seen
		ws, changed, err := sys.WaitUntil(t.tid, earlier(end, time.Now().Add(slice)))
		switch {
		case err != nil:
			return 0, p.problem("%w", err)
		case changed && kindOf(ws) == stopGone:
			p.forget(t)
			return 0, p.problem("thread %d was killed", t.tid)
		case changed:
			t.stopped = true
			return ws, nil
		case p.session.ctx.Err() != nil || !end.IsZero() && time.Now().After(end):
			return 0, errLate
		}
	}
}

func earlier(end, other time.Time) time.Time {
	if end.IsZero() || other.Before(end) {
		return other
	}
	return end
}

// hookEnd is when a call that begins now has to have returned; zero: never.
func (p *target) hookEnd() time.Time {
	if p.opts.HookTimeout == 0 {
		return time.Time{}
	}
	return time.Now().Add(p.opts.HookTimeout)
}

// overrun stops a thread whose hook takes too long, and says where it was.
func (p *target) overrun(t *thread, c *functionCall) error {
	if err := sys.Interrupt(t.tid); err != nil {
		return p.problem("%w", err)
	}
	for end := p.stopBy(); ; {
		ws, changed, err := sys.WaitUntil(t.tid, end)
		switch {
		case err != nil:
			return p.problem("%w", err)
		case !changed:
			return p.hookError(t, c, c.fn, "does not stop")
		}
		if kindOf(ws) == stopGone {
			p.forget(t)
			return p.problem("thread %d was killed", t.tid)
		}
		t.stopped = true
		if kindOf(ws) == stopAsked {
			break
		}
		done, _, err := p.judge(t, c, ws)
		if err != nil {
			return err
		}
		if done {
			break
		}
		if err := interruptAgain(t.tid); err != nil {
			return p.problem("%w", err)
		}
		t.stopped = false
	}
	regs, err := sys.GetRegs(t.tid)
	if err != nil {
		return p.problem("%w", err)
	}
	if err := context.Cause(p.session.ctx); err != nil {
		return err
	}
	return p.hookErrorAt(t, c, &regs, fmt.Sprintf("still running after %v (--pie-timeout)", p.opts.HookTimeout))
}

// interruptAgain asks a thread again: any stop takes the request with it. It stops at a system call that comes before,
// too: by one the hook returns, or ends the process.
func interruptAgain(tid sys.PID) error {
	if err := sys.ContinueToSyscall(tid); err != nil {
		return err
	}
	return sys.Interrupt(tid)
}

func (p *target) hookError(t *thread, c *functionCall, at uint64, cause string) *report.HookError {
	loc, _ := p.image.Locate(blob.Addr(at))
	return &report.HookError{
		During: "try", Plugin: p.image.PluginName(c.plugin), Hook: c.stage, Pid: int(p.self.pid), Tid: p.shownTid(t),
		Where: p.image.Describe(blob.Addr(at)), Cause: cause, Location: loc,
	}
}

// hookErrorAt describes a hook that failed where a stopped thread is, with the callers.
func (p *target) hookErrorAt(t *thread, c *functionCall, regs *sys.Regs, cause string) *report.HookError {
	err := p.hookError(t, c, regs.Ip, cause)
	stackEnd := p.region.stack + stackSize
	if regs.Sp < p.region.guard || regs.Sp > stackEnd {
		stackEnd = 0 // nothing of a stack
	}
	trace := backtrace.Of(&backtrace.Thread{Pid: int(p.pid), Image: p.image, Registers: regs.Numbered(),
		StackEnd: stackEnd, Read: func(addr uint64, b []byte) bool { return p.mem.Read(addr, b) == nil }})
	err.Where, err.Callers, err.Location = trace.Where, trace.Callers, trace.Location
	return err
}

// log passes on a line that a plugin logs.
func (p *target) log(t *thread, c *functionCall, info *sys.SyscallInfo) {
	level := min(max(report.LogLevel(uint32(info.Args[1])), report.LogError), report.LogDebug)
	shown := p.opts.Log != nil && level <= p.opts.LogLevel
	if !shown && level > report.LogError {
		return
	}
	text := make([]byte, min(info.Args[3], abi.LogLineMax))
	text = text[:p.mem.ReadSome(info.Args[2], text)]
	if level == report.LogError {
		p.lastError = string(text)
	}
	if !shown {
		return
	}
	p.opts.Log(report.Line{Level: level, Pid: int(p.self.pid), Tid: p.shownTid(t), Hook: c.stage,
		Plugin: p.image.PluginName(c.plugin), Text: string(text)})
}

func errnoOf(result int32) unix.Errno {
	if result < 0 && result > -4096 {
		return unix.Errno(-result)
	}
	return 0
}

func resultText(result int32) string {
	if name := unix.ErrnoName(unix.Errno(-result)); result < 0 && name != "" {
		return fmt.Sprintf("%d (%s)", result, name)
	}
	return fmt.Sprintf("%d, which is neither 0 nor a negative errno (-ENOTSUP is %d)", result, -int(unix.ENOTSUP))
}
