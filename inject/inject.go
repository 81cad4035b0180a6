package inject

import (
	"context"
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
type Process = report.Process

// Call is one call into a plugin.
type Call = report.Call

// Syscall is a system call that a hook has made.
type Syscall = report.Syscall

// Diff is what hooks have changed in a process.
type Diff = report.Diff

// Change is a thing that was one way before and is another way after.
type Change = report.Change

// MemoryChange is memory with other bytes.
type MemoryChange = report.MemoryChange

// Place is where memory lies.
type Place = report.Place

// Pointer is a word that points to the memory that the process has lent.
type Pointer = report.Pointer

// HookFailed is an error of a call into a plugin: Err is a *report.HookError.
type HookFailed struct {
	Report *Report // of what ran until then
	Err    error
}

func (e *HookFailed) Error() string { return e.Err.Error() }
func (e *HookFailed) Unwrap() error { return e.Err }
