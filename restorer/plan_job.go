package restorer

import (
	"fmt"
	"os"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
)

// job is one restore that is being planned: what every room of the planner reads and adds to.
type job struct {
	problems
	dir  *images.Dir
	host *Host
	opts *PlanOptions
	plan *Plan
	fds  *numbers

	shared    *program       // operations of the zygote, which makes what several tasks share
	sharedFDs map[uint32]int // descriptors that the zygote has made, by file id
	births    map[uint32]birth

	pages     map[string]int        // descriptor numbers of the pages files
	openFiles map[uint32]string     // the first descriptor of each file, for messages; see opened
	deferred  map[uint32][]deferred // operations that wait for a phase, by pid
	handovers map[uint32][]handover // deferred operations of shared descriptions, by file id
}

func newJob(dir *images.Dir, host *Host, opts *PlanOptions) *job {
	return &job{
		dir: dir, host: host, opts: opts, sharedFDs: map[uint32]int{}, pages: map[string]int{},
		deferred: map[uint32][]deferred{}, handovers: map[uint32][]handover{},
	}
}

// jobTask is one process of a job, or the zygote.
type jobTask struct {
	of   *job
	img  *images.Task
	task *Task
	prog *program // the leader's
}

// newTask begins the plan of a process.
func (j *job) newTask(img *images.Task, task *Task) *jobTask {
	return &jobTask{of: j, img: img, task: task, prog: &program{arena: j.plan.arena}}
}

func (t *jobTask) where() string { return fmt.Sprintf("task %d", t.task.Pid) }

// phase is a moment in the restore of a task for which operations are planned ahead.
type phase int

const (
	phaseDescriptors phase = iota // every other description of the task exists
	phaseSeals                    // the task has its mappings
	phaseOwners                   // every task exists, and this one still has the restorer's privileges
	phaseTimers                   // the last hook has run
)

// deferred is an operation that a task carries out in a later phase.
type deferred struct {
	phase phase
	plan  func(prog *program)
}

// later defers operations of a task, or of the zygote, whose pid is 0 here.
func (j *job) later(pid uint32, ph phase, plan func(prog *program)) {
	j.deferred[pid] = append(j.deferred[pid], deferred{ph, plan})
}

func (t *jobTask) later(ph phase, plan func(prog *program)) { t.of.later(t.img.Pid, ph, plan) }

// waits reports whether something of the task is deferred to a phase.
func (t *jobTask) waits(ph phase) bool {
	for _, d := range t.of.deferred[t.img.Pid] {
		if d.phase == ph {
			return true
		}
	}
	return false
}

// enter plans what was deferred to a phase, in the order in which it was deferred.
func (t *jobTask) enter(ph phase) {
	for _, d := range t.of.deferred[t.img.Pid] {
		if d.phase == ph {
			d.plan(t.prog)
		}
	}
}

// handover is a deferred operation on a description that the zygote has made: the first task that has it carries it out.
type handover struct {
	phase phase
	plan  func(prog *program, fd uint64)
}

// handOver defers an operation to the first task that has a description.
func (j *job) handOver(id uint32, ph phase, plan func(prog *program, fd uint64)) {
	j.handovers[id] = append(j.handovers[id], handover{ph, plan})
}

// handedOver reports whether something of a phase waits for a task that has the description.
func (j *job) handedOver(id uint32, ph phase) bool {
	for _, h := range j.handovers[id] {
		if h.phase == ph {
			return true
		}
	}
	return false
}

// adopt defers what was handed over with a description, which has a number in this task.
func (t *jobTask) adopt(id uint32, fd uint64) {
	for _, h := range t.of.handovers[id] {
		t.later(h.phase, func(prog *program) { h.plan(prog, fd) })
	}
	delete(t.of.handovers, id)
}

// Marks that the leader of a task reaches one after the other; others wait for them.
const (
	markBorn     = 1 + iota // it exists
	markGroup               // it leads or is in its process group
	markHelpers             // its helpers have ended
	markLate                // it has what others take from it
	markLeases              // it has its leases
	markOwnFiles            // what it does with descriptors of its own is done; the owner of the shared table may go on
	markFiles               // the descriptors are the application's
)

