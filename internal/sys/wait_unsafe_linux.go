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

// Ending reports whether a child, or a thread that the caller traces, has ended or is about to, PTRACE_EVENT_EXIT, and
// leaves the news to who waits for it.
func Ending(tid PID) bool {
	var info struct { // siginfo_t of SIGCHLD, sigaction(2)
		signo, errno, code, pad int32
		pid, uid, status        int32
		rest                    [100]byte
	}
	const look = unix.WEXITED | unix.WSTOPPED | unix.WNOHANG | unix.WNOWAIT | unix.WALL
	err := unix.Waitid(unix.P_PID, int(tid), (*unix.Siginfo)(unsafe.Pointer(&info)), look, nil)
	const trapped = 4 // CLD_TRAPPED, asm-generic/siginfo.h; those of an end are below
	if err != nil || info.signo == 0 {
		return false
	}
	return info.code < trapped || info.status>>8 == unix.PTRACE_EVENT_EXIT
}
