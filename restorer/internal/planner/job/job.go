package job

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/refuse"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/namespaces"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// Job is one restore that is being planned: what every room of the planner reads and adds to.
type Job struct {
	refuse.Collector
	Dir  *images.Dir
	Host *host.Host
	Opts *Options
	Own  *namespaces.Plan // the namespaces of the tasks' own
	Plan *plan.Plan
	Fds  *numbers

	Shared    *plan.Program  // operations of the zygote, which makes what several tasks share
	SharedFDs map[uint32]int // descriptors that the zygote has made, by file id
	Births    map[uint32]Birth

	pages     map[string]int        // descriptor numbers of the pages files
	openFiles map[uint32]string     // the first descriptor of each file, for messages; see opened
	deferred  map[uint32][]deferred // operations that wait for a phase, by pid
	handovers map[uint32][]handover // deferred operations of shared descriptions, by file id
}

// New begins a job.
func New(dir *images.Dir, host *host.Host, opts *Options) *Job {
	own := opts.Namespaces
	if own == nil {
		own = namespaces.New(dir, &namespaces.Options{})
	}
	return &Job{
		Dir: dir, Host: host, Opts: opts, Own: own, SharedFDs: map[uint32]int{}, pages: map[string]int{},
		deferred: map[uint32][]deferred{}, handovers: map[uint32][]handover{},
	}
}

// Process is one process of a job, or the zygote.
type Process struct {
	Of   *Job
	Img  *images.Task
	Task *plan.Task
	Prog *plan.Program // the leader's
}

// NewTask begins the plan of a process.
func (j *Job) NewTask(img *images.Task, task *plan.Task) *Process {
	return &Process{Of: j, Img: img, Task: task, Prog: plan.NewTaskProgram(j.Plan.Arena)}
}

// Where names the task in messages.
func (t *Process) Where() string { return fmt.Sprintf("task %d", t.Task.Pid) }

// Phase is a moment in the restore of a task for which operations are planned ahead.
type Phase int

const (
	PhaseDescriptors Phase = iota // every other description of the task exists
	PhaseSeals                    // the task has its mappings
	PhaseOwners                   // every task exists, and this one still has the restorer's privileges
	PhaseTimers                   // the last hook has run
)

var phaseNames = [...]string{PhaseDescriptors: "descriptors", PhaseSeals: "seals", PhaseOwners: "owners",
	PhaseTimers: "timers"}

// String names the phase in a printed plan.
func (ph Phase) String() string { return phaseNames[ph] }

// deferred is an operation that a task carries out in a later phase.
type deferred struct {
	phase Phase
	plan  func(prog *plan.Program)
}

// Later defers operations of a task, or of the zygote, whose pid is 0 here.
func (j *Job) Later(pid uint32, ph Phase, plan func(prog *plan.Program)) {
	j.deferred[pid] = append(j.deferred[pid], deferred{ph, plan})
}

// Later plans operations for a phase of this task.
func (t *Process) Later(ph Phase, plan func(prog *plan.Program)) { t.Of.Later(t.Img.Pid, ph, plan) }

// Waits reports whether something of the task is deferred to a phase.
func (t *Process) Waits(ph Phase) bool {
	for _, d := range t.Of.deferred[t.Img.Pid] {
		if d.phase == ph {
			return true
		}
	}
	return false
}

// Enter plans what was deferred to a phase, in the order in which it was deferred.
func (t *Process) Enter(ph Phase) {
	t.Prog.Phase = ph.String()
	for _, d := range t.Of.deferred[t.Img.Pid] {
		if d.phase == ph {
			d.plan(t.Prog)
		}
	}
	t.Prog.Phase = ""
}

// handover is a deferred operation on a description that the zygote has made: the first task that has it carries it
// out.
type handover struct {
	phase Phase
	plan  func(prog *plan.Program, fd uint64)
}

// HandOver defers an operation to the first task that has a description.
func (j *Job) HandOver(id uint32, ph Phase, plan func(prog *plan.Program, fd uint64)) {
	j.handovers[id] = append(j.handovers[id], handover{ph, plan})
}

// HandedOver reports whether something of a phase waits for a task that has the description.
func (j *Job) HandedOver(id uint32, ph Phase) bool {
	for _, h := range j.handovers[id] {
		if h.phase == ph {
			return true
		}
	}
	return false
}

// Adopt defers what was handed over with a description, which has a number in this task.
func (t *Process) Adopt(id uint32, fd uint64) {
	for _, h := range t.Of.handovers[id] {
		t.Later(h.phase, func(prog *plan.Program) { h.plan(prog, fd) })
	}
	delete(t.Of.handovers, id)
}

// Mark sets a mark that others wait for: abi.Mark….
func (t *Process) Mark(what string, mark uint64) { t.Prog.Core(what, abi.SetMark{Mark: mark}) }

// Follow waits until another task has reached a mark.
func (t *Process) Follow(what string, other *images.Task, mark uint64) {
	t.Prog.Core(what, abi.WaitMark{Status: uint64(t.Of.statusOf(other)), Mark: mark})
}

