//go:build amd64

package restorer

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
)

// stopThreads stops every parked thread.
func (r *runner) stopThreads() error {
	for _, tid := range r.traced {
		if err := sys.Interrupt(tid); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	for _, tid := range r.traced {
		if err := waitStop(tid, func(ws unix.WaitStatus) bool { return sys.Event(ws) == unix.PTRACE_EVENT_STOP }); err != nil {
			return err
		}
	}
	return nil
}

// waitStop waits for a stop of the kind that good accepts; anything else at this point is a failure.
func waitStop(tid int, good func(unix.WaitStatus) bool) error {
	ws, err := sys.Wait(tid)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if !ws.Stopped() || !good(ws) {
		return fmt.Errorf("restore thread %d: unexpected wait status %#x at the end", tid, uint32(ws))
	}
	return nil
}

// finish removes the region from every task and gives every thread the registers it had.
func (r *runner) finish() error {
	layout := sys.XsaveLayout()
	length, err := r.xstateLength()
	if err != nil {
		return err
	}
	for _, t := range r.plan.Living() {
		if err := r.unmapRegion(t); err != nil {
			return err
		}
		for _, th := range t.Threads {
			if err := setRegisters(th, &layout, length); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *runner) announce() error {
	if r.opts.BeforeResume == nil {
		return nil
	}
	return r.opts.BeforeResume(r.plan.Tasks[0].Pid)
}

// xstateLength asks the kernel how long its XSAVE area is, bytes.
func (r *runner) xstateLength() (int, error) {
	buf := make([]byte, 16<<10) // AMX's area is just over 8 KiB
	n, err := sys.GetXstate(r.plan.Tasks[0].Pid, buf)
	if err != nil {
		return 0, fmt.Errorf("restore: %w", err)
	}
	return n, nil
}

// unmapRegion makes the leader carry out munmap(2) of the region. The call's return would find its own code gone, but
// the leader stops before it: it never executes another instruction there.
func (r *runner) unmapRegion(t *Task) error {
	insn, ok := r.plan.Image.CoreSymbol("core_syscall_insn")
	if !ok {
		return errors.New("restore: the core has no core_syscall_insn")
	}
	reg := &r.plan.Region
	regs, err := sys.GetRegs(t.Pid)
	if err != nil {
		return fmt.Errorf("restore task %d: %w", t.Pid, err)
	}
	regs.Ip = uint64(insn)
	regs.Ax, regs.OrigAx = sysMunmap, ^uint64(0)
	regs.Di, regs.Si = reg.Start, reg.End-reg.Start
	if err := sys.SetRegs(t.Pid, &regs); err != nil {
		return fmt.Errorf("restore task %d: %w", t.Pid, err)
	}
	for range 2 { // entry, exit
		if err := sys.ContinueToSyscall(t.Pid); err != nil {
			return fmt.Errorf("restore task %d: %w", t.Pid, err)
		}
		if err := waitStop(t.Pid, isSyscallStop); err != nil {
			return err
		}
	}
	if regs, err = sys.GetRegs(t.Pid); err != nil {
		return fmt.Errorf("restore task %d: %w", t.Pid, err)
	}
	if regs.Ax != 0 {
		return fmt.Errorf("restore task %d: munmap of the region: %w", t.Pid, unix.Errno(-int64(regs.Ax)))
	}
	return nil
}

func isSyscallStop(ws unix.WaitStatus) bool { return ws.StopSignal() == unix.SIGTRAP|0x80 }

func setRegisters(th *Thread, layout *sys.Xsave, length int) error {
	err := sys.SetXstate(th.Tid, th.Xstate.area(layout, length))
	if err == nil {
		err = sys.SetRegs(th.Tid, &th.Regs)
	}
	if err == nil {
		err = sys.SetSigmask(th.Tid, th.Sigmask)
	}
	if err == nil && th.RseqCSAddr != 0 {
		err = sys.Poke(th.Tid, th.RseqCSAddr, th.RseqCS)
	}
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// release detaches from every thread: from here on the application runs.
func (r *runner) release() error {
	for _, t := range r.plan.Living() {
		stop := unix.Signal(t.Stop)
		if stop == 0 && r.opts.LeaveStopped {
			stop = unix.SIGSTOP
		}
		if stop == 0 {
			continue
		}
		if err := sys.Kill(t.Pid, stop); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	for _, tid := range r.traced {
		if err := sys.Detach(tid); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	r.traced = nil
	return nil
}

// undo kills and collects whatever exists of the plan. Only processes that are this one's children or tracees are
// touched: a pid that somebody else has is never killed.
func (r *runner) undo() error {
	if r.zygote != 0 {
		r.reap(r.zygote)
		r.zygote = 0
	}
	if r.waking {
		r.hush()
	}
	var errs []error
	mine := r.existing()
	strays := r.strays(mine)
	if r.root != nil {
		errs = append(errs, r.root.Kill())
	}
	for _, pid := range mine {
		errs = append(errs, sys.Kill(pid, unix.SIGKILL))
	}
	for r.collectAll(&errs) { // the end of one may have made orphans of others, and those ours
	}
	errs = append(errs, endStrays(strays))
	if r.root != nil {
		errs = append(errs, r.root.Wait())
	}
	errs = append(errs, r.removeCgroups())
	r.plan.removeSockets()
	r.plan.removeMoments()
	return errors.Join(errs...)
}

// collectAll waits until every thread that is ours is gone; it reports whether there was one.
func (r *runner) collectAll(errs *[]error) (any bool) {
	for _, t := range r.plan.Tasks {
		for i := len(t.Threads) - 1; i >= 0; i-- { // the leader's end is reported after its threads'
			found, err := collect(t.Pid, t.Threads[i].Tid)
			any = any || found && err == nil
			*errs = append(*errs, err)
		}
	}
	return any
}

// existing lists the tasks that this process may wait for.
func (r *runner) existing() (pids []int) {
	for _, t := range r.plan.Tasks {
		if ours(t.Pid) {
			pids = append(pids, t.Pid)
		}
	}
	return pids
}

func ours(pid int) bool {
	_, _, err := sys.Poll(pid)
	return err == nil
}

// collect waits until a thread is gone: as its tracer, and again as what has become its parent. Who was only just created
// when its parent was killed is killed here. A thread that was never ours is gone in that sense, and not found.
func collect(pid, tid int) (found bool, err error) {
	for {
		ws, changed, err := sys.Poll(tid)
		switch {
		case errors.Is(err, unix.ECHILD):
			return found, nil
		case err != nil:
			return found, fmt.Errorf("undo: %w", err)
		}
		found = true
		if changed && (ws.Exited() || ws.Signaled()) {
			continue
		}
		if err := sys.Kill(pid, unix.SIGKILL); err != nil {
			return found, fmt.Errorf("undo: %w", err)
		}
		_ = sys.Continue(tid) // from PTRACE_EVENT_EXIT, which SIGKILL does not end; an error if it is not there
		time.Sleep(collectPause)
	}
}

const collectPause = 200 * time.Microsecond

// memfd offsets: the region without its stacks.
func (r *Region) planOff() uint64   { return r.Stacks - r.Start }
func (r *Region) memfdSize() uint64 { return r.planOff() + (r.End - r.Plan) }

// isGuard reports whether addr lies in the guard page below a stack.
func (r *Region) isGuard(addr uint64) bool {
	return addr >= r.Stacks && addr < r.Plan && (addr-r.Stacks)%stackSize < pageSize
}

// stubCalls is the table of the zygote's stub: map every part of the region.
func (r *Region) stubCalls(p *Plan) []stubCall {
	call := func(what string, addr, length uint64, prot, flags uint64, off uint64) stubCall {
		fd := uint64(zygoteMemfd)
		if flags&mapAnonymous != 0 {
			fd = ^uint64(0)
		}
		return stubCall{nr: sysMmap, want: int64(addr), what: what,
			args: [6]uint64{addr, length, prot, flags | mapFixedNoreplace, fd, off}}
	}
	var calls []stubCall
	for _, s := range p.Image.Segments {
		calls = append(calls, call("map the blob", uint64(s.Addr), pageAlign(uint64(s.MemSize)), uint64(s.Prot),
			mapPrivate, uint64(s.Addr)-r.Start))
	}
	calls = append(calls,
		call("map the shared pages", r.Shared, r.Stacks-r.Shared, protRead|protWrite, mapShared, r.Shared-r.Start),
		call("map the stacks", r.Stacks, r.Plan-r.Stacks, 0, mapPrivate|mapAnonymous|mapNoreserve, 0),
		call("map the plan", r.Plan, r.End-r.Plan, protRead, mapShared, r.planOff()))
	stack, size := r.stack(0)
	return append(calls, stubCall{nr: sysMprotect, want: 0, what: "prepare its stack",
		args: [6]uint64{stack, size, protRead | protWrite}})
}
