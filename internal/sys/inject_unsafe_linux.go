package sys

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// More requests of ptrace(2) that x/sys/unix does not wrap, include/uapi/linux/ptrace.h.
const (
	ptraceGetsigmask  = 0x420a
	ptraceSyscallInfo = 0x420e
	ptraceRseqConfig  = 0x420f
)

// More options of Seize.
const (
	OptTraceClone = unix.PTRACE_O_TRACECLONE
	OptTraceFork  = unix.PTRACE_O_TRACEFORK
	OptTraceVfork = unix.PTRACE_O_TRACEVFORK
	OptVforkDone  = unix.PTRACE_O_TRACEVFORKDONE
)

// SetOptions replaces the options of a stopped thread, PTRACE_SETOPTIONS.
func SetOptions(tid PID, options uintptr) error {
	return ptrace("SETOPTIONS", unix.PTRACE_SETOPTIONS, tid, 0, options)
}

// GetSigmask reads the blocked signals of a stopped thread (bit n-1: signal n), PTRACE_GETSIGMASK.
func GetSigmask(tid PID) (mask uint64, err error) {
	err = ptrace("GETSIGMASK", ptraceGetsigmask, tid, 8, uintptr(unsafe.Pointer(&mask)))
	return mask, err
}

// ContinueWith lets a stopped thread run on and delivers a signal, PTRACE_CONT; toSyscall: to the next system call.
func ContinueWith(tid PID, toSyscall bool, sig unix.Signal) error {
	if toSyscall {
		return ptrace("SYSCALL", unix.PTRACE_SYSCALL, tid, 0, uintptr(sig))
	}
	return ptrace("CONT", unix.PTRACE_CONT, tid, 0, uintptr(sig))
}

// Step lets a stopped thread run one instruction, PTRACE_SINGLESTEP.
func Step(tid PID) error { return ptrace("SINGLESTEP", unix.PTRACE_SINGLESTEP, tid, 0, 0) }

// Listen leaves a thread in its group-stop until that ends, PTRACE_LISTEN.
func Listen(tid PID) error { return ptrace("LISTEN", unix.PTRACE_LISTEN, tid, 0, 0) }

// SigInfo is siginfo_t, sigaction(2).
type SigInfo [128]byte

// Signo is the signal.
func (i *SigInfo) Signo() unix.Signal { return unix.Signal(*(*int32)(unsafe.Pointer(&i[0]))) }

// Code says where it comes from: above 0 from the kernel.
func (i *SigInfo) Code() int32 { return *(*int32)(unsafe.Pointer(&i[8])) }

// Addr is the address of the faulting access.
func (i *SigInfo) Addr() uint64 { return *(*uint64)(unsafe.Pointer(&i[16])) }

// GetSigInfo reads what a stopped thread is about to be told.
func GetSigInfo(tid PID) (info SigInfo, err error) {
	err = ptrace("GETSIGINFO", unix.PTRACE_GETSIGINFO, tid, 0, uintptr(unsafe.Pointer(&info)))
	return info, err
}

// What a SyscallInfo is about.
const (
	SyscallNone  = 0
	SyscallEntry = 1
	SyscallExit  = 2
)

// SyscallInfo is struct ptrace_syscall_info, ptrace(2): Nr and Args at an entry, Result at an exit.
type SyscallInfo struct {
	Op     uint8
	Ip, Sp uint64
	Nr     uint64
	Args   [6]uint64
	Result int64
}

// GetSyscallInfo tells where a stopped thread is with its system call, PTRACE_GET_SYSCALL_INFO, Linux 5.3.
func GetSyscallInfo(tid PID) (SyscallInfo, error) {
	var raw [16]uint64
	err := ptrace("GET_SYSCALL_INFO", ptraceSyscallInfo, tid, unsafe.Sizeof(raw), uintptr(unsafe.Pointer(&raw)))
	info := SyscallInfo{Op: uint8(raw[0]), Ip: raw[1], Sp: raw[2]}
	switch info.Op {
	case SyscallEntry:
		info.Nr = raw[3]
		copy(info.Args[:], raw[4:10])
	case SyscallExit:
		info.Result = int64(raw[3])
	}
	return info, err
}

// RseqArea gives the address of a stopped thread's struct rseq, 0 without one, PTRACE_GET_RSEQ_CONFIGURATION, Linux 5.13.
func RseqArea(tid PID) uint64 {
	var config [3]uint64 // struct ptrace_rseq_configuration: pointer, size and signature, flags and pad
	err := ptrace("GET_RSEQ_CONFIGURATION", ptraceRseqConfig, tid, unsafe.Sizeof(config),
		uintptr(unsafe.Pointer(&config)))
	if err != nil {
		return 0
	}
	return config[0]
}

// WaitAny waits until a child of the calling OS thread, or a thread that it traces, changes state, wait4(2) with
// __WNOTHREAD: nobody else's child is collected. tid is 0 if none did until end; a zero end is never.
func WaitAny(end time.Time) (tid PID, ws unix.WaitStatus, err error) {
	if err := fault("wait4"); err != nil {
		return 0, 0, fmt.Errorf("wait4: %w", err)
	}
	const notThread = 0x20000000
	flags := unix.WALL | notThread
	if !end.IsZero() {
		flags |= unix.WNOHANG
	}
	for pauses := 0; ; pauses++ {
		tid, err := unix.Wait4(-1, &ws, flags, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, 0, fmt.Errorf("wait4: %w", err)
		case tid != 0 || time.Now().After(end):
			return PID(tid), ws, nil
		default:
			nap(min(pauseAfter(pauses), time.Until(end)))
		}
	}
}

// SharesMemory reports whether two processes have one address space, kcmp(2) KCMP_VM; false where that cannot be known.
func SharesMemory(a, b PID) bool {
	const kcmpVM = 1
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), kcmpVM, 0, 0, 0)
	return errno == 0 && order == 0
}

// OtherFile reports whether a descriptor is another open file description in another process, kcmp(2) KCMP_FILE; false
// where that cannot be known.
func OtherFile(a, b PID, fd int) bool {
	order, errno := kcmpFile(a, b, fd, fd)
	return errno == 0 && order != 0
}

// SameFile reports whether two descriptors of a process are one open file description; false where that is not known.
func SameFile(pid PID, a, b int) bool {
	order, errno := kcmpFile(pid, pid, a, b)
	return errno == 0 && order == 0
}

func kcmpFile(a, b PID, fdA, fdB int) (order uintptr, errno unix.Errno) {
	const file = 0 // KCMP_FILE
	order, _, errno = unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), file, uintptr(fdA), uintptr(fdB), 0)
	return order, errno
}
