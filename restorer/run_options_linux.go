//go:build amd64

package restorer

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/pause"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/restorer/internal/run"
)

// DefaultTimeout is the longest time without progress where RunOptions do not say.
const DefaultTimeout = run.DefaultTimeout

// RunOptions say how a plan is carried out. All functions are called by the goroutine that calls Prepare and Run, and
// hold the restore up.
type RunOptions struct {
	HookTimeout  time.Duration     // longest time that one call into a plugin may take; 0: no limit
	Timeout      time.Duration     // longest time without progress, hooks aside; 0: DefaultTimeout
	LeaveStopped bool              // leave every task stopped, by SIGSTOP
	Log          func(report.Line) // receives what plugins log; may be nil
	// called before anything is made that a failure would undo; may be nil
	BeforeMaking func()
	// called when everything is restored and nothing runs yet; may be nil. An error undoes the restore
	BeforeResume func(root int) error

	// Act is called at each Action, with the pid of the root task, or 0 at PreRestore; may be nil. An error
	// undoes the restore, except at PostResume.
	Act func(a Action, root int) error

	// Master gets the master of each terminal that tasks have open and whose master none has, such as a container's
	// /dev/console, before the tasks are restored; it is closed when that returns. Without it such terminals are
	// refused. An error undoes the restore.
	Master func(master *os.File) error

	// Body becomes the root task, if it is not nil. When the restore fails it exits with the status that Failed
	// gives, as soon as everything else is undone; a Body needs Failed.
	Body   Body
	Failed func(err error) (status int)

	Trace func(step string) // called as the restore is prepared and proceeds; may be nil

	Pause *pause.Options // has hooks wait for a debugger; nil: none does

	// Calls notes the calls into plugins, for Prepared.Calls: they come one after the other then, of all tasks and
	// threads. TraceCalls also notes the system calls that hooks make, Diff what they change. Each of the last two
	// implies Calls; none goes with Pause.
	Calls, TraceCalls, Diff bool
}

// watched reports whether calls into plugins are noted.
func (o *RunOptions) watched() bool { return o.Calls || o.TraceCalls || o.Diff }

// A Body is a process that exists and becomes the root task: it has the pid already, and a parent that waits for it.
type Body interface {
	Pid() int
	// Execute has it execute a zygote with files as its descriptors, up to number needed; trace is called with the
	// thread that will, just before.
	Execute(zygote *os.File, files []*os.File, needed int, trace func(tid int) error) error
}

// Action is a moment of a restore at which a program outside may act, as the action scripts of criu(8).
type Action string

// The actions of a restore, in order.
const (
	PreRestore          = Action(run.PreRestore)          // no process exists
	SetupNamespaces     = Action(run.SetupNamespaces)     // the root task exists, in namespaces of its own
	PostSetupNamespaces = Action(run.PostSetupNamespaces) // and they are set up; the task has not done anything yet
	PostRestore         = Action(run.PostRestore)         // the tasks are as they were, and stopped
	PreResume           = Action(run.PreResume)           // their connections are awake, too
	PostResume          = Action(run.PostResume)          // the tasks run
)

// check finds values out of range.
func (o *RunOptions) check() error {
	var errs []error
	if o.HookTimeout < 0 {
		errs = append(errs, fmt.Errorf("options: HookTimeout is %v, want 0 or more", o.HookTimeout))
	}
	if o.Timeout < 0 {
		errs = append(errs, fmt.Errorf("options: Timeout is %v, want 0 or more", o.Timeout))
	}
	if o.watched() && o.Pause != nil {
		errs = append(errs, errors.New("options: calls are not noted while a debugger looks at them: Pause excludes Calls, "+
			"TraceCalls and Diff"))
	}
	if o.Body != nil && o.Failed == nil {
		errs = append(errs, errors.New("options: a Body needs Failed, which gives its exit status"))
	}
	return several.Join(errs...)
}

// runner translates the options into those of package run, which an importer cannot name.
func (o *RunOptions) runner() *run.Options {
	r := &run.Options{
		HookTimeout: o.HookTimeout, Timeout: o.Timeout, LeaveStopped: o.LeaveStopped, Log: o.Log,
		BeforeResume: o.BeforeResume,
		Master:       o.Master,
		Body:         o.Body, Failed: o.Failed, Trace: o.Trace, Pause: o.Pause,
	}
	if o.Act != nil {
		r.Act = func(a run.Action, root int) error { return o.Act(Action(a), root) }
	}
	return r
}
