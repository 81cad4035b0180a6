package inject

import (
	"time"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/stage"
)

// Options are common to Spawn and Attach.
type Options struct {
	Plugins     []blob.Input
	Stages      []stage.Stage     // whose hooks run; empty: all
	HookTimeout time.Duration     // of one call into a plugin; 0: no limit
	StopTimeout time.Duration     // for a thread to stop; 0: DefaultStopTimeout
	Log         func(report.Line) // gets what plugins log; nil: nobody
	LogLevel    report.LogLevel
}

// DefaultStopTimeout is how long a thread that is asked to stop may take.
const DefaultStopTimeout = 5 * time.Second

// Report is what was done.
type Report struct {
	Processes []*Process `json:"processes"`
}

// Process is what was done to one process.
type Process struct {
	Pid     int           `json:"pid"`
	Comm    string        `json:"comm"`
	Threads int           `json:"threads"`
	At      string        `json:"at,omitempty"` // where the program was stopped
	Calls   []*Call       `json:"calls"`
	Paused  time.Duration `json:"paused_ns"` // how long it did not run
}

// Call is one call into a plugin.
type Call struct {
	Plugin  string        `json:"plugin"`
	Stage   stage.Stage   `json:"-"`
	Hook    string        `json:"hook"`
	Tid     int           `json:"tid"`
	Early   bool          `json:"early,omitempty"` // a restore runs it before the process is complete
	Result  int32         `json:"result"`
	Skipped bool          `json:"not_for_this_task,omitempty"` // it returned -ENOTSUP
	Failed  bool          `json:"failed,omitempty"`
	Took    time.Duration `json:"took_ns"`
}

// HookFailed is an error of a call into a plugin: Err is a *report.HookError.
type HookFailed struct {
	Report *Report // of what ran until then
	Err    error
}

func (e *HookFailed) Error() string { return e.Err.Error() }
func (e *HookFailed) Unwrap() error { return e.Err }
