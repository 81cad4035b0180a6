package changes

import (
	"fmt"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/report"
)

// AddRegisters notes the registers that hooks have changed.
func (d *Diff) AddRegisters(tid int, was, is *abi.Regs) {
	taskview.ChangedRegs(was, is, func(name string, was, is uint64) {
		d.Registers = append(d.Registers, &report.Change{What: fmt.Sprintf("%s of thread %d", name, tid),
			Before: Address(was), After: Address(is)})
	})
}

// AddTimer notes a timer that hooks have changed.
func (d *Diff) AddTimer(was, is *abi.Timer) {
	if was.RemainingNs == is.RemainingNs && was.IntervalNs == is.IntervalNs {
		return
	}
	times := func(t *abi.Timer) string {
		return fmt.Sprintf("%d ns remain, interval %d ns", t.RemainingNs, t.IntervalNs)
	}
	d.Timers = append(d.Timers, &report.Change{What: taskview.TimerName(was), Before: times(was), After: times(is)})
}
