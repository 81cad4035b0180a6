package plan

import (
	"os"
	"slices"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/stage"
)

// Plan is everything a restore will do, decided before any process exists.
type Plan struct {
	Region Region
	Image  *blob.Image // nil until the blob is placed
	Zygote []Op        // the program of the process that creates the tasks
	Tasks  []*Task     // parents before children
	Files  []ExtraFile // descriptors that the controller opens and the zygote passes on

	Connections []*Connection // TCP connections, which the controller wakes
	Unlock      NetworkLock   // what keeps packets from them until then

	Warnings []string // what the application may miss, or meet, afterwards

	Sockets []string // paths that were free and will be unix sockets

	DumpTimeNs, RestoreTimeNs int64 // CLOCK_REALTIME
	LogLevel                  uint32
	PauseHook, PausePlugin    uint32      // before whose hooks threads stop, struct crpie_plan
	Notes                     []string    // what comes back otherwise than it was
	Cgroups                   []CgroupDir // to be there before the tasks are
	Itself                    bool        // the zygote is the root task
	Sibling                   bool        // which becomes a child of the restorer's parent
	PidNamespace              bool        // whose pid namespace is new: it is the first there, but for First
	First                     bool        // the namespace has a first process of the restorer's
	ControllerFD              int         // a pidfd of the restorer there
	Namespaces                bool        // the tasks had namespaces of their own
	NamespacesMade            int         // the zygote's operation that waits while others act in them; 0: the root task does

	LateCalls int // into plugins, of one task when it has lost its privileges, at most
	Arena     *memory.Arena
	ZygoteAt  uint64 // where encode has put Zygote
	TasksAt   uint64 // where encode has put struct crpie_task[]

	Mounts  []string // the tree of the tasks' mount namespace, a line each
	Network []string // what is done in their network namespace, a line each

	// Interfaces has the names of those that somebody else makes at SetupNamespaces, and that sockets are bound to.
	Interfaces []string
	// InterfaceNumbers has the numbers of such as packet sockets are bound to: no image has their names.
	InterfaceNumbers []uint32
	// Here gives a path by which the controller reaches what the tasks have at a path in another mount namespace,
	// whose last element is not followed; nil: they are in the controller's. done ends its use.
	Here func(path string) (here string, done func())

	Moments []Moment // names that were free and that files have for a moment

	Masters []Master // of terminals that somebody else gets

	HighestFD int // that a task has while it is restored
}

// Master is the other end of a terminal that tasks have open.
type Master struct {
	Name string // /dev/pts/N
	Open func() (*os.File, error)
}

// Task is one process of the plan.
type Task struct {
	Pid     int
	Comm    string
	Threads []*Thread      // the leader first
	VMAs    []taskview.VMA // as dumped, in address order
	MM      taskview.MM
	Stop    int    // the signal that stops it again, as it was dumped; 0: it runs
	Seccomp bool   // has a filter: the tracer suspends it until the end
	Plugins []bool // those that run in it, and files with resident hooks

	// Resident is the image with the hook table of this task; nil: the plan's, it has no resident hooks.
	Resident *blob.Image
	Dead     bool   // ends at once, as it had; it is not traced
	Queued   uint64 // signals that were pending when it was dumped (bit n-1: signal n)

	Descriptors, Sockets int          // as dumped; sockets are among the descriptors
	Hooks                []StageHooks // in the order of the stages

	// Dumpable is what becomes of the flag of PR_SET_DUMPABLE, prctl(2), when the region is gone; -1: what the
	// change of ids has made of it.
	Dumpable int

	Lent Lent // to its late hooks

	StatusIndex int // of its leader, among the statuses of struct crpie_shared: encode counts
}

// Lent is memory of a task that its late hooks may change; addresses are 0 where there are no such hooks.
type Lent struct {
	Regs         uint64 // struct crpie_regs[], by thread
	Timers       uint64 // struct crpie_timer[NrTimers]
	DumpedTimers uint64 // as they were
	NrTimers     int
}

// Thread is one thread of a task: what it does while it is restored and the registers it leaves with.
type Thread struct {
	Tid     int
	Ops     []Op
	Regs    sys.Regs
	Xstate  Xstate
	Sigmask uint64 // bit n-1: signal n
	// RseqCS is written to RseqCSAddr at the very end, when the thread was inside a restartable sequence that a
	// restart may not abort; the address is 0 otherwise.
	RseqCSAddr, RseqCS uint64
	// Scheduling is set from outside when everybody is parked; nil: the thread has what it needs.
	Scheduling *Scheduling

	OpsAt uint64 // where encode has put Ops
}

// Scheduling is a thread's policy, with SCHED_RESET_ON_FORK, its priority and its nice value, sched(7).
type Scheduling struct {
	Policy, Priority uint32
	Nice             int
}

// StageHooks are the plugins that run at a stage, in the order of the command line.
type StageHooks struct {
	Stage   stage.Stage
	Plugins []string
}

// ExtraFile is a descriptor that the tasks inherit from the controller until their own are in place.
type ExtraFile struct {
	Number int
	Name   string
	Open   func() (*os.File, error)
}

// Alive returns the tasks that go on when they are restored: all but zombies.
func (p *Plan) Alive() []*Task {
	return slices.DeleteFunc(slices.Clone(p.Tasks), func(t *Task) bool { return t.Dead })
}

// ImageOf gives the image by which the calls of a task are named.
func (p *Plan) ImageOf(t *Task) *blob.Image {
	if t.Resident != nil {
		return t.Resident
	}
	return p.Image
}

