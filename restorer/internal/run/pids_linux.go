//go:build amd64

package run

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/restorer/internal/host"
)

// A plan names tasks and threads by the numbers that they have among themselves, as images do. In a pid namespace of
// their own these are other ones than this process has for them, and everything it asks the kernel takes its own:
// sys.PID. This is the one place where one becomes the other.

// pids finds the numbers that this process has for the threads of a plan.
type pids struct {
	root   sys.PID          // of the root task; 0: the tasks have no pid namespace of their own
	first  sys.PID          // of the process that adopts orphans there; 0: the root task
	known  map[int]sys.PID  // by the numbers of the plan
	looked map[sys.PID]bool // those whose numbers inside have been read
	again  time.Time        // before then the namespace is not searched again for those that may not exist
}

// born begins with the root task, which is the first process of a namespace or has been born into that of first.
func (p *pids) born(tid int, pid sys.PID, first *sys.First) {
	p.root, p.known, p.looked = pid, map[int]sys.PID{tid: pid}, map[sys.PID]bool{pid: true}
	if first != nil {
		p.first = first.PID
	}
}

// of gives a thread's number, sys.Nobody as long as it does not exist. The search for threads that may not exist yet
// takes a tenth of the time at most.
func (p *pids) of(tid int) sys.PID {
	if pid := p.seen(tid); pid != sys.Nobody || time.Now().Before(p.again) {
		return pid
	}
	p.search()
	return p.seen(tid)
}

// find gives the number of a thread that exists.
func (p *pids) find(tid int) sys.PID {
	if pid := p.seen(tid); pid != sys.Nobody {
		return pid
	}
	p.search()
	return p.seen(tid)
}

// seen gives the number of a thread that has been found already; without a pid namespace both numbers are the same.
func (p *pids) seen(tid int) sys.PID {
	if p.root == 0 {
		return sys.PID(tid)
	}
	if pid, ok := p.known[tid]; ok {
		return pid
	}
	return sys.Nobody
}

// search finds all threads of the namespace: they are descendants of the root task, or orphans that the first process
// has adopted.
func (p *pids) search() {
	begun, before := time.Now(), p.looked
	p.looked = map[sys.PID]bool{}
	queue := []sys.PID{p.root}
	if p.first != 0 {
		queue = append(queue, sys.Children(p.first)...)
	}
	for ; len(queue) > 0; queue = queue[1:] {
		for _, thread := range sys.Threads(queue[0]) {
			if p.looked[thread] = true; !before[thread] {
				p.see(thread)
			}
		}
		queue = append(queue, sys.Children(queue[0])...)
	}
	p.again = time.Now().Add(max(idle, 10*time.Since(begun)))
}

// see takes a thread's numbers from NSpid of proc_pid_status(5): this namespace's, then the one inside. A thread in
// a namespace below that is no thread of the plan.
func (p *pids) see(thread sys.PID) {
	for line := range strings.Lines(host.ReadProc(fmt.Sprintf("/proc/%d/status", thread))) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok {
			if inside := strings.Fields(numbers); len(inside) == 2 {
				tid, _ := strconv.Atoi(inside[1])
				p.known[tid] = thread
			}
			return
		}
	}
}
