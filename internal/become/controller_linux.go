package become

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
)

// What the controller inherits is the number of a descriptor, in its environment.
const (
	detaching   = "CRPIE_DETACH" // of the process in between
	controlling = "CRPIE_CONTROL"
)

// Controller is the process that restores; the first process follows it.
type Controller struct {
	channel sys.Channel
	fds     map[int]int // received, by their numbers in the zygote
}

// Start starts the controller, with env in addition to this process's environment. session: the root task will lead a
// session, so this process must not lead a process group.
func Start(session bool, env ...string) (*Controller, error) {
	move, err := false, error(nil)
	if session {
		move, err = sys.LeadsGroup()
	}
	if err != nil {
		return nil, err
	}
	if err := sys.NoSubreaper(); err != nil { // the controller would become a child of the root task
		return nil, err
	}
	own, its, err := sys.NewChannel()
	if err != nil {
		return nil, err
	}
	number, err := its.Bequeath()
	if err != nil {
		own.Close()
		return nil, err
	}
	pid, err := again(move, append(env, fmt.Sprintf("%s=%d", detaching, number)))
	_ = syscall.Close(number)
	if err == nil {
		err = detached(pid, move)
	}
	if err != nil {
		own.Close()
		return nil, fmt.Errorf("start crpie a second time: %w", err)
	}
	return &Controller{own, map[int]int{0: 0, 1: 1, 2: 2}}, nil
}

// again executes this program with the same arguments, streams and inherited descriptors, perhaps in a group of its
// own.
func again(group bool, env []string) (pid int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	return syscall.ForkExec(self, os.Args, &syscall.ProcAttr{
		Env: append(os.Environ(), env...), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: group},
	})
}

// detached waits until the process in between has ended. Until then its group exists, whatever the controller does.
func detached(pid int, join bool) (err error) {
	if join {
		err = sys.JoinGroup(pid)
	}
	ws, ended := sys.Wait(sys.PID(pid))
	if err = several.Join(err, ended); err == nil && (!ws.Exited() || ws.ExitStatus() != 0) {
		err = fmt.Errorf("wait status %#x", uint32(ws))
	}
	return err
}

// Detach does all that the process in between has to do: it starts the controller, whose parent ends. is is false in
// any other process.
func Detach() (status int, is bool) {
	number := os.Getenv(detaching)
	if number == "" || sys.Secure() {
		return 0, false
	}
	os.Unsetenv(detaching)
	if _, err := again(false, []string{controlling + "=" + number}); err != nil {
		return 1, true
	}
	return 0, true
}

// Pass tells the controller of a signal.
func (c *Controller) Pass(sig syscall.Signal) {
	_ = send(c.channel, &message{kind: signal, value: int(sig)}) // if the other end is closed, Follow says so
}

// Follow carries out the answer: it becomes the root task, having called last, or gives the exit status of a restore
// that has failed before that.
func (c *Controller) Follow(last func()) (status int, err error) {
	for {
		m, err := receive(c.channel)
		switch {
		case errors.Is(err, io.EOF):
			return 0, errors.New("restore: crpie's other process, which restores, has ended before it was done")
		case err != nil:
			return 0, fmt.Errorf("restore: %w", err)
		case m.kind == end:
			return m.value, nil
		}
		if err := c.do(m, last); err != nil {
			return 0, fmt.Errorf("restore: %w", err)
		}
	}
}

// do carries out a request of the root process; last is called before one that does not come back.
func (c *Controller) do(m *message, last func()) error {
	switch m.kind {
	case room:
		_, err := sys.RoomForFiles(m.value)
		return err
	case take:
		for i, fd := range m.fds {
			c.fds[m.numbers[i]] = fd
		}
	case prepare:
		tid := sys.LockedThread()
		sys.BlockSignals() // a signal would stop the thread, which will be traced
		return send(c.channel, &message{kind: ready, value: tid})
	case execute:
		last()
		return c.execute()
	}
	return nil
}

// execute executes the zygote. A number without a descriptor is closed in it.
func (c *Controller) execute() error {
	highest := 0
	for number := range c.fds {
		highest = max(highest, number)
	}
	fds := make([]int, highest+1)
	for number := range fds {
		fd, ok := c.fds[number]
		if !ok {
			fd = -1
		}
		fds[number] = fd
	}
	return sys.Become(c.fds[program], []string{"crpie-zygote"}, fds)
}