// statusOf is the index of the leader's status, as Plan.status gives it for a task that is planned.
func (j *Job) statusOf(of *images.Task) int {
	index := 0
	for _, t := range j.Dir.Tasks {
		if t == of {
			break
		}
		index += len(t.Threads)
	}
	return index
}

// ZygoteTask plans descriptors of the zygote's like a task's.
func (j *Job) ZygoteTask(made []*pb.FdinfoEntry) *Process {
	return &Process{Of: j, Img: &images.Task{Fds: made}, Task: &plan.Task{Pid: int(j.Dir.Tasks[0].Pid)},
		Prog: j.Shared}
}

// Holder names the process that has a pid, tid, process group or session number that a task needs; "" when it is free.
func (j *Job) Holder(id uint32) string {
	switch {
	case j.Own.First && id == 1:
		return "the first process of the new pid namespace"
	case j.Own.PID:
		return ""
	}
	return j.Host.Holder(int(id))
}

// HintTaken says what to do about a number that is taken. One that is the first process's is taken in every new pid
// namespace.
func (j *Job) HintTaken() string {
	if j.Own.First {
		return "restore it without --new-pids"
	}
	return "end that process, or use --new-pids: in a pid namespace of their own the tasks have their numbers beside it"
}

// FindTask finds a task by its pid; nil: no task has it.
func (j *Job) FindTask(pid int32) *images.Task {
	if pid <= 0 {
		return nil
	}
	return j.Dir.TaskByPid(uint32(pid))
}

// ProcOf reads the number of the process that a file in /proc is of.
func ProcOf(name string) (pid uint32, of bool) {
	rest, inProc := strings.CutPrefix(name, "/proc/")
	number, _, _ := strings.Cut(rest, "/")
	n, err := strconv.ParseUint(number, 10, 32)
	return uint32(n), inProc && err == nil
}

// Opened names the first descriptor that each file has in some task.
func (j *Job) Opened() map[uint32]string {
	if j.openFiles == nil {
		j.openFiles = map[uint32]string{}
		for _, t := range j.Dir.Tasks {
			for _, fd := range t.Fds {
				if j.openFiles[fd.GetId()] == "" {
					j.openFiles[fd.GetId()] = fmt.Sprintf("task %d fd %d", t.Pid, fd.GetFd())
				}
			}
		}
	}
	return j.openFiles
}

// Payload reads data that lies in an image; images.Open has checked its size.
func (j *Job) Payload(where string, r images.Range) []byte {
	if r.Size == 0 {
		return nil
	}
	b, err := images.ReadRange(j.Dir.FS, r)
	if err != nil {
		j.Refuse(where, "", "%v", err)
	}
	return b
}

// PagesFD gives the number under which tasks inherit an image file of the directory or one of its parents.
func (j *Job) PagesFD(level int, file string) int {
	name := strings.Repeat("parent/", level) + file
	if fd, ok := j.pages[name]; ok {
		return fd
	}
	fd := j.Fds.Scratch()
	j.pages[name] = fd
	j.Plan.Files = append(j.Plan.Files, plan.ExtraFile{Number: fd, Name: name,
		Open: func() (*os.File, error) { return j.Opts.OpenImage(level, file) }})
	return fd
}

// TimeNamespaceID is under which number the images have the clocks: 0 if the tasks were in CRIU's time namespace. What
// crpie or CRIU has restored is in one of its own, time_namespaces(7).
func (j *Job) TimeNamespaceID() uint32 {
	its := j.Dir.Tasks[0].Ids.GetTimeNsId()
	if its == j.Dir.Inventory.GetRootIds().GetTimeNsId() {
		return 0
	}
	return its
}

// Clock tells, in nanoseconds, what a clock says when the tasks go on.
func (j *Job) Clock(id uint32) int64 {
	te, ahead := j.Dir.Timens[j.TimeNamespaceID()], host.Clocks{}
	if !j.Host.TimeNamespaces {
		te = nil
	}
	if joined := j.Host.Joined; joined != nil {
		te, ahead = nil, *joined
	}
	switch {
	case id == uapi.ClockMonotonic && te != nil:
		return int64(te.GetMonotonic().GetTvSec())*1e9 + int64(te.GetMonotonic().GetTvNsec())
	case id == uapi.ClockMonotonic:
		return j.Host.MonotonicNs + ahead.MonotonicNs
	case (id == uapi.ClockBoottime || id == uapi.ClockBoottimeAlarm) && te != nil:
		return int64(te.GetBoottime().GetTvSec())*1e9 + int64(te.GetBoottime().GetTvNsec())
	case id == uapi.ClockBoottime || id == uapi.ClockBoottimeAlarm:
		return j.Host.BoottimeNs + ahead.BoottimeNs
	}
	return j.Opts.RestoreTime.UnixNano()
}

// What a restore loses is refused where the loss would break the application, warned of where only the application
// knows, and documented where the images do not show it, docs/support.md.

// Warn adds to the warnings of the plan.
func (j *Job) Warn(where, format string, args ...any) {
	j.Plan.Warnings = append(j.Plan.Warnings, where+": "+fmt.Sprintf(format, args...))
}
