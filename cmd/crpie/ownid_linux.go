//go:build linux && amd64

package main

import (
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/crpie/crpie/internal/become"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/restorer"
)

// startedOver is in the environment of a crpie that goes on where another one has begun, and must not start itself
// over.
const startedOver = "CRPIE_STARTED_OVER"

// giveID makes way for a task that needs an id which crpie has. A thread's goes with the thread. The pid stays, and
// if the root task needs it, which crpie would wait for, crpie becomes that task. A caller that expects crpie to
// end first, or to become another program, would wait for the wrong one.
func (r *restoreFlags) giveID(own *restorer.OwnIDError, relay *relay) (status int, err error) {
	switch {
	case own.Thread && os.Getenv(startedOver) == "":
		return 0, several.Join(own, freshThreads())
	case own.Thread || !own.Root || own.ID == 1 || r.detached || r.execCmd || sys.Secure():
		return 0, own
	}
	controller, err := become.Start(!r.shellJob, startedOver+"=1")
	if err != nil {
		return 0, several.Join(own, err)
	}
	relay.forward(controller.Pass)
	return controller.Follow(relay.drain)
}

// freshThreads starts this process over: execve(2) keeps its pid, but its other threads, one of which has an id that
// the restored process needs, make way for new ones, whose ids lie elsewhere: restorer.Prepare has seen to that. It
// returns only on an error.
func freshThreads() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, append(os.Environ(), startedOver+"=1"))
}

// environ is the environment that crpie was started with.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, startedOver+"=") })
}
