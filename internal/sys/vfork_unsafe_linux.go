//go:build !amd64

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The new process begins with a copy of this one's memory; to borrow it takes a few instructions of assembly.
const (
	borrow     = unix.CLONE_VFORK
	vforkStack = 0
)

// start makes the new process.
//
//go:norace
//go:nosplit
func (e *execution) start(args *cloneArgs) (result int) {
	pid, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0)
	switch {
	case errno != 0:
		return -int(errno)
	case pid == 0:
		execute(e)
	}
	return int(pid)
}