func (t *jobTask) mark(what string, mark uint64) { t.prog.core(abi.OpMark, what, mark) }

// follow waits until another task has reached a mark.
func (t *jobTask) follow(what string, other *images.Task, mark uint64) {
	t.prog.core(abi.OpFollow, what, uint64(t.of.statusOf(other)), mark)
}

// statusOf is the index of the leader's status, as Plan.status gives it for a task that is planned.
func (j *job) statusOf(of *images.Task) int {
	index := 0
	for _, t := range j.dir.Tasks {
		if t == of {
			break
		}
		index += len(t.Threads)
	}
	return index
}

// zygoteTask plans descriptors of the zygote's like a task's.
func (j *job) zygoteTask(made []*pb.FdinfoEntry) *jobTask {
	return &jobTask{of: j, img: &images.Task{Fds: made}, task: &Task{Pid: int(j.dir.Tasks[0].Pid)}, prog: j.shared}
}

// findTask finds a task by a pid that may be of nobody.
func (j *job) findTask(pid int32) *images.Task {
	if pid <= 0 {
		return nil
	}
	return j.dir.TaskByPid(uint32(pid))
}

// opened names the first descriptor that each file has in some task.
func (j *job) opened() map[uint32]string {
	if j.openFiles == nil {
		j.openFiles = map[uint32]string{}
		for _, t := range j.dir.Tasks {
			for _, fd := range t.Fds {
				if j.openFiles[fd.GetId()] == "" {
					j.openFiles[fd.GetId()] = fmt.Sprintf("task %d fd %d", t.Pid, fd.GetFd())
				}
			}
		}
	}
	return j.openFiles
}

// payload reads data that lies in an image; images.Open has checked its size.
func (j *job) payload(where string, r images.Range) []byte {
	if r.Size == 0 {
		return nil
	}
	b, err := images.ReadRange(j.dir.FS, r)
	if err != nil {
		j.refuse(where, "", "%v", err)
	}
	return b
}

// pagesFD gives the number under which tasks inherit an image file of the directory or one of its parents.
func (j *job) pagesFD(level int, file string) int {
	name := strings.Repeat("parent/", level) + file
	if fd, ok := j.pages[name]; ok {
		return fd
	}
	fd := j.fds.scratch()
	j.pages[name] = fd
	j.plan.Files = append(j.plan.Files, Passed{fd, name, func() (*os.File, error) { return j.opts.OpenImage(level, file) }})
	return fd
}

// timeNamespaceID is under which number the images have the clocks: 0 if the tasks were in CRIU's time namespace. What crpie
// or CRIU has restored is in one of its own, time_namespaces(7).
func (j *job) timeNamespaceID() uint32 {
	its := j.dir.Tasks[0].Ids.GetTimeNsId()
	if its == j.dir.Inventory.GetRootIds().GetTimeNsId() {
		return 0
	}
	return its
}

// Clocks of timerfd_create(2).
const (
	clockMonotonic = 1
	clockBoottime  = 7
	clockBootAlarm = 9
)

// clock tells, in nanoseconds, what a clock says when the tasks go on.
func (j *job) clock(id uint32) int64 {
	te := j.dir.Timens[j.timeNamespaceID()]
	if !j.host.TimeNamespaces {
		te = nil
	}
	switch {
	case id == clockMonotonic && te != nil:
		return int64(te.GetMonotonic().GetTvSec())*1e9 + int64(te.GetMonotonic().GetTvNsec())
	case id == clockMonotonic:
		return j.host.MonotonicNs
	case (id == clockBoottime || id == clockBootAlarm) && te != nil:
		return int64(te.GetBoottime().GetTvSec())*1e9 + int64(te.GetBoottime().GetTvNsec())
	case id == clockBoottime || id == clockBootAlarm:
		return j.host.BoottimeNs
	}
	return j.opts.RestoreTimeNs
}
