package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Until it executes a program the new process borrows this one's memory, vfork(2): a copy would take the longer the more
// memory this one has. It has a stack of its own, because what it calls would overwrite the caller's.
const (
	borrow     = unix.CLONE_VFORK | unix.CLONE_VM
	vforkStack = 16 << 10 // bytes
	vforkAbove = 64       // of them, where the new process puts its first argument
)

// vfork is clone3(2) with the flags borrow; the result is the number of the new process, or an errno below 0. That
// process carries out execute.
//
//go:noescape
func vfork(args *cloneArgs, size uintptr, e *execution) (result uintptr)

// start makes the new process.
//
//go:norace
//go:nosplit
func (e *execution) start(args *cloneArgs) (result int) {
	args.stack, args.stackSize = uint64(uintptr(unsafe.Pointer(&e.stack[0]))), vforkStack-vforkAbove
	return int(vfork(args, unsafe.Sizeof(*args), e))
}
