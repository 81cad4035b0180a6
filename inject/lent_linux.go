//go:build amd64

package inject

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/changes"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/stage"
)

// lend writes what a hook may change to where its context points: the registers of the thread, or the timers.
func (p *target) lend(t *thread, c *functionCall) error {
	switch c.stage {
	case stage.PreSigreturnThread:
		p.lentRegs = shownRegs(t)
		return p.mem.Write(p.region.regs(), recordBytes(&p.lentRegs))
	case stage.PreSigreturn:
		return p.mem.Write(p.ctx.Timers, p.timerBytes())
	}
	return nil
}

// shownRegs are the registers with which the thread would go on: a system call that was interrupted is made again.
func shownRegs(t *thread) abi.Regs {
	back := restarted(t.regs)
	return taskview.FromRegs(&back, t.regs.OrigAx)
}

func recordBytes(r memory.Record) []byte {
	b := make([]byte, r.Bytes())
	r.Put(b)
	return b
}

func (p *target) timerBytes() []byte {
	a := memory.NewArena(0)
	memory.Records(a, p.timers)
	return a.Contents()
}

// takeChanges takes what a hook that has not failed has changed: registers only if it has returned 0.
func (p *target) takeChanges(t *thread, c *functionCall, skipped bool) error {
	switch {
	case c.stage == stage.PreSigreturnThread && !skipped:
		return p.takeRegs(t, c)
	case c.stage == stage.PreSigreturn:
		return p.takeTimers(t, c)
	}
	return nil
}

// takeRegs gives the thread the registers that a hook has left.
func (p *target) takeRegs(t *thread, c *functionCall) error {
	var regs abi.Regs
	b := make([]byte, abi.RegsSize)
	if err := p.mem.Read(p.region.regs(), b); err != nil {
		return p.problem("%w", err)
	}
	regs.Get(b)
	if why := taskview.CheckRegs(&p.lentRegs, &regs); why != "" {
		return p.hookError(t, c, c.fn, "left registers that the thread cannot have: "+why)
	}
	if regs == p.lentRegs {
		return nil
	}
	p.noteRegs(t, &regs)
	taskview.SetRegs(&t.regs, &regs)
	p.gateOf = nil // the trampoline leads to where the thread was
	return nil
}

func (p *target) noteRegs(t *thread, regs *abi.Regs) {
	if p.report.Diff == nil {
		return
	}
	p.diff.AddRegisters(p.shownTid(t), &p.lentRegs, regs)
}

// readTimers asks the process how its timers stand, if a hook is going to see them.
func (p *target) readTimers() error {
	last := func(h abi.TableHook) bool { return stage.Stage(h.Hook) == stage.PreSigreturn }
	if !slices.ContainsFunc(p.table.hooks, last) {
		return nil
	}
	for _, timer := range p.view.timers {
		nr, args := uint64(unix.SYS_GETITIMER), []uint64{uint64(timer.Kind), p.region.arena}
		if timer.Kind == abi.TimerPosix {
			nr, args = unix.SYS_TIMER_GETTIME, []uint64{uint64(timer.ID), p.region.arena}
		}
		result, err := p.ask(p.threads[0], nr, args...)
		if err != nil {
			return err
		}
		spec := make([]byte, 32)
		if err := p.mem.Read(p.region.arena, spec); err != nil {
			return p.problem("%w", err)
		}
		setTimes(&timer, changes.Words(spec))
		if result == 0 && (timer.Kind == abi.TimerPosix || timer.RemainingNs != 0) {
			p.timers = append(p.timers, timer)
		}
	}
	return nil
}

// takeTimers sets the timers that a hook has changed.
func (p *target) takeTimers(t *thread, c *functionCall) error {
	b := make([]byte, len(p.timers)*abi.TimerSize)
	if err := p.mem.Read(p.ctx.Timers, b); err != nil {
		return p.problem("%w", err)
	}
	for i := range p.timers {
		var timer abi.Timer
		timer.Get(b[i*abi.TimerSize:])
		was := &p.timers[i]
		if why := taskview.CheckTimer(was, &timer); why != "" {
			return p.hookError(t, c, c.fn, "left a timer that cannot be: "+why)
		}
		if timer.RemainingNs == was.RemainingNs && timer.IntervalNs == was.IntervalNs {
			continue
		}
		if err := p.setTimer(&timer); err != nil {
			return err
		}
		p.noteTimer(was, &timer)
		*was = timer
	}
	return nil
}

func (p *target) setTimer(timer *abi.Timer) error {
	if err := p.mem.Write(p.region.arena, timerSpec(timer)); err != nil {
		return p.problem("%w", err)
	}
	var err error
	if timer.Kind == abi.TimerPosix {
		_, err = p.remote(p.threads[0], "timer_settime", unix.SYS_TIMER_SETTIME, uint64(timer.ID), 0, p.region.arena, 0)
	} else {
		_, err = p.remote(p.threads[0], "setitimer", unix.SYS_SETITIMER, uint64(timer.Kind), p.region.arena, 0)
	}
	return err
}

func (p *target) noteTimer(was, is *abi.Timer) {
	if p.report.Diff == nil {
		return
	}
	p.diff.AddTimer(was, is)
}
