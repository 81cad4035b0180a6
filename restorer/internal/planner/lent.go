package planner

import (
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/stage"
)

// lent is what the late hooks of a task may change, as it was dumped.
type lent struct {
	regs   []abi.Regs // by thread
	timers []abi.Timer
}

// lends gives what is lent to a task's hooks: nothing to those that cannot see it.
func (p *planner) lends(img *images.Task) (l lent) {
	if img.Dead() {
		return lent{}
	}
	if p.running(img.Pid, stage.PreSigreturnThread) != nil {
		for _, th := range img.Threads {
			l.regs = append(l.regs, taskview.RegsOf(th.Core))
		}
	}
	if p.running(img.Pid, stage.PreSigreturn) != nil {
		l.timers = taskview.TimersOf(img.Core.GetTc().GetTimers())
	}
	return l
}

func (l *lent) size() uint64 { return uint64(len(l.regs)*abi.RegsSize + len(l.timers)*abi.TimerSize) }

// lend lets the hooks of the late stages have it in memory of the task's own. That comes before the limits for memory.
func (t *taskPlanner) lend() {
	l, p := t.lends(t.Img), t.Prog
	if l.size() == 0 {
		return
	}
	dumped := memory.Records(p.Arena, l.regs)
	timers := memory.Records(p.Arena, l.timers)
	at := t.Plan.Region.Lent
	t.Task.Lent.Timers, t.Task.Lent.DumpedTimers = at+timers-dumped, timers
	t.Task.Lent.NrTimers = len(l.timers)
	if len(l.regs) > 0 {
		t.Task.Lent.Regs = at
	}
	p.Sys("what late hooks may change", uapi.SysMprotect, at, memory.PageUp(l.size()),
		uapi.ProtRead|uapi.ProtWrite)
	p.Core("registers and timers", abi.CopyMemory{To: at, From: dumped, Len: l.size()})
}
