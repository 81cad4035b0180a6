//go:build amd64

package run

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// wake wakes the connections, when everything else has been restored and nothing of the application runs yet.
func (r *Runner) wake() error {
	p := r.Plan
	if err := r.holdTasks(); err != nil {
		return err
	}
	for _, c := range p.Connections {
		asleep, err := isAsleep(c, r.tasks[c.Pid])
		if err != nil {
			return fmt.Errorf("restore task %d fd %d: %s: %w", c.Pid, c.Fd, c.What, err)
		}
		if asleep {
			r.asleep = append(r.asleep, c)
		}
	}
	if err := r.eachConnection(func(c *plan.Connection) []plan.Step { return c.Settle }); err != nil {
		return err
	}
	if err := r.inNetwork(func() error { return openNetwork(&p.Unlock) }); err != nil {
		return err
	}
	if r.Network != nil {
		r.Network.OpenNetwork()
	}
	r.waking = true
	for _, phase := range []func(*plan.Connection) []plan.Step{
		func(c *plan.Connection) []plan.Step {
			return c.Hear
		}, func(c *plan.Connection) []plan.Step { return c.Wake },
		func(c *plan.Connection) []plan.Step { return c.Rest },
	} {
		if err := r.eachConnection(phase); err != nil {
			return err
		}
	}
	return nil
}

// holdTasks opens a pidfd of every task that has a connection, while it is certainly the task: until then it is traced.
func (r *Runner) holdTasks() error {
	r.tasks = map[int]sys.Pidfd{}
	for _, c := range r.Plan.Connections {
		if _, held := r.tasks[c.Pid]; held {
			continue
		}
		task, err := sys.OpenPidfd(r.pids.find(c.Pid))
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		r.tasks[c.Pid] = task
	}
	return nil
}

// isAsleep: no hook has closed the descriptor, or put something else in its place.
func isAsleep(c *plan.Connection, task sys.Pidfd) (bool, error) {
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

func (r *Runner) eachConnection(steps func(*plan.Connection) []plan.Step) error {
	for _, c := range r.asleep {
		if err := r.inNetwork(func() error { return doSteps(c, r.tasks[c.Pid], steps(c)) }); err != nil {
			return fmt.Errorf("restore task %d fd %d: %s: %w", c.Pid, c.Fd, c.What, err)
		}
	}
	return nil
}

// inNetwork does something where the tasks' packets are.
func (r *Runner) inNetwork(do func() error) error {
	if r.Network == nil {
		return do()
	}
	return r.Network.InNetwork(do)
}

// doSteps carries out steps on the task's own socket. One at a time is open here: there may be more of them than
// descriptors.
func doSteps(c *plan.Connection, task sys.Pidfd, steps []plan.Step) error {
	if len(steps) == 0 {
		return nil
	}
	socket, err := task.Socket(c.Fd)
	if err != nil {
		return err
	}
	defer socket.Close()
	for _, s := range steps {
		if err := doStep(s, socket); err != nil {
			return fmt.Errorf("%v: %w", s, err)
		}
	}
	return nil
}

// doStep does one step of waking a connection. Without a socket's call it is a packet, as if from the peer, and then
// the state that it has to lead to.
func doStep(s plan.Step, socket sys.Socket) error {
	switch s.Do {
	case plan.StepOption:
		return socket.SetOption(int(s.Level), int(s.Option), s.Data)
	case plan.StepSend:
		return socket.SendAll(s.Data)
	case plan.StepShutdown:
		return socket.ShutdownWrite()
	case plan.StepConnect:
		return socket.Connect(s.At)
	case plan.StepFlags:
		return socket.SetFlags(s.Flags)
	case plan.StepFilter:
		return socket.SetFilter(s.Data)
	}
	if err := sys.SendPacket(s.At.Addr(), s.Data, plan.CriuMark); err != nil {
		return err
	}
	return awaitState(s, socket)
}

const stateTimeout = 5 * time.Second

// awaitState: the packet goes through this host's own network, which delivers it in its own time.
func awaitState(s plan.Step, socket sys.Socket) error {
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

// reenterRepair puts connections that are awake back into repair mode, so that nothing is sent when their tasks end.
// Some tasks may have been let go.
func (r *Runner) reenterRepair() {
	for _, c := range r.asleep {
		if socket, err := r.tasks[c.Pid].Socket(c.Fd); err == nil {
			_ = doStep(plan.OptionStep(uapi.SolTCP, uapi.TcpRepair, 1), socket)
			socket.Close()
		}
	}
}

// openNetwork undoes the lock. That it is gone already is fine: the images may have been restored before, or come from
// elsewhere.
func openNetwork(l *plan.NetworkLock) error {
	for _, table := range l.Tables {
		if err := sys.DeleteTable(table); err != nil {
			return fmt.Errorf("restore: unlock the network: %w", err)
		}
	}
	for _, rule := range l.Rules {
		if err := removeRule(rule); err != nil {
			return fmt.Errorf("restore: unlock the network: %w", err)
		}
	}
	return nil
}

// removeRule deletes a rule of iptables that criu dump has left. That the rule is gone already is no error.
func removeRule(r plan.LockRule) error {
	tool, err := exec.LookPath(r.Tool())
	if errors.Is(err, exec.ErrNotFound) {
		return nil // the rule cannot have been made here
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
