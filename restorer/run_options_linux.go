//go:build amd64

package restorer

import "github.com/crpie/crpie/restorer/internal/run"

// RunOptions say how a plan is carried out.
type RunOptions = run.Options

// A Body is a process that becomes the root task.
type Body = run.Body

// DefaultTimeout is the longest time without progress, hooks aside.
const DefaultTimeout = run.DefaultTimeout

// Line is what a plugin has logged.
type Line = run.Line

// Action is a moment of a restore at which somebody outside may act, as the action scripts of criu(8).
type Action = run.Action

// The actions of a restore, in order.
const (
	PreRestore          = run.PreRestore
	SetupNamespaces     = run.SetupNamespaces
	PostSetupNamespaces = run.PostSetupNamespaces
	PostRestore         = run.PostRestore
	PreResume           = run.PreResume
	PostResume          = run.PostResume
)

// ActionError says which action ended a restore.
type ActionError = run.ActionError

// HookError says which call into which plugin ended a restore.
type HookError = run.HookError

// TaskError says what a task, or one of its threads, was about when it ended a restore.
type TaskError = run.TaskError

// NewScripts starts action scripts.
var NewScripts = run.NewScripts
