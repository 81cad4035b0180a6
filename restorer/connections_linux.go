//go:build amd64

package restorer

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
)

// wake wakes the connections, when everything else has been restored and nothing of the application runs yet.
func (r *runner) wake() error {
	p := r.plan
	if err := r.holdTasks(); err != nil {
		return err
	}
	for _, c := range p.Connections {
		asleep, err := c.asleep(r.tasks[c.Pid])
		if err != nil {
			return fmt.Errorf("restore task %d fd %d: %s: %w", c.Pid, c.Fd, c.What, err)
		}
		if asleep {
			r.asleep = append(r.asleep, c)
		}
	}
	if err := r.eachConnection(func(c *Connection) []Step { return c.Settle }); err != nil {
		return err
	}
	if err := p.Unlock.open(); err != nil {
		return err
	}
	r.waking = true
	for _, phase := range []func(*Connection) []Step{
		func(c *Connection) []Step { return c.Hear }, func(c *Connection) []Step { return c.Wake },
		func(c *Connection) []Step { return c.Rest },
	} {
		if err := r.eachConnection(phase); err != nil {
			return err
		}
	}
	return nil
}

// holdTasks opens a pidfd of every task that has a connection, while it is certainly the task: until then it is traced.
func (r *runner) holdTasks() error {
	r.tasks = map[int]sys.Pidfd{}
	for _, c := range r.plan.Connections {
		if _, held := r.tasks[c.Pid]; held {
			continue
		}
		task, err := sys.OpenPidfd(c.Pid)
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		r.tasks[c.Pid] = task
	}
	return nil
}

// asleep: no hook has closed the descriptor, or put something else in its place.
func (c *Connection) asleep(task sys.Pidfd) (bool, error) {
	socket, err := task.Socket(c.Fd)
	if errors.Is(err, unix.EBADF) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer socket.Close()
	return socket.Repaired(c.At), nil
}

func (r *runner) eachConnection(steps func(*Connection) []Step) error {
	for _, c := range r.asleep {
		if err := c.do(r.tasks[c.Pid], steps(c)); err != nil {
			return fmt.Errorf("restore task %d fd %d: %s: %w", c.Pid, c.Fd, c.What, err)
		}
	}
	return nil
}

// do carries out steps on the task's own socket. One at a time is open here: there may be more of them than descriptors.
func (c *Connection) do(task sys.Pidfd, steps []Step) error {
	if len(steps) == 0 {
		return nil
	}
	socket, err := task.Socket(c.Fd)
	if err != nil {
		return err
	}
	defer socket.Close()
	for _, s := range steps {
		if err := s.do(socket); err != nil {
			return fmt.Errorf("%v: %w", s, err)
		}
	}
	return nil
}

func (s Step) do(socket sys.Socket) error {
	switch s.Do {
	case StepOption:
		return socket.SetOption(int(s.Level), int(s.Option), s.Data)
	case StepSend:
		return socket.SendAll(s.Data)
	case StepShutdown:
		return socket.ShutdownWrite()
	case StepConnect:
		return socket.Connect(s.At)
	case StepFlags:
		return socket.SetFlags(s.Flags)
	case StepFilter:
		return socket.SetFilter(s.Data)
	}
	if err := sys.SendPacket(s.At.Addr(), s.Data, criuMark); err != nil {
		return err
	}
	return s.await(socket)
}

const stateTimeout = 5 * time.Second

// await: the packet goes through this host's own network, which delivers it in its own time.
func (s Step) await(socket sys.Socket) error {
	if s.State == 0 {
		return nil
	}
	for end := time.Now().Add(stateTimeout); ; time.Sleep(collectPause) {
		state, err := socket.TCPState()
		switch {
		case err != nil:
			return err
		case uint32(state) == s.State:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("the connection is in state %d, want %d", state, s.State)
		}
	}
}

// hush puts connections that are awake back to sleep, so that the end of their tasks is no end of theirs to anybody else.
// Some tasks may have been let go.
func (r *runner) hush() {
	for _, c := range r.asleep {
		if socket, err := r.tasks[c.Pid].Socket(c.Fd); err == nil {
			_ = optionStep(solTCP, tcpRepair, 1).do(socket)
			socket.Close()
		}
	}
}

// open undoes the lock. That it is gone already is fine: the images may have been restored before, or come from elsewhere.
func (l *NetworkLock) open() error {
	for _, table := range l.Tables {
		if err := sys.DeleteTable(table); err != nil {
			return fmt.Errorf("restore: unlock the network: %w", err)
		}
	}
	for _, rule := range l.Rules {
		if err := rule.remove(); err != nil {
			return fmt.Errorf("restore: unlock the network: %w", err)
		}
	}
	return nil
}

func (r LockRule) remove() error {
	tool, err := exec.LookPath(r.Tool())
	if errors.Is(err, exec.ErrNotFound) {
		return nil // nobody can have made the rule here
	}
	if err != nil {
		return err
	}
	out, err := exec.Command(tool, r.Args("-D")...).CombinedOutput()
	if err == nil || exec.Command(tool, r.Args("-C")...).Run() != nil {
		return nil
	}
	return fmt.Errorf("%v: %w: %s", r, err, strings.TrimSpace(string(out)))
}
