package inject

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/pause"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/stage"
)

// Options are common to Spawn and Attach.
type Options struct {
	Plugins     []blob.Input
	Stages      []stage.Stage     // whose hooks run; empty: those of a restore
	HookTimeout time.Duration     // of one call into a plugin; 0: no limit
	StopTimeout time.Duration     // for a thread to stop; 0: DefaultStopTimeout
	Log         func(report.Line) // gets what plugins log; nil: nobody
	LogLevel    report.LogLevel
	Trace       bool // notes the system calls that hooks make
	Diff        bool // finds out what they change
	Rehearse    bool // runs them in copies of the processes, which go on meanwhile; only of Attach

	// ResidentHooks has hooks run that the process carries itself: "auto", "require" at least one in the first process,
	// or the SONAME of a library; empty: none.
	ResidentHooks string

	Pause *pause.Options // has hooks wait for a debugger; nil: none does

	OwnPids bool // selectors name processes by the numbers that they have for themselves, as in a restore

	// AfterFailure are the plugins whose hooks of PIE_DMP_RESUMED run if one of PIE_DMP_PRE_DUMP fails; nil:
	// Plugins.
	AfterFailure []blob.Input

	Leave Leave // what becomes of the processes when their hooks have run; only of Attach

	// Hold is called when all hooks have run and everything is taken out again, while all processes still stand.
	// They go on when it returns. nil: at once. Only of Attach.
	Hold func(context.Context) error
}

// Leave is how processes are left.
type Leave int

// Ways to leave them. If anything fails they are left as they were found.
const (
	AsFound Leave = iota
	Running       // also if their cgroup was frozen
	Frozen        // in their cgroup, which has no other processes: criu dump --freeze-cgroup finds them so
	Stopped       // as by SIGSTOP, which images of criu dump show
)

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
	Notes   []string      `json:"notes,omitempty"` // what whoever tries may want to know
	Paused  time.Duration `json:"paused_ns"`       // how long it did not run

	Rehearsed bool  `json:"rehearsed,omitempty"` // the calls were made in a copy
	Diff      *Diff `json:"diff,omitempty"`      // with Options.Diff
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

	Syscalls []*Syscall `json:"syscalls,omitempty"` // with Options.Trace
	Untraced int        `json:"syscalls_omitted,omitempty"`
}

// Syscall is a system call that a hook has made. Calls of the vDSO, such as clock_gettime(2), are none.
type Syscall struct {
	Name       string   `json:"name"`
	Args       []string `json:"args"`
	Result     int64    `json:"result"`
	Error      string   `json:"error,omitempty"` // the name of the errno
	Unfinished bool     `json:"unfinished,omitempty"`
}

// String spells it as strace(1) does.
func (s *Syscall) String() string {
	text := fmt.Sprintf("%s(%s)", s.Name, strings.Join(s.Args, ", "))
	switch {
	case s.Unfinished:
		return text + " did not return"
	case s.Error != "":
		return fmt.Sprintf("%s = -1 %s", text, s.Error)
	case s.Result > math.MaxInt32 || s.Result < 0:
		return fmt.Sprintf("%s = %#x", text, uint64(s.Result))
	}
	return fmt.Sprintf("%s = %d", text, s.Result)
}

// HookFailed is an error of a call into a plugin: Err is a *report.HookError.
type HookFailed struct {
	Report *Report // of what ran until then
	Err    error
}

func (e *HookFailed) Error() string { return e.Err.Error() }
func (e *HookFailed) Unwrap() error { return e.Err }
