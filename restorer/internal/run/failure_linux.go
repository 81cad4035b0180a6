//go:build amd64

package run

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/report"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// failed makes the error of a thread.
func failed(t *plan.Task, tid int, format string, args ...any) *report.TaskError {
	return &report.TaskError{Pid: t.Pid, Tid: tid, Message: fmt.Sprintf(format, args...)}
}

// errnoOf takes the error out of the result of a system call or a hook; 0: there is none.
func errnoOf(result int64) unix.Errno {
	if result < 0 && result > -4096 {
		return unix.Errno(-result)
	}
	return 0
}

// locate finds the location of an address of the blob; the zero Location outside it.
func (r *Runner) locate(addr uint64) blob.Location {
	loc, _ := r.Plan.Image.Locate(blob.Addr(addr))
	return loc
}
