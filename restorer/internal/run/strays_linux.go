//go:build amd64

package run

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
)

// stray is a process that the plan does not have: a page reader, or what a hook has forked.
type stray struct {
	pid sys.PID
	fd  sys.Pidfd
}

// strays stops the tasks and their descendants, and lists those that are not in the plan. Who has stopped forks no
// more, so that none is missed.
func (r *Runner) strays(tasks []sys.PID) []stray {
	var found []stray
	queue := tasks
	add := func(pid sys.PID) {
		if fd, err := sys.OpenPidfd(pid); err == nil {
			found, queue = append(found, stray{pid, fd}), append(queue, pid)
		}
	}
	for len(queue) > 0 {
		freeze(queue[0])
		for _, pid := range sys.Children(queue[0]) {
			// else killed with its parent, which lives on for a while
			if r.Plan.Uses(int(pid)) && !(r.embodied && !ours(pid)) {
				continue
			}
			add(pid)
		}
		if queue = queue[1:]; len(queue) == 0 {
			r.eachOrphan(found, add)
		}
	}
	return found
}

// eachOrphan finds what a hook has forked and has lost its parent since: a child of this process that still has the
// region.
func (r *Runner) eachOrphan(found []stray, add func(pid sys.PID)) {
	for _, pid := range sys.Children(sys.PID(os.Getpid())) {
		known := r.Plan.Uses(int(pid)) || pid == r.zygote ||
			slices.ContainsFunc(found, func(s stray) bool { return s.pid == pid })
		if !known && hasRegion(pid) {
			add(pid)
		}
	}
}

func hasRegion(pid sys.PID) bool {
	maps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	return strings.Contains(string(maps), "/memfd:"+regionName+" ")
}

// freezeTime bounds the wait for a thread that sleeps in the kernel and cannot stop.
const freezeTime = time.Second

// freeze stops a process that is not collected before its parent is, so that the pid is still its own.
func freeze(pid sys.PID) {
	_ = sys.Kill(pid, unix.SIGSTOP)
	for end := time.Now().Add(freezeTime); !frozen(pid) && time.Now().Before(end); {
		time.Sleep(collectPause)
	}
}

// frozen reports whether no thread runs: each has stopped or ended, proc(5).
func frozen(pid sys.PID) bool {
	for _, thread := range sys.Threads(pid) {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", pid, thread))
		if i := strings.LastIndex(string(stat), ") "); i >= 0 &&
			!strings.ContainsRune("TtZX", rune(stat[i+2])) {
			return false
		}
	}
	return true
}

// endStrays kills and collects them; their parents have been killed, so that they are this process's children.
func endStrays(strays []stray) error {
	var errs []error
	for _, s := range strays {
		errs = append(errs, s.fd.Kill())
	}
	for _, s := range strays {
		errs = append(errs, s.fd.AwaitEnd())
		if _, _, err := sys.Poll(s.pid); err != nil && !errors.Is(err, unix.ECHILD) {
			errs = append(errs, err)
		}
		s.fd.Close()
	}
	return several.Join(errs...)
}
