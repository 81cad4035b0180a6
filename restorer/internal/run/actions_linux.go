//go:build amd64

package run

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// Action is a moment of a restore at which a program outside may act, as the action scripts of criu(8).
type Action string

// The actions of a restore, in order.
const (
	PreRestore          Action = "pre-restore"           // no process exists
	SetupNamespaces     Action = "setup-namespaces"      // the root task exists, in namespaces of its own
	PostSetupNamespaces Action = "post-setup-namespaces" // and others have acted in them; the task has not
	PostRestore         Action = "post-restore"          // the tasks are as they were, and stopped
	PreResume           Action = "pre-resume"            // their connections are awake, too
	PostResume          Action = "post-resume"           // the tasks run
)

// act runs the actions of a step of a restore. The tasks may stand still as long as they take.
func (r *Runner) act(a Action) func() error {
	return func() error {
		if r.Opts.Act == nil {
			return nil
		}
		root := 0
		if a != PreRestore {
			root = r.Root()
		}
		err := r.Opts.Act(a, root)
		r.watch.moved = time.Now()
		if err == nil && (a == PostRestore || a == PreResume) {
			err = r.allThere()
		}
		return err
	}
}

// allThere finds a task that was killed while others acted: nobody else looks at tasks that are stopped.
func (r *Runner) allThere() error {
	for _, t := range r.Plan.Alive() {
		for _, th := range t.Threads {
			ws, changed, err := sys.Poll(r.tid(th))
			if err != nil {
				return fmt.Errorf("restore task %d: %w", t.Pid, err)
			}
			ending := ws.Exited() || ws.Signaled() || sys.Event(ws) == unix.PTRACE_EVENT_EXIT
			if changed && ending {
				return failed(t, th.Tid, "thread %d was killed while others acted", th.Tid)
			}
		}
	}
	return nil
}

// setUpNamespaces acts while the zygote waits, or the root task waits to be traced.
func (r *Runner) setUpNamespaces() error {
	if !r.Plan.Namespaces {
		return nil
	}
	if r.Opts.Act != nil {
		if err := r.await(r.namespacesMade); err != nil {
			return err
		}
		if err := r.act(SetupNamespaces)(); err != nil {
			return err
		}
		if err := r.act(PostSetupNamespaces)(); err != nil {
			return err
		}
		if err := r.inNetwork(r.checkInterfaces); err != nil {
			return err
		}
	}
	if r.Plan.NamespacesMade != 0 {
		r.share.tell(abi.ControlTracedAt(r.zygoteStatus()), 1)
	}
	return nil
}

// checkInterfaces looks for what others should have made.
func (r *Runner) checkInterfaces() error {
	var errs []error
	for _, number := range r.Plan.InterfaceNumbers {
		if host.InterfaceName(number) == "" {
			errs = append(errs, fmt.Errorf("restore: network interface %d, to which a packet socket is bound: "+
				"nobody has made it at setup-namespaces", number))
		}
	}
	for _, name := range r.Plan.Interfaces {
		if host.InterfaceNumber(name) == 0 {
			errs = append(errs, fmt.Errorf("restore: network interface %s, to which a socket is bound: nobody has made it "+
				"at setup-namespaces", escape.Name(name)))
		}
	}
	return several.Join(errs...)
}

// handOutMasters gives away the ends of terminals that no task has.
func (r *Runner) handOutMasters() error {
	for _, m := range r.Plan.Masters {
		if err := r.handOut(m); err != nil {
			return fmt.Errorf("restore: master of %s: %w", m.Name, err)
		}
	}
	return nil
}

func (r *Runner) handOut(m plan.Master) error {
	master, err := m.Open()
	if err != nil {
		return err
	}
	defer master.Close()
	return r.Opts.Master(master)
}

func (r *Runner) namespacesMade() bool {
	if gate := r.Plan.NamespacesMade; gate != 0 {
		return int(r.share.status(r.zygoteStatus()).Op) >= gate
	}
	return r.status(r.Plan.Tasks[0].StatusIndex).State != abi.StateNew
}

// zygoteStatus is the index of the zygote's status: the last.
func (r *Runner) zygoteStatus() int { return len(r.watch.statuses) - 1 }
