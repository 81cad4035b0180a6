package sys

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// PID is the number of a process or a thread in this process's own pid namespace, pid_namespaces(7). Images and plans
// have other ones.
type PID int

// Nobody is a number that no process has: it is above PID_MAX_LIMIT, linux/threads.h.
const Nobody PID = 1 << 30

// Start executes path with files as its descriptors 0, 1, … and returns its pid; a number whose file is nil is
// closed. It dies (SIGKILL) when the calling OS thread does, prctl(2) PR_SET_PDEATHSIG: the thread must be locked.
func Start(path string, argv []string, files []*os.File) (PID, error) {
	if err := fault("execve"); err != nil {
		return 0, fmt.Errorf("execve %s: %w", path, err)
	}
	attr := &syscall.ProcAttr{Env: []string{}, Files: descriptors(files),
		Sys: &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}}
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return 0, fmt.Errorf("execve %s: %w", path, err)
	}
	return PID(pid), nil
}

// SelfPidfd opens a pidfd of this process for others, who see by it that this one has ended, pidfd_open(2).
func SelfPidfd() (*os.File, error) {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return nil, fmt.Errorf("pidfd_open: %w", err)
	}
	return os.NewFile(uintptr(fd), "pidfd of the restorer"), nil
}

// closed stands for a descriptor that a new process does not get, as in syscall.ProcAttr.Files.
const closed = ^uintptr(0)

// descriptors gives the numbers that files have in this process.
func descriptors(files []*os.File) []uintptr {
	fds := make([]uintptr, len(files))
	for i, f := range files {
		fds[i] = closed
		if f != nil {
			fds[i] = f.Fd()
		}
	}
	return fds
}

// Poll asks, without waiting, whether tid changed state, wait4(2) with __WALL. changed is false when it did not.
func Poll(tid PID) (ws unix.WaitStatus, changed bool, err error) { return wait(tid, unix.WNOHANG) }

// Wait waits until tid changes state.
func Wait(tid PID) (unix.WaitStatus, error) {
	if err := fault("wait4"); err != nil {
		return 0, fmt.Errorf("wait4 of %d: %w", tid, err)
	}
	ws, _, err := wait(tid, 0)
	return ws, err
}

// WaitUntil waits until tid changes state, at most until end; changed is false when it did not. It looks again and
// again, at first without a pause: a thread that is asked to stop does so within microseconds. The longer it has waited
// the longer it pauses.
func WaitUntil(tid PID, end time.Time) (ws unix.WaitStatus, changed bool, err error) {
	if err := fault("wait4"); err != nil {
		return 0, false, fmt.Errorf("wait4 of %d: %w", tid, err)
	}
	for looks := 0; ; looks++ {
		ws, changed, err := wait(tid, unix.WNOHANG)
		if changed || err != nil || time.Now().After(end) {
			return ws, changed, err
		}
		if looks > waitLooks {
			nap(pauseAfter(looks - waitLooks))
		}
	}
}

// nap pauses between two looks. time.Sleep would hand this locked thread's work to others and back.
func nap(long time.Duration) {
	pause := unix.NsecToTimespec(int64(long))
	_ = unix.Nanosleep(&pause, nil)
}

const (
	waitLooks             = 100
	shortPause, longPause = 50 * time.Microsecond, 2 * time.Millisecond
)

// pauseAfter is how long to pause after that many pauses: a 64th of the time that they took, roughly.
func pauseAfter(pauses int) time.Duration {
	return min(shortPause+shortPause*time.Duration(min(pauses, 1<<20))/64, longPause)
}

// wait also waits for children whose end sends no SIGCHLD, __WALL of wait(2).
func wait(tid PID, flags int) (ws unix.WaitStatus, changed bool, err error) {
	for {
		got, err := unix.Wait4(int(tid), &ws, flags|unix.WALL, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, false, &waitError{tid, err}
		}
		return ws, got != 0, nil
	}
}

// waitError spells itself out only when it is read: most often it says that there is nothing to wait for.
type waitError struct {
	tid PID
	err error
}

func (e *waitError) Error() string { return fmt.Sprintf("wait4 of %d: %v", e.tid, e.err) }
func (e *waitError) Unwrap() error { return e.err }

// Kill sends a signal to a process; that it is gone already is no error.
func Kill(pid PID, sig unix.Signal) error {
	if err := unix.Kill(int(pid), sig); err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill %d with %v: %w", pid, sig, err)
	}
	return nil
}
