package sys

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is a program that runs beside this process, as its child or its parent's.
type Command struct {
	Sibling
	pid   int
	child bool
}

// StartCommand executes path with this process's environment and every descriptor that this process was left
// itself, except that channel takes the place of number. A sibling is a child of this process's parent,
// CLONE_PARENT of clone(2).
func StartCommand(path string, argv []string, channel Channel, number int, sibling bool) (*Command, error) {
	if err := fault("execve"); err != nil {
		return nil, fmt.Errorf("execve %s: %w", path, err)
	}
	pidfd := -1
	fds := make([]uintptr, number+1)
	for i := range fds {
		if fds[i] = uintptr(i); !Inherited(i) {
			fds[i] = closed
		}
	}
	fds[number] = uintptr(channel.fd)
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: fds, Sys: &syscall.SysProcAttr{PidFD: &pidfd}}
	if sibling {
		attr.Sys.Cloneflags = unix.CLONE_PARENT
	}
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return nil, fmt.Errorf("execve %s: %w", path, err)
	}
	if pidfd < 0 {
		return nil, fmt.Errorf("execve %s: no pidfd: Linux 5.4 or later is needed", path)
	}
	return &Command{Sibling{pidfd}, pid, !sibling}, nil
}

// Signal sends a signal; a program that has ended is not an error.
func (c *Command) Signal(sig syscall.Signal) error {
	if err := unix.PidfdSendSignal(c.fd, sig, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("pidfd_send_signal: %w", err)
	}
	return nil
}

// Wait waits until the program has ended. Its exit status is known only of a child.
func (c *Command) Wait() (status int, known bool, err error) {
	if err := c.Sibling.Wait(); err != nil || !c.child {
		return 0, false, err
	}
	ws, err := Wait(PID(c.pid))
	if err != nil {
		return 0, false, err
	}
	if ws.Signaled() {
		return 128 + int(ws.Signal()), true, nil
	}
	return ws.ExitStatus(), true, nil
}

// Ended waits for at most the given time, and reports whether the program has ended.
func (c *Command) Ended(within time.Duration) bool { return Pidfd{c.fd}.Ended(within) }
