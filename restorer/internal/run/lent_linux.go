//go:build amd64

package run

import (
	"fmt"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// takeRegisters takes the registers as the hooks of the threads have left them. The core has checked them after each
// hook; they are checked again, because the task can write to them until it is stopped.
func (r *Runner) takeRegisters() error {
	for _, t := range r.Plan.Alive() {
		if t.Lent.Regs == 0 {
			continue
		}
		b := make([]byte, len(t.Threads)*abi.RegsSize)
		if err := sys.ReadProcess(r.pid(t), sys.Span{Addr: t.Lent.Regs, Data: b}); err != nil {
			return fmt.Errorf("restore task %d: the registers that hooks left: %w", t.Pid, err)
		}
		for i, th := range t.Threads {
			var regs abi.Regs
			regs.Get(b[i*abi.RegsSize:])
			if err := r.takeRegistersOf(t, th, &regs); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Runner) takeRegistersOf(t *plan.Task, th *plan.Thread, regs *abi.Regs) error {
	planned := taskview.FromRegs(&th.Regs, uint64(regs.Syscall))
	if why := taskview.CheckRegs(&planned, regs); why != "" {
		return fmt.Errorf("restore task %d: thread %d, registers that hooks left: %s", t.Pid, th.Tid, why)
	}
	r.noteRegisters(t, th, &planned, regs)
	taskview.SetRegs(&th.Regs, regs)
	return nil
}
