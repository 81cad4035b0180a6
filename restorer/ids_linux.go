//go:build amd64

package restorer

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/restorer/internal/host"
)

// The kernel hands out ids in ascending order and begins again at the highest one, pid_namespaces(7); ids that are
// asked for, clone3(2) set_tid, are no part of that order. So that nothing of the restorer's own gets in the way,
// neither a thread that the Go runtime starts when it likes nor the zygote or a page reader, the order continues behind
// the ids of the plan before a process exists.

// idsToSpare is how many ids may be handed out during a restore.
func idsToSpare(tasks int) int { return 1024 + (abi.MaxReaders+1)*tasks }

// keepClear moves the order on if the next ids are needed. It may fail: a taken id is an error later.
func keepClear(dir *images.Dir) {
	last, most := lastID(), highestID()
	if last == 0 || most == 0 {
		return
	}
	if at := behind(idsOf(dir), last, most, idsToSpare(len(dir.Tasks))); at != last {
		sys.SetLastID(last, at)
	}
}

// idsOf lists the numbers of threads, process groups and sessions.
func idsOf(dir *images.Dir) (ids []int) {
	for _, t := range dir.Tasks {
		ids = append(ids, int(t.Pgid), int(t.Sid))
		for _, th := range t.Threads {
			ids = append(ids, int(th.Tid))
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// behind gives the id after which the next ones, spare of them, are none of ids, which are sorted: last if that is so,
// or else the highest of ids, or, should the ids end there, the one with the most room.
func behind(ids []int, last, most, spare int) int {
	if i, _ := slices.BinarySearch(ids, last+1); (i == len(ids) || ids[i] > last+spare) && last+spare <= most {
		return last
	}
	best, room := last, 0
	for i, id := range slices.Backward(ids) {
		next := most + 1
		if i+1 < len(ids) {
			next = ids[i+1]
		}
		if next-id > room {
			best, room = id, next-id
		}
		if room > spare {
			break
		}
	}
	return best
}

// lastID is what was handed out last in this pid namespace, proc_loadavg(5).
func lastID() int {
	fields := strings.Fields(host.ReadProc("/proc/loadavg"))
	if len(fields) == 0 {
		return 0
	}
	last, _ := strconv.Atoi(fields[len(fields)-1])
	return last
}

// highestID: proc_sys_kernel(5) has it as pid_max, which is one more.
func highestID() int {
	most, _ := strconv.Atoi(strings.TrimSpace(host.ReadProc("/proc/sys/kernel/pid_max")))
	return most - 1
}

// OwnIDError says that the restoring process itself has an id that a task must have.
type OwnIDError struct {
	ID     int
	Thread bool // of a thread, not of the task
	Root   bool // it is the root task's pid
}

func (e *OwnIDError) Error() string {
	hint := "run it again, or, as the first program of a container, with exec: it will have another pid; " +
		"or with --new-pids: the task gets a pid namespace of its own"
	if e.Root {
		hint += "; or without -d and --exec-cmd: crpie becomes the task then"
	}
	return fmt.Sprintf("cannot restore: crpie itself was given id %d, which the task must have\n  hint: %s", e.ID,
		hint)
}

// ownID finds ids of this process that the tasks need. One of a thread counts first: it can be had by starting over.
func ownID(dir *images.Dir) error {
	var pid error
	for _, t := range dir.Tasks {
		for _, th := range t.Threads {
			own := &OwnIDError{
				ID: int(th.Tid), Thread: int(th.Tid) != os.Getpid(),
				Root: t.Parent == nil && th.Tid == t.Pid,
			}
			if _, err := os.Lstat(fmt.Sprintf("/proc/self/task/%d", th.Tid)); err != nil {
				continue
			}
			if own.Thread {
				return own
			}
			pid = own
		}
	}
	return pid
}
