//go:build amd64

package run

import "github.com/crpie/crpie/internal/abi"

// Action is a moment of a restore at which a program outside may act, as the action scripts of criu(8).
type Action string

// The actions of a restore, in order.
const (
	PreRestore          Action = "pre-restore"           // no process exists
	SetupNamespaces     Action = "setup-namespaces"      // the root task exists, in namespaces of its own
	PostSetupNamespaces Action = "post-setup-namespaces" // and they are set up; the task has not done anything yet
	PostRestore         Action = "post-restore"          // the tasks are as they were, and stopped
	PreResume           Action = "pre-resume"            // their connections are awake, too
	PostResume          Action = "post-resume"           // the tasks run
)

// act runs the actions of a step of a restore.
func (r *Runner) act(a Action) func() error {
	return func() error {
		if r.Opts.Act == nil {
			return nil
		}
		root := 0
		if a != PreRestore {
			root = r.Root()
		}
		return r.Opts.Act(a, root)
	}
}

// setUpNamespaces acts while the root task waits to be traced.
func (r *Runner) setUpNamespaces() error {
	if !r.Plan.Namespaces || r.Opts.Act == nil {
		return nil
	}
	root := r.Plan.Tasks[0].StatusIndex
	if err := r.await(func() bool { return r.status(root).State != abi.StateNew }); err != nil {
		return err
	}
	if err := r.act(SetupNamespaces)(); err != nil {
		return err
	}
	return r.act(PostSetupNamespaces)()
}
