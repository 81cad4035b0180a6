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
	for _, th := range r.traced {
		if err := sys.Interrupt(th.tid); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	return r.limited(func() error {
		for _, th := range r.traced {
			stopped := func(ws unix.WaitStatus) bool { return isEventStop(ws) && !isGroupStop(ws) }
			if err := r.waitStop(th, stopped, interruptAgain); err != nil {
				return err
			}
		}
		return nil
	})
}

// interruptAgain resumes a thread and asks it to stop: a group-stop has answered the first request.
func interruptAgain(tid int) error {
	if err := sys.Continue(tid); err != nil {
		return err
	}
	return sys.Interrupt(tid)
}

// finish removes the region from every task and gives every thread the registers it had.
func (r *runner) finish() error {
	layout := sys.XsaveLayout()
	length, err := r.xstateLength()
	if err != nil {
		return err
	}
	if err := r.limited(r.leaveRegion); err != nil {
		return err
	}
	for _, t := range r.plan.Living() {
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

// leaveRegion makes every task unmap the region and become as dumpable as it was: only now may others look into it,
// ptrace(2). The region's first page is left until then, for the one instruction that is needed.
func (r *runner) leaveRegion() error {
	reg := &r.plan.Region
	insn, ok := r.plan.Image.CoreSymbol("core_syscall_insn")
	if !ok || uint64(insn)-reg.Start >= pageSize {
		return errors.New("restore: the core has no core_syscall_insn in its first page")
	}
	rest := reg.Start + pageSize
	for _, c := range []call{
		{"munmap of the region", sysMunmap, func(*Task) []uint64 { return []uint64{rest, reg.End - rest} }},
		{"prctl PR_SET_DUMPABLE", sysPrctl, func(t *Task) []uint64 {
			if t.Dumpable < 0 {
				return nil
			}
			return []uint64{prSetDumpable, uint64(t.Dumpable)}
		}},
		{"munmap of the region's first page", sysMunmap, func(*Task) []uint64 { return []uint64{reg.Start, pageSize} }},
	} {
		if err := r.everywhere(&c, uint64(insn)); err != nil {
			return err
		}
	}
	return nil
}

// call is a system call for every task that has arguments for it.
type call struct {
	what string
	nr   uint64
	args func(t *Task) []uint64
}

// everywhere makes the leaders carry out a system call, all at the same time. That of munmap(2) would find its own code
// gone when it returns, but the leader stops before that: it never executes another instruction there.
func (r *runner) everywhere(c *call, insn uint64) error {
	var tasks []tracee
	for _, t := range r.plan.Living() {
		args := c.args(t)
		if args == nil {
			continue
		}
		tasks = append(tasks, tracee{t, t.Pid})
		if err := t.prepare(c, insn, args); err != nil {
			return fmt.Errorf("restore task %d: %w", t.Pid, err)
		}
	}
	for range 2 { // entry, exit
		if err := r.allToSyscall(tasks); err != nil {
			return err
		}
	}
	for _, t := range tasks {
		regs, err := sys.GetRegs(t.tid)
		if err != nil {
			return fmt.Errorf("restore task %d: %w", t.tid, err)
		}
		if regs.Ax != 0 {
			return fmt.Errorf("restore task %d: %s: %w", t.tid, c.what, unix.Errno(-int64(regs.Ax)))
		}
	}
	return nil
}

// prepare sets the leader's registers for a system call.
func (t *Task) prepare(c *call, insn uint64, args []uint64) error {
	regs, err := sys.GetRegs(t.Pid)
	if err != nil {
		return err
	}
	regs.Ip = insn
	regs.Ax, regs.OrigAx = c.nr, ^uint64(0)
	regs.Di, regs.Si = args[0], args[1]
	return sys.SetRegs(t.Pid, &regs)
}

func (r *runner) allToSyscall(tasks []tracee) error {
	for _, t := range tasks {
		if err := sys.ContinueToSyscall(t.tid); err != nil {
			return fmt.Errorf("restore task %d: %w", t.tid, err)
		}
	}
	for _, t := range tasks {
		if err := r.waitStop(t, isSyscallStop, sys.ContinueToSyscall); err != nil {
			return err
		}
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
	for _, th := range r.traced {
		if err := sys.Detach(th.tid); err != nil {
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

// isGuard reports whether addr lies in the guard page below a stack.
func (r *Region) isGuard(addr uint64) bool {
	return addr >= r.Stacks && addr < r.Plan && (addr-r.Stacks)%stackSize < pageSize
}

// stubCalls is the table of the zygote's stub: map every part of the region.
func (r *Region) stubCalls(p *Plan) []stubCall {
	call := func(what string, addr, length, prot, flags, fd, off uint64) stubCall {
		return stubCall{nr: sysMmap, want: int64(addr), what: what,
			args: [6]uint64{addr, length, prot, flags | mapFixedNoreplace, fd, off}}
	}
	var calls []stubCall
	for _, s := range p.Image.Segments {
		calls = append(calls, call("map the blob", uint64(s.Addr), pageAlign(uint64(s.MemSize)), uint64(s.Prot),
			mapPrivate, sealedFD, uint64(s.Addr)-r.Start))
	}
	const rw, nowhere = protRead | protWrite, ^uint64(0)
	calls = append(calls,
		call("map the shared memory", r.Shared, r.Control-r.Shared, rw, mapShared, sharedFD, 0),
		call("map the control page", r.Control, r.Bell-r.Control, protRead, mapShared, sealedFD, r.controlOff()),
		call("map the bell", r.Bell, pageSize, rw, mapShared, bellFD, 0),
		call("map the stacks", r.Stacks, r.Plan-r.Stacks, 0, mapPrivate|mapAnonymous|mapNoreserve, nowhere, 0),
		call("map the plan", r.Plan, r.End-r.Plan, protRead, mapPrivate, sealedFD, r.planOff()))
	stack, size := r.stack(0)
	return append(calls, stubCall{nr: sysMprotect, want: 0, what: "prepare its stack",
		args: [6]uint64{stack, size, rw}})
}
