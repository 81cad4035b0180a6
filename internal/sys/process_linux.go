package sys

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Start executes path with files as its descriptors 0, 1, … and returns its pid. It dies (SIGKILL) when the calling OS
// thread does, prctl(2) PR_SET_PDEATHSIG: the thread must be locked.
func Start(path string, argv []string, files []*os.File) (int, error) {
	if err := fault("execve"); err != nil {
		return 0, fmt.Errorf("execve %s: %w", path, err)
	}
	attr := &syscall.ProcAttr{Env: []string{}, Sys: &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}}
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return 0, fmt.Errorf("execve %s: %w", path, err)
	}
	return pid, nil
}

// Poll asks, without waiting, whether tid changed state, wait4(2) with __WALL. changed is false when it did not.
func Poll(tid int) (ws unix.WaitStatus, changed bool, err error) { return wait(tid, unix.WNOHANG) }

// Wait waits until tid changes state.
func Wait(tid int) (unix.WaitStatus, error) {
	if err := fault("wait4"); err != nil {
		return 0, fmt.Errorf("wait4 of %d: %w", tid, err)
	}
	ws, _, err := wait(tid, 0)
	return ws, err
}

func wait(tid, flags int) (ws unix.WaitStatus, changed bool, err error) {
	for {
		got, err := unix.Wait4(tid, &ws, flags|unix.WALL, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, false, fmt.Errorf("wait4 of %d: %w", tid, err)
		}
		return ws, got != 0, nil
	}
}

// Kill sends a signal to a process; that it is gone already is no error.
func Kill(pid int, sig unix.Signal) error {
	if err := unix.Kill(pid, sig); err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill %d with %v: %w", pid, sig, err)
	}
	return nil
}
