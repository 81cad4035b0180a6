package sys

import (
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests and note types of ptrace(2) that x/sys/unix does not wrap.
const (
	ptraceSetsigmask = 0x420b
	ntPrstatus       = 1
	ntX86Xstate      = 0x202
)

// Options of Seize, ptrace(2).
const (
	OptExitKill       = unix.PTRACE_O_EXITKILL
	OptSysGood        = unix.PTRACE_O_TRACESYSGOOD
	OptSuspendSeccomp = unix.PTRACE_O_SUSPEND_SECCOMP
	OptTraceExit      = unix.PTRACE_O_TRACEEXIT
	OptTraceExec      = unix.PTRACE_O_TRACEEXEC
)

// Event tells which PTRACE_EVENT_* a thread has stopped for, 0 for any other stop.
func Event(ws unix.WaitStatus) int {
	if !ws.Stopped() {
		return 0
	}
	return int(ws >> 16)
}

// EventMessage reads what belongs to an event, PTRACE_GETEVENTMSG.
func EventMessage(tid PID) (message uint64, err error) {
	err = ptrace("GETEVENTMSG", unix.PTRACE_GETEVENTMSG, tid, 0, uintptr(unsafe.Pointer(&message)))
	return message, err
}

// ptrace makes a request. What its arguments point to has to be on the heap: a stack can move before the kernel writes.
//
//go:uintptrescapes
func ptrace(name string, request int, tid PID, addr, data uintptr) error {
	errno := fault("ptrace " + name)
	if errno == nil {
		_, _, e := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, data, 0, 0)
		if e == 0 {
			return nil
		}
		errno = e
	}
	return fmt.Errorf("ptrace %s of thread %d: %w", name, tid, errno)
}

// Seize attaches to a thread without stopping it, PTRACE_SEIZE. The calling OS thread becomes its tracer: it must be
// locked (runtime.LockOSThread), and every later request must come from it.
func Seize(tid PID, options uintptr) error {
	return ptrace("SEIZE", unix.PTRACE_SEIZE, tid, 0, options)
}

// Interrupt asks a seized thread to stop, PTRACE_INTERRUPT; Wait reports that it has.
func Interrupt(tid PID) error { return ptrace("INTERRUPT", unix.PTRACE_INTERRUPT, tid, 0, 0) }

// ContinueToSyscall lets a stopped thread run to its next system-call entry or exit, PTRACE_SYSCALL.
func ContinueToSyscall(tid PID) error { return ContinueWith(tid, true, 0) }

// Detach lets a stopped thread go on untraced, PTRACE_DETACH.
func Detach(tid PID) error { return ptrace("DETACH", unix.PTRACE_DETACH, tid, 0, 0) }

// SetSigmask sets the blocked signals of a stopped thread (bit n-1: signal n), PTRACE_SETSIGMASK.
func SetSigmask(tid PID, mask uint64) error {
	return ptrace("SETSIGMASK", ptraceSetsigmask, tid, 8, uintptr(unsafe.Pointer(&mask)))
}

func regset(name string, request int, tid PID, note int, data []byte) (int, error) {
	iov := unix.Iovec{Base: unsafe.SliceData(data), Len: uint64(len(data))}
	err := ptrace(name, request, tid, uintptr(note), uintptr(unsafe.Pointer(&iov)))
	runtime.KeepAlive(data)
	return int(iov.Len), err
}

// SetXstate sets the floating-point and vector registers of a stopped thread. area is a whole XSAVE area in standard
// format, exactly as long as ReadXstate's.
func SetXstate(tid PID, area []byte) error {
	_, err := regset("SETREGSET xstate", unix.PTRACE_SETREGSET, tid, ntX86Xstate, area)
	return err
}

// ReadXstate reads the XSAVE area of a stopped thread.
func ReadXstate(tid PID) ([]byte, error) {
	area := make([]byte, 16<<10) // AMX's is just over 8 KiB
	n, err := regset("GETREGSET xstate", unix.PTRACE_GETREGSET, tid, ntX86Xstate, area)
	return area[:n], err
}

func (r *Regs) bytes() []byte { return unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r)) }

// SetRegs sets the general registers of a stopped thread.
func SetRegs(tid PID, r *Regs) error {
	_, err := regset("SETREGSET prstatus", unix.PTRACE_SETREGSET, tid, ntPrstatus, r.bytes())
	return err
}

// GetRegs reads the general registers of a stopped thread.
func GetRegs(tid PID) (Regs, error) {
	var r Regs
	_, err := regset("GETREGSET prstatus", unix.PTRACE_GETREGSET, tid, ntPrstatus, r.bytes())
	return r, err
}

// Poke writes one word into the memory of a stopped thread, PTRACE_POKEDATA.
func Poke(tid PID, addr, word uint64) error {
	return ptrace("POKEDATA", unix.PTRACE_POKEDATA, tid, uintptr(addr), uintptr(word))
}

// FutexWait sleeps while *word is seen, at most timeout, futex(2). It may return early.
func FutexWait(word *uint32, seen uint32, timeout time.Duration) {
	ts := unix.NsecToTimespec(int64(timeout))
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 0 /* FUTEX_WAIT */, uintptr(seen),
		uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// FutexWake wakes everybody who waits on word.
func FutexWake(word *uint32) {
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 1 /* FUTEX_WAKE */, 1<<30, 0, 0, 0)
}

// Word gives the 32-bit word at offset off of shared memory, for atomic access; off is a multiple of 4.
func Word(shared []byte, off int) *uint32 { return (*uint32)(unsafe.Pointer(&shared[off : off+4][0])) }

// Word64 gives the 64-bit word at offset off of shared memory, for atomic access; off is a multiple of 8.
func Word64(shared []byte, off int) *uint64 {
	return (*uint64)(unsafe.Pointer(&shared[off : off+8][0]))
}

// Continue lets a stopped thread run on, PTRACE_CONT; the signal it stopped for is not delivered.
func Continue(tid PID) error { return ContinueWith(tid, false, 0) }

// Subreaper makes orphans among this process's descendants its own children, prctl(2) PR_SET_CHILD_SUBREAPER. restore
// goes back to what was before.
func Subreaper() (restore func(), err error) {
	var before int32
	if err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&before)), 0, 0, 0); err != nil {
		return nil, fmt.Errorf("prctl PR_GET_CHILD_SUBREAPER: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("prctl PR_SET_CHILD_SUBREAPER: %w", err)
	}
	return func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, uintptr(before), 0, 0, 0) }, nil
}
