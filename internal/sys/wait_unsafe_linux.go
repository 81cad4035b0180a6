package sys

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// AwaitEnd waits until a child has ended, which stays a zombie until it is waited for, waitid(2) WNOWAIT; with
// anyone, until any child has. It gives the pid of the one.
func AwaitEnd(pid PID, anyone bool) (PID, error) {
	var info struct { // siginfo_t, sigaction(2)
		signo, errno, code, pad int32
		pid                     int32
		rest                    [108]byte
	}
	kind, id := unix.P_PID, int(pid)
	if anyone {
		kind, id = unix.P_ALL, 0
	}
	for {
		err := unix.Waitid(kind, id, (*unix.Siginfo)(unsafe.Pointer(&info)),
			unix.WEXITED|unix.WNOWAIT|unix.WALL, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("waitid of %d: %w", pid, err)
		}
		return PID(info.pid), nil
	}
}
