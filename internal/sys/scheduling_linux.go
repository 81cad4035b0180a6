package sys

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// SetScheduling sets the policy of a thread, with SCHED_RESET_ON_FORK, its priority and its nice value, sched(7).
func SetScheduling(tid PID, policy, priority uint32, nice int) error {
	if err := fault("sched_setattr"); err != nil {
		return fmt.Errorf("sched_setattr of %d: %w", tid, err)
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy &^ unix.SCHED_RESET_ON_FORK,
		Priority: priority, Nice: int32(nice)}
	if policy&unix.SCHED_RESET_ON_FORK != 0 {
		attr.Flags = unix.SCHED_FLAG_RESET_ON_FORK
	}
	if err := unix.SchedSetAttr(int(tid), &attr, 0); err != nil {
		return fmt.Errorf("sched_setattr of %d: %w", tid, err)
	}
	// Only SCHED_OTHER and SCHED_BATCH take the nice value from there.
	if err := fault("setpriority"); err != nil {
		return fmt.Errorf("setpriority of %d: %w", tid, err)
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, int(tid), nice); err != nil {
		return fmt.Errorf("setpriority of %d: %w", tid, err)
	}
	return nil
}
