package sys

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BlockSignals blocks every signal for this OS thread, which must be locked, and for the program that it executes.
func BlockSignals() {
	all := ^uint64(0)
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), 0, 8, 0, 0)
}

// Become executes the program that descriptor program has open in this process, with fds as its descriptors 0, 1, …;
// a number whose descriptor is -1 is closed. Other threads end at execve(2), and descriptors of this process's own
// are closed then. It returns only on an error of its preparations: later ones end the process.
func Become(program int, argv []string, fds []int) error {
	// other threads wait for events of descriptors that change now
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		return fmt.Errorf("unshare CLONE_FILES: %w", err)
	}
	program, err := unix.FcntlInt(uintptr(program), unix.F_DUPFD_CLOEXEC, len(fds))
	if err != nil {
		return fmt.Errorf("fcntl F_DUPFD_CLOEXEC: %w", err)
	}
	from := make([]uintptr, len(fds))
	for i, fd := range fds {
		from[i] = uintptr(fd) // -1: closed
	}
	e, err := newExecution(fmt.Sprintf("/proc/thread-self/fd/%d", program), argv, from)
	if err != nil {
		return err
	}
	execute(e)
	return nil
}

// NoSubreaper has orphans among this process's descendants pass it by, prctl(2) PR_SET_CHILD_SUBREAPER. execve(2)
// would keep it.
func NoSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl PR_SET_CHILD_SUBREAPER: %w", err)
	}
	return nil
}

// LeadsGroup reports whether this process leads a process group and no session: it cannot lead one as long as it does,
// setsid(2). A session leader must have no terminal, which would stay.
func LeadsGroup() (bool, error) {
	sid, err := unix.Getsid(0)
	if err != nil || sid == os.Getpid() {
		return false, noTerminal(err)
	}
	return unix.Getpgrp() == os.Getpid(), nil
}

// JoinGroup moves this process to the process group of another one.
func JoinGroup(leader int) error {
	if err := unix.Setpgid(0, leader); err != nil {
		return fmt.Errorf("setpgid %d: %w", leader, err)
	}
	return nil
}

// noTerminal returns an error if this process has a controlling terminal.
func noTerminal(err error) error {
	if err != nil {
		return fmt.Errorf("getsid: %w", err)
	}
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil
	}
	unix.Close(fd)
	return fmt.Errorf("crpie leads a session that has a terminal")
}

// LockedThread locks the calling goroutine to its OS thread and gives that one's id.
func LockedThread() int {
	runtime.LockOSThread()
	return unix.Gettid()
}
