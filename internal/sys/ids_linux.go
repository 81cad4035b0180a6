package sys

import (
	"os"
	"strconv"
)

// mostUsedUp bounds the processes that SetLastID starts, of which some 10,000 are done in a second.
const mostUsedUp = 20000

// SetLastID has the kernel continue behind the id at when it hands out the next one; last is the id it has handed
// out. Where /proc/sys cannot be written to, as in most containers, short-lived processes use up what lies between.
func SetLastID(last, at int) {
	// proc_sys_kernel(5); CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE
	if os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(at)), 0) == nil {
		return
	}
	for n := 0; last < at && n < mostUsedUp; n++ {
		pid, err := useUp()
		if err != nil {
			return
		}
		last = pid
	}
}

// useUp starts a process that ends at once, and gives the id that it had.
func useUp() (int, error) {
	pid, errno := startNothing()
	if errno != 0 {
		return 0, errno
	}
	_, err := Wait(PID(pid))
	return pid, err
}
