package report

import (
	"cmp"
	"fmt"
	"syscall"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/stage"
)

// Line is one line that a plugin logged. Plugin and Text come from a process and may contain any byte.
type Line struct {
	Level    LogLevel // LogError to LogDebug
	Pid, Tid int      // of the task and the thread in which the plugin ran
	Hook     stage.Stage
	Plugin   string // as blob.Labels names it
	Text     string // without a newline of its own at the end
}

// HookError says which call into which plugin ended a restore, by package restorer or of grafted images.
type HookError struct {
	Plugin   string        // as blob.Labels names it
	Hook     stage.Stage   // or stage.Init, stage.Exit
	Pid, Tid int           // of the images
	Where    string        // function+offset, with the source line where the object has debug info
	Callers  []string      // of Where, likewise, the innermost first: up to the function that crpie has called
	During   string        // what it ended: "restore" where it is empty
	Cause    string        // "returned -5 (EIO)", "crashed with SIGSEGV at address 0x0"
	Location blob.Location // Where, for programs; in other code than a plugin's that of the caller in one
	Errno    syscall.Errno // that the hook returned; 0: none
}

func (e *HookError) Error() string {
	text := fmt.Sprintf("%s task %d: plugin %s, %s, thread %d: %s: %s", cmp.Or(e.During, "restore"), e.Pid, escape.Name(e.Plugin),
		e.Hook.Call(), e.Tid, e.Where, e.Cause)
	for _, caller := range e.Callers {
		text += "\n    called by " + caller
	}
	return text
}

// TaskError says which step of a task, or of one of its threads, ended a restore.
type TaskError struct {
	Pid, Tid  int
	Operation string        // the step that failed; empty: the task ended or was late
	Errno     syscall.Errno // its result; 0: none
	Message   string
}

func (e *TaskError) Error() string { return fmt.Sprintf("restore task %d: %s", e.Pid, e.Message) }
