//go:build linux && amd64

package inject

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
)

// What the kernel has in rax of a thread that a stop has interrupted in a system call, include/linux/errno.h. It makes
// the call again, or has it return EINTR, when the thread goes on: that depends on the signal that it then gets.
const (
	restartSys       = 512
	restartNoIntr    = 513
	restartNoHand    = 514
	restartRestBlock = 516
)

// interrupts are the calls that return EINTR for a stop, too, signal(7): the kernel never restarts them. close(2) is
// none: the descriptor is gone.
var interrupts = []uint64{
	unix.SYS_READ, unix.SYS_READV, unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_RECVFROM, unix.SYS_RECVMSG,
	unix.SYS_RECVMMSG, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG, unix.SYS_ACCEPT, unix.SYS_ACCEPT4,
	unix.SYS_CONNECT, // with SO_RCVTIMEO or SO_SNDTIMEO
	unix.SYS_EPOLL_WAIT, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_RT_SIGTIMEDWAIT, unix.SYS_SEMOP,
	unix.SYS_SEMTIMEDOP, unix.SYS_IO_GETEVENTS, unix.SYS_IO_PGETEVENTS, unix.SYS_IO_URING_ENTER,
}

// inSyscall reports whether the registers are those of a system call.
func inSyscall(regs *sys.Regs) bool { return int64(regs.OrigAx) >= 0 }

// interrupted reports whether a call that the kernel does not restart has returned EINTR, perhaps for the stop.
func interrupted(regs *sys.Regs) bool {
	return inSyscall(regs) && int64(regs.Ax) == -int64(unix.EINTR) && slices.Contains(interrupts, regs.OrigAx)
}

// resumed gives the registers with which the program goes on so that it does not see the stop: a call that returned
// EINTR for it is made again, its timeout starts anew. Not where a signal waits that the program handles. slept says
// that something inside has slept, which makes restart_syscall(2) fail: then a sleep begins anew, too.
func resumed(regs sys.Regs, slept, signalled bool) sys.Regs {
	if !inSyscall(&regs) {
		return regs
	}
	asleep := int64(regs.Ax) == -restartRestBlock
	if interrupted(&regs) && !signalled || slept && asleep {
		regs.Ax = negative(restartSys)
	}
	return regs
}

// restarted gives the registers with which a thread goes on where the kernel does not look at rax: a call that would be
// made again begins again.
func restarted(regs sys.Regs) sys.Regs {
	if !inSyscall(&regs) {
		return regs
	}
	switch -int64(regs.Ax) {
	case restartSys, restartNoIntr, restartNoHand, restartRestBlock:
	case int64(unix.EINTR):
		if !slices.Contains(interrupts, regs.OrigAx) {
			return regs
		}
	default:
		return regs
	}
	const syscallLength = 2 // bytes
	regs.Ip -= syscallLength
	regs.Ax = regs.OrigAx
	return regs
}

// sleeps are the calls that take the place of what restart_syscall(2) would go on with.
var sleeps = []uint64{unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_POLL, unix.SYS_FUTEX,
	unix.SYS_RESTART_SYSCALL}

func negative(n int64) uint64 { return uint64(-n) }
