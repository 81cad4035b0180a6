//go:build amd64

package run

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// stopThreads stops every parked thread.
func (r *Runner) stopThreads() error {
	for _, th := range r.traced {
		if err := sys.Interrupt(th.tid); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	r.stopBy = r.end()
	for _, th := range r.traced {
		stopped := func(ws unix.WaitStatus) bool { return isEventStop(ws) && !isGroupStop(ws) }
		if err := r.waitStop(th, stopped, interruptAgain); err != nil {
			return err
		}
	}
	return nil
}

// interruptAgain resumes a thread and asks it to stop: a group-stop has answered the first request.
func interruptAgain(tid sys.PID) error {
	if err := sys.Continue(tid); err != nil {
		return err
	}
	return sys.Interrupt(tid)
}

// finish removes the region from every task and gives every thread the registers it had.
func (r *Runner) finish() error {
	layout := sys.XsaveLayout()
	length, err := r.xstateLength()
	if err != nil {
		return err
	}
	r.stopBy = r.end()
	if err := r.compareTasks(); err != nil {
		return err
	}
	r.stopBy = r.end() // the comparison may have read gigabytes
	if err := r.takeRegisters(); err != nil {
		return err
	}
	if err := r.leaveRegion(); err != nil {
		return err
	}
	for _, t := range r.Plan.Alive() {
		for _, th := range t.Threads {
			if err := setRegisters(r.tid(th), th, &layout, length); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Runner) announce() error {
	if r.Opts.BeforeResume == nil {
		return nil
	}
	return r.Opts.BeforeResume(r.Root())
}

// xstateLength asks the kernel how long its XSAVE area is, bytes.
func (r *Runner) xstateLength() (int, error) {
	area, err := sys.ReadXstate(r.pid(r.Plan.Tasks[0]))
	if err != nil {
		return 0, fmt.Errorf("restore: %w", err)
	}
	return len(area), nil
}

// leaveRegion makes every task unmap the region and become as dumpable as it was: only now may others look into it,
// ptrace(2). The region's first page is left until then, for the one instruction that is needed.
func (r *Runner) leaveRegion() error {
	reg := &r.Plan.Region
	insn, ok := r.Plan.Image.CoreSymbol("core_syscall_insn")
	if !ok || uint64(insn)-reg.Start >= memory.PageSize {
		return errors.New("restore: the core has no core_syscall_insn in its first page")
	}
	rest := reg.Start + memory.PageSize
	for _, c := range []call{
		{"munmap of the region", uapi.SysMunmap, func(*plan.Task) []uint64 {
			return []uint64{rest, reg.End - rest}
		}},
		{"prctl PR_SET_DUMPABLE", uapi.SysPrctl, func(t *plan.Task) []uint64 {
			if t.Dumpable < 0 {
				return nil
			}
			return []uint64{uapi.PrSetDumpable, uint64(t.Dumpable)}
		}},
		{"munmap of the region's first page", uapi.SysMunmap,
			func(*plan.Task) []uint64 { return []uint64{reg.Start, memory.PageSize} }},
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
	args func(t *plan.Task) []uint64
}

// everywhere makes the leaders carry out a system call, all at the same time. That of munmap(2) would find its own code
// gone when it returns, but the leader stops before that: it never executes another instruction there.
func (r *Runner) everywhere(c *call, insn uint64) error {
	var tasks []tracee
	for _, t := range r.Plan.Alive() {
		args := c.args(t)
		if args == nil {
			continue
		}
		tasks = append(tasks, tracee{t, t.Threads[0], r.pid(t)})
		if err := prepareCall(r.pid(t), insn, c.nr, args...); err != nil {
			return fmt.Errorf("restore task %d: %w", t.Pid, err)
		}
	}
	return r.finishCalls(c.what, tasks)
}

// finishCalls lets threads that are prepared make their system calls, all at the same time.
func (r *Runner) finishCalls(what string, tasks []tracee) error {
	for range 2 { // entry, exit
		if err := r.allToSyscall(tasks); err != nil {
			return err
		}
	}
	for _, t := range tasks {
		regs, err := sys.GetRegs(t.tid)
		if err != nil {
			return fmt.Errorf("restore task %d: %w", t.task.Pid, err)
		}
		if regs.Ax != 0 {
			return fmt.Errorf("restore task %d: %s: %w", t.task.Pid, what, unix.Errno(-int64(regs.Ax)))
		}
	}
	return nil
}

// prepareCall sets a thread's registers for a system call of up to four arguments.
func prepareCall(tid sys.PID, insn, nr uint64, args ...uint64) error {
	regs, err := sys.GetRegs(tid)
	if err != nil {
		return err
	}
	regs.Ip = insn
	regs.Ax, regs.OrigAx = nr, ^uint64(0)
	for i, to := range []*uint64{&regs.Di, &regs.Si, &regs.Dx, &regs.R10}[:len(args)] {
		*to = args[i]
	}
	return sys.SetRegs(tid, &regs)
}

// allToSyscall lets all threads run to their next system call at once, and then waits for each.
func (r *Runner) allToSyscall(tasks []tracee) error {
	for _, t := range tasks {
		if err := sys.ContinueToSyscall(t.tid); err != nil {
			return fmt.Errorf("restore task %d: %w", t.task.Pid, err)
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

// setRegisters gives a stopped thread all that ptrace(2) can set; the rest was set by the thread itself.
func setRegisters(tid sys.PID, th *plan.Thread, layout *sys.Xsave, length int) error {
	err := sys.SetXstate(tid, th.Xstate.Area(layout, length))
	if err == nil {
		err = sys.SetRegs(tid, &th.Regs)
	}
	if err == nil {
		err = sys.SetSigmask(tid, th.Sigmask)
	}
	if err == nil && th.RseqCSAddr != 0 {
		err = sys.Poke(tid, th.RseqCSAddr, th.RseqCS)
	}
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// schedule gives threads the place that they had among others: from here on none has to run before all are let go.
func (r *Runner) schedule() error {
	for _, t := range r.Plan.Alive() {
		for _, th := range t.Threads {
			s := th.Scheduling
			if s == nil {
				continue
			}
			if err := sys.SetScheduling(r.tid(th), s.Policy, s.Priority, s.Nice); err != nil {
				return fmt.Errorf("restore task %d: %w", t.Pid, err)
			}
		}
	}
	return nil
}

// letGo leaves the tasks to themselves.
func (r *Runner) letGo() error {
	if err := r.releaseFirst(); err != nil {
		return err
	}
	return r.release()
}

// release detaches from every thread: from here on the application runs.
func (r *Runner) release() error {
	for _, t := range r.Plan.Alive() {
		stop := unix.Signal(t.Stop)
		if stop == 0 && r.Opts.LeaveStopped {
			stop = unix.SIGSTOP
		}
		if stop == 0 {
			continue
		}
		if err := sys.Kill(r.pid(t), stop); err != nil {
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
// touched: a pid of another process is never killed.
func (r *Runner) undo() error {
	if r.zygote != 0 {
		r.reap(r.zygote)
		r.zygote = 0
	}
	if r.waking {
		r.reenterRepair()
	}
	var errs []error
	mine := r.existing()
	var strays []stray
	if !r.Plan.PidNamespace { // whose first process takes everybody with it
		strays = r.strays(mine)
	}
	errs = append(errs, r.killFirst())
	if r.root != nil && !r.embodied {
		errs = append(errs, r.root.Kill())
	}
	for _, pid := range mine {
		if !r.isBody(pid) {
			errs = append(errs, sys.Kill(pid, unix.SIGKILL))
		}
	}
	for r.collectAll(&errs) { // the end of one may have made orphans of others, and those ours
	}
	errs = append(errs, endStrays(strays))
	if r.root != nil && !r.embodied {
		errs = append(errs, r.root.Wait())
	}
	errs = append(errs, r.awaitFirst(), r.moveBody(), r.removeCgroups())
	removeSockets(r.Plan)
	removeMoments(r.Plan)
	return several.Join(errs...)
}

// collectAll waits until every thread that is ours is gone; it reports whether there was one.
func (r *Runner) collectAll(errs *[]error) (any bool) {
	for _, t := range slices.Backward(r.Plan.Tasks) { // the first of a pid namespace ends when all others are gone
		if r.isBody(r.pid(t)) {
			continue
		}
		for i := len(t.Threads) - 1; i >= 0; i-- { // the leader's end is reported after its threads'
			found, err := Collect(r.pid(t), r.tid(t.Threads[i]))
			any = any || found && err == nil
			*errs = append(*errs, err)
		}
	}
	return any
}

// existing lists the tasks that this process may wait for.
func (r *Runner) existing() (all []sys.PID) {
	for _, t := range r.Plan.Tasks {
		if pid := r.pids.find(t.Pid); ours(pid) {
			all = append(all, pid)
		}
	}
	return all
}

func ours(pid sys.PID) bool {
	_, _, err := sys.Poll(pid)
	return err == nil
}

// Collect waits until a thread is gone: as its tracer, and again as what has become its parent. Who was only just
// created when its parent was killed is killed here. A thread that was never ours is gone in that sense, and not found.
func Collect(pid, tid sys.PID) (found bool, err error) {
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

// stubCalls is the table of the zygote's stub: map every part of the region.
func stubCalls(r *plan.Region, p *plan.Plan) []stubCall {
	call := func(what string, addr, length, prot, flags, fd, off uint64) stubCall {
		return stubCall{nr: uapi.SysMmap, want: int64(addr), what: what,
			args: [6]uint64{addr, length, prot, flags | uapi.MapFixedNoreplace, fd, off}}
	}
	var calls []stubCall
	for _, s := range p.Image.Segments {
		calls = append(calls, call("map the blob", uint64(s.Addr), memory.PageUp(uint64(s.MemSize)),
			uint64(s.Prot),
			uapi.MapPrivate, plan.SealedFD, uint64(s.Addr)-r.Start))
	}
	const rw, nowhere = uapi.ProtRead | uapi.ProtWrite, ^uint64(0)
	calls = append(calls,
		call("map the shared memory", r.Shared, r.Control-r.Shared, rw, uapi.MapShared, plan.SharedFD, 0),
		call("map the control page", r.Control, r.Bell-r.Control, uapi.ProtRead, uapi.MapShared, plan.SealedFD,
			r.ControlOff()),
		call("map the bell", r.Bell, r.Stacks-r.Bell, rw, uapi.MapShared, plan.BellFD, 0),
		call("map the stacks and what is lent", r.Stacks, r.Plan-r.Stacks, 0,
			uapi.MapPrivate|uapi.MapAnonymous|uapi.MapNoreserve,
			nowhere, 0),
		call("map the plan", r.Plan, r.End-r.Plan, uapi.ProtRead, uapi.MapPrivate, plan.SealedFD, r.PlanOff()))
	stack, size := r.Stack(0)
	return append(calls, stubCall{nr: uapi.SysMprotect, want: 0, what: "prepare its stack",
		args: [6]uint64{stack, size, rw}})
}