// TaskOf gives the task that has a pid, or nil.
func (p *Plan) TaskOf(pid int) *Task {
	if i := slices.IndexFunc(p.Tasks, func(t *Task) bool { return t.Pid == pid }); i >= 0 {
		return p.Tasks[i]
	}
	return nil
}

// Thread gives the thread that has a tid, or nil.
func (t *Task) Thread(tid int) *Thread {
	if i := slices.IndexFunc(t.Threads, func(th *Thread) bool { return th.Tid == tid }); i >= 0 {
		return t.Threads[i]
	}
	return nil
}

// Threads counts those of all tasks.
func (p *Plan) Threads() (n int) {
	for _, t := range p.Tasks {
		n += len(t.Threads)
	}
	return n
}

// parking counts the threads that wait for their registers in the end.
func (p *Plan) parking() int {
	n := 0
	for _, t := range p.Alive() {
		n += len(t.Threads)
	}
	return n
}

// Encode lays out struct crpie_plan and everything behind it, and closes the region. Nothing is added afterwards.
// The header is the first thing in the arena.
func (p *Plan) Encode() {
	a := p.Arena
	a.Grow(p.operations() * abi.OpRecordSize)
	tasks, status := make([]abi.Task, len(p.Tasks)), 0
	for i, t := range p.Tasks {
		t.StatusIndex = status
		tasks[i] = p.encodeTask(t)
		status += len(t.Threads)
	}
	p.TasksAt = memory.Records(a, tasks)
	stack, size := p.Region.Stack(0)
	p.ZygoteAt = layOps(a, p.Zygote)
	tid := 0
	if p.Itself {
		tid = p.Tasks[0].Pid
	}
	r := &p.Region
	r.End = memory.PageUp(a.End())
	header := abi.Plan{
		Size: abi.PlanSize, ABI: abi.Version, Table: uint64(p.Image.Table), Shared: r.Shared,
		SharedSize: r.Control - r.Shared, Control: r.Control,
		Bell: r.Bell, LogOff: r.LogOff(), LogSize: LogRingSize, RegionStart: r.Start, RegionEnd: r.End,
		Tasks: p.TasksAt, NrTasks: uint64(len(p.Tasks)),
		Zygote:     encodeThread(tid, p.ZygoteAt, len(p.Zygote), status, stack, size),
		DumpTimeNs: p.DumpTimeNs, RestoreTimeNs: p.RestoreTimeNs, LogLevel: p.LogLevel,
		NrParking: uint32(p.parking()), PauseHook: p.PauseHook, PausePlugin: p.PausePlugin,
	}
	header.Put(a.Contents())
}

// operations counts those of all programs.
func (p *Plan) operations() int {
	n := len(p.Zygote)
	for _, t := range p.Tasks {
		for _, th := range t.Threads {
			n += len(th.Ops)
		}
	}
	return n
}

// encodeTask lays what the core reads about a task into the arena.
func (p *Plan) encodeTask(t *Task) abi.Task {
	a := p.Arena
	threads := make([]abi.Thread, len(t.Threads))
	for i, th := range t.Threads {
		stack, size := p.Region.Stack(i)
		th.OpsAt = layOps(a, th.Ops)
		threads[i] = encodeThread(th.Tid, th.OpsAt, len(th.Ops), t.StatusIndex+i, stack, size)
	}
	readers, readerSize := p.Region.Stack(p.Region.Slots - abi.MaxReaders)
	table := uint64(p.Image.Table)
	if t.Resident != nil {
		at := a.Reserve(0)
		table = a.Bytes(t.Resident.TableAt(blob.Addr(at)))
	}
	runs := make([]byte, len(t.Plugins))
	for i, here := range t.Plugins {
		if here {
			runs[i] = 1
		}
	}
	return abi.Task{
		Pid: int32(t.Pid), NrThreads: uint32(len(t.Threads)), Threads: memory.Records(a, threads),
		Comm: a.String(t.Comm), VMAs: taskview.LayVMAs(a, t.VMAs),
		NrVMAs: uint64(len(t.VMAs)), MM: t.MM.Lay(a), ReaderStack: readers, ReaderStackSize: readerSize,
		Runs: a.Bytes(runs), Table: table,
		Regs: t.Lent.Regs, Timers: t.Lent.Timers, DumpedTimers: t.Lent.DumpedTimers,
		NrTimers: uint64(t.Lent.NrTimers),
	}
}

func encodeThread(tid int, ops uint64, count, status int, stack, size uint64) abi.Thread {
	return abi.Thread{Tid: int32(tid), Status: uint32(status), Ops: ops, NrOps: uint64(count), Stack: stack,
		StackSize: size}
}

// FdsPassed is one more than the highest number of a descriptor that the zygote is executed with.
func (p *Plan) FdsPassed() int {
	n := FirstRegionFile + RegionFiles
	for _, f := range p.Files {
		n = max(n, f.Number+1)
	}
	return max(n, p.ControllerFD+1)
}

// Descriptors is how many numbers a task needs while it is restored. The restorer itself, which opens every passed
// file, moves it on its way to the zygote, and holds the tasks that have connections, needs no more.
func (p *Plan) Descriptors() int {
	const other = 64
	return p.HighestFD + 2*len(p.Files) + len(p.Tasks) + other
}

// Moment is the name that a file without one has while it is opened.
type Moment struct {
	Path string
	Link string   // another name of the file, or what a symbolic link leads to
	Mode uint32   // st_mode of a file that is made, inode(7)
	Dirs []string // directories that come and go with it
}

// Uses reports whether some thread of the plan is to have id.
func (p *Plan) Uses(id int) bool {
	return slices.ContainsFunc(p.Tasks, func(t *Task) bool {
		return slices.ContainsFunc(t.Threads, func(th *Thread) bool { return th.Tid == id })
	})
}
