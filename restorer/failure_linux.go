//go:build amd64

package restorer

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/refusal"
	"github.com/crpie/crpie/report"
	"github.com/hashicorp/go-multierror"
)

// Kinds of failures.
const (
	KindPlugin  = "plugin"  // an object is not a plugin
	KindImages  = "images"  // the images are damaged or cannot be read
	KindRefused = "refused" // the images or this host have what cannot be restored
	KindScript  = "script"  // an action script failed
	KindHook    = "hook"    // a call into a plugin failed
	KindTask    = "task"    // a process could not be restored, or ended
	KindOther   = "other"
)

// Failure is why a restore failed, for programs. Members that do not apply are empty.
type Failure struct {
	Kind      string           `json:"kind"`
	Task      int              `json:"task,omitempty"`
	Thread    int              `json:"thread,omitempty"`
	Plugin    string           `json:"plugin,omitempty"`
	Hook      string           `json:"hook,omitempty"`
	Function  string           `json:"function,omitempty"`
	File      string           `json:"file,omitempty"` // source file of the hook, or the image
	Line      int              `json:"line,omitempty"`
	InlinedAt []string         `json:"inlined_at,omitempty"` // calls that brought the line into the function
	Callers   []string         `json:"callers,omitempty"`    // of the place where a hook failed
	Operation string           `json:"operation,omitempty"`  // what the task was doing
	Action    Action           `json:"action,omitempty"`     // of a script
	Errno     string           `json:"errno,omitempty"`      // ENOENT, ...
	Message   string           `json:"message"`              // what crpie says to people
	Problems  []FailureProblem `json:"problems,omitempty"`   // of what was refused, and of objects
}

// FailureProblem is one of several reasons.
type FailureProblem struct {
	Where string `json:"where"` // "task 12 fd 3", "hook.o"
	Code  string `json:"code,omitempty"`
	What  string `json:"what"`
	Fix   string `json:"fix,omitempty"`
}

// Describe tells what there is to know of an error of Prepare or Run, or of loading plugins.
func Describe(err error) Failure {
	f := Failure{Kind: KindOther, Message: err.Error()}
	if errno := unix.Errno(0); errors.As(err, &errno) {
		f.Errno = unix.ErrnoName(errno)
	}
	var (
		own    *OwnIDError
		no     *refusal.Refusal
		image  *images.Error
		script *ActionError
		hook   *report.HookError
		task   *report.TaskError
	)
	switch {
	case errors.As(err, &hook):
		f.hook(hook)
	case errors.As(err, &task):
		f.Kind, f.Task, f.Thread, f.Operation = KindTask, task.Pid, task.Tid, task.Operation
		f.errno(task.Errno)
	case errors.As(err, &script):
		f.Kind, f.Action, f.File = KindScript, script.Action, script.Script
	case errors.As(err, &no):
		f.Kind = KindRefused
		for _, p := range no.Problems {
			f.Problems = append(f.Problems, FailureProblem{Where: p.Where, What: p.What, Fix: p.Fix})
		}
	case errors.As(err, &own):
		f.Kind, f.Task = KindRefused, own.ID
	case errors.As(err, &image):
		f.Kind, f.File = KindImages, image.File
	default:
		f.objects(err)
	}
	return f
}

func (f *Failure) errno(errno unix.Errno) {
	if errno != 0 {
		f.Errno = unix.ErrnoName(errno)
	}
}

func (f *Failure) hook(e *report.HookError) {
	f.Kind, f.Task, f.Thread, f.Plugin, f.Hook = KindHook, e.Pid, e.Tid, e.Plugin, e.Hook.String()
	f.Function, f.File, f.Line = e.Location.Function, e.Location.File, e.Location.Line
	for _, call := range e.Location.InlinedAt {
		f.InlinedAt = append(f.InlinedAt, fmt.Sprintf("%s:%d", call.File, call.Line))
	}
	f.Callers = e.Callers
	f.errno(e.Errno)
}

// objects lists the violations of all objects.
func (f *Failure) objects(err error) {
	if all, ok := err.(*multierror.Error); ok {
		for _, one := range all.Errors {
			f.objects(one)
		}
		return
	}
	var object *loader.Error
	if !errors.As(err, &object) {
		return
	}
	f.Kind = KindPlugin
	for _, v := range object.Violations {
		f.Problems = append(f.Problems,
			FailureProblem{Where: object.File, Code: string(v.Code), What: v.Message,
				Fix: v.Fix})
	}
}
