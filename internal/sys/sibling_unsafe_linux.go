package sys

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/several"
)

// Sibling is a process that this one follows by its pidfd: it may be a child of this one's parent.
type Sibling struct{ fd int }

// Birth says how a process comes into being.
type Birth struct {
	Pid          int  // the number it gets in its pid namespace
	PidNamespace bool // it is the first process of a new one
	Sibling      bool // it becomes a child of this process's parent, CLONE_PARENT of clone(2)
	// In is the first process of the pid namespace that it is born in; nil: the calling thread's.
	In *First
}

// flags gives those of clone3(2), and the signal by which the process's end is told.
func (b *Birth) flags() (flags, signal uint64) {
	flags, signal = unix.CLONE_PIDFD|borrow, uint64(unix.SIGCHLD)
	if b.Sibling {
		flags, signal = flags|unix.CLONE_PARENT, 0 // this process's own
	}
	if b.PidNamespace {
		flags |= unix.CLONE_NEWPID
	}
	return flags, signal
}

// cloneArgs is struct clone_args, clone3(2).
type cloneArgs struct {
	flags, pidfd, childTid, parentTid, exitSignal, stack, stackSize, tls, setTid, setTidSize uint64
}

// StartAs executes path with files as its descriptors 0, 1, …, as Start does, in a process that is born as
// syscall.ForkExec cannot. Unless it is a sibling it dies (SIGKILL) when the calling OS thread does.
func StartAs(path string, argv []string, files []*os.File, b Birth) (*Sibling, PID, error) {
	if err := fault("clone3"); err != nil {
		return nil, 0, fmt.Errorf("clone3 with pid %d: %w", b.Pid, err)
	}
	child, err := newExecution(path, argv, descriptors(files))
	if err != nil {
		return nil, 0, err
	}
	child.mortal = !b.Sibling
	tid, pidfd := int32(b.Pid), int32(-1)
	flags, signal := b.flags()
	args := cloneArgs{
		flags: flags, exitSignal: signal,
		pidfd: uint64(uintptr(unsafe.Pointer(&pidfd))), setTid: uint64(uintptr(unsafe.Pointer(&tid))),
		setTidSize: 1,
	}
	var pin runtime.Pinner // the kernel sees these as numbers
	defer pin.Unpin()
	pin.Pin(&tid)
	pin.Pin(&pidfd)
	pid, err := child.born(&args, b.In)
	if err != nil {
		unix.Close(int(pidfd))
		return nil, 0, fmt.Errorf("clone3 with pid %d: %w", b.Pid, err)
	}
	return &Sibling{int(pidfd)}, pid, nil
}

// born clones into another pid namespace, if one is given.
func (e *execution) born(args *cloneArgs, in *First) (PID, error) {
	undo := func() error { return nil }
	if in != nil {
		var err error
		if undo, err = in.bornIn(); err != nil {
			return 0, err
		}
	}
	pid, errno := e.clone(args)
	err := undo()
	switch {
	case errno != 0:
		return 0, several.Join(errno, err)
	case err != nil:
		err = several.Join(err, Kill(pid, unix.SIGKILL))
		_, _, _ = wait(pid, 0) // a sibling is for its parent to collect
		return 0, err
	}
	return pid, nil
}

// execution is all that the new process needs, at hand: between clone3 and execve there is no Go runtime.
type execution struct {
	path       *byte
	argv, envp []*byte
	fds        []uintptr
	mortal     bool   // it dies with the thread that has made it
	stack      []byte // of the new process until then
}

// newExecution allocates all that execve(2) needs.
func newExecution(path string, argv []string, fds []uintptr) (*execution, error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return nil, fmt.Errorf("execve %q: %w", path, err)
	}
	e := &execution{path: name, argv: make([]*byte, len(argv)+1), envp: make([]*byte, 1), fds: fds,
		stack: make([]byte, vforkStack)}
	for i, arg := range argv {
		if e.argv[i], err = unix.BytePtrFromString(arg); err != nil {
			return nil, fmt.Errorf("execve %s: argument %q: %w", path, arg, err)
		}
	}
	return e, nil
}

// clone returns in this process only, when the new one has executed its program or has ended. Until then that has this
// process's memory, or a copy with this thread alone: it must do nothing but system calls, and no signal may reach the
// handlers of the runtime until execve has removed them.
//
//go:norace
//go:noinline
func (e *execution) clone(args *cloneArgs) (PID, unix.Errno) {
	all, old := ^uint64(0), uint64(0)
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)),
		uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	result := e.start(args)
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	runtime.KeepAlive(e)
	if result < 0 {
		return 0, unix.Errno(-result)
	}
	return PID(result), 0
}

// execute gives the descriptors their numbers and executes the program. It does not return. Growing a stack, or
// finding on entry that it is to be preempted, would take the Go runtime.
//
//go:norace
//go:noinline
//go:nosplit
func execute(e *execution) {
	if e.mortal {
		unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
	}
	for i := range e.fds { // out of the way of each other's numbers
		if e.fds[i] == closed {
			continue
		}
		fd, _, errno := unix.RawSyscall(unix.SYS_FCNTL, e.fds[i], unix.F_DUPFD_CLOEXEC, uintptr(len(e.fds)))
		if errno != 0 {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, notExecuted, 0, 0)
		}
		e.fds[i] = fd
	}
	for i := range e.fds {
		if e.fds[i] == closed {
			unix.RawSyscall(unix.SYS_CLOSE, uintptr(i), 0, 0)
			continue
		}
		unix.RawSyscall(unix.SYS_DUP3, e.fds[i], uintptr(i), 0)
	}
	unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(e.path)), uintptr(unsafe.Pointer(&e.argv[0])),
		uintptr(unsafe.Pointer(&e.envp[0])))
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, notExecuted, 0, 0)
	}
}

// startNothing makes a process that ends at once, without a signal.
//
//go:norace
//go:noinline
func startNothing() (pid int, errno unix.Errno) {
	args, all, old := cloneArgs{}, ^uint64(0), uint64(0)
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)),
		uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	child, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	for errno == 0 && child == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	return int(child), errno
}

const notExecuted = 127 // as shells have it

// Wait waits until the process has ended, pidfd_open(2). Its threads must not wait for a tracer.
func (s *Sibling) Wait() error {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}, -1)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll of a pidfd: %w", err)
		}
	}
}

// Kill kills the process, and no other that has got its pid; collecting it is for its parent.
func (s *Sibling) Kill() error {
	if err := unix.PidfdSendSignal(s.fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("pidfd_send_signal: %w", err)
	}
	return nil
}

// Close forgets the process, which goes on.
func (s *Sibling) Close() { unix.Close(s.fd) }

// OpenSibling follows a process that exists, whose pid is known to be its own.
func OpenSibling(pid PID) (*Sibling, error) {
	fd, err := OpenPidfd(pid)
	if err != nil {
		return nil, err
	}
	return &Sibling{fd.fd}, nil
}
