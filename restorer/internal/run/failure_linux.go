//go:build amd64

package run

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// TaskError says what a task, or one of its threads, was about when it ended a restore.
type TaskError struct {
	Pid, Tid  int
	Operation string     // the step that failed; "" when it is about something else
	Errno     unix.Errno // its result; 0: none
	Message   string
}

func (e *TaskError) Error() string { return fmt.Sprintf("restore task %d: %s", e.Pid, e.Message) }

// failed makes the error of a thread.
func failed(t *plan.Task, tid int, format string, args ...any) *TaskError {
	return &TaskError{Pid: t.Pid, Tid: tid, Message: fmt.Sprintf(format, args...)}
}

// errnoOf takes the error out of the result of a system call or a hook; 0: there is none.
func errnoOf(result int64) unix.Errno {
	if result < 0 && result > -4096 {
		return unix.Errno(-result)
	}
	return 0
}

// place locates an address of the blob; outside it there is nothing to say.
func (r *Runner) place(addr uint64) blob.Location {
	loc, _ := r.Plan.Image.Locate(blob.Addr(addr))
	return loc
}
