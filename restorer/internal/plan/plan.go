package plan

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/sys"
)

// Plan is everything a restore will do, decided before any process exists.
type Plan struct {
	Region Region
	Image  *blob.Image // nil until the blob is placed
	Zygote []Op        // the program of the process that creates the tasks
	Tasks  []*Task     // parents before children
	Files  []Passed    // descriptors that the controller opens and the zygote passes on

	Connections []*Connection // TCP connections, which the controller wakes
	Unlock      NetworkLock   // what keeps packets from them until then

	Warnings []string // what the application may miss, or meet, afterwards

	Sockets []string // paths that were free and will be unix sockets

	DumpTimeNs, RestoreTimeNs int64 // CLOCK_REALTIME
	LogLevel                  uint32
	Notes                     []string    // what comes back otherwise than it was
	Cgroups                   []CgroupDir // to be there before the tasks are
	Sibling                   bool        // the root task becomes a child of the restorer's parent
	Namespaces                bool        // the tasks had namespaces of their own

	LateCalls int // into plugins, of one task when it has lost its privileges, at most
	Arena     *arena
	ZygoteAt  uint64 // where encode has put Zygote
	TasksAt   uint64 // where encode has put struct crpie_task[]

	Moments []Moment // names that were free and that files have for a moment

	HighestFD int // that a task has while it is restored
}

// Task is one process of the plan.
type Task struct {
	Pid     int
	Comm    string
	Threads []*Thread // the leader first
	VMAs    []VMA     // as dumped, in address order
	MM      MM
	Stop    int    // the signal that stops it again, as it was dumped; 0: it runs
	Seccomp bool   // has a filter: the tracer suspends it until the end
	Plugins []bool // those that run in it
	Dead    bool   // ends at once, as it had: nobody traces it
	Queued  uint64 // signals that were pending when it was dumped (bit n-1: signal n)

	// Dumpable is what becomes of the flag of PR_SET_DUMPABLE, prctl(2), when the region is gone; -1: what the change of
	// ids has made of it.
	Dumpable int

	StatusIndex int // of its leader, among the statuses of struct crpie_shared: encode counts
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

	OpsAt uint64 // where encode has put Ops
}

// Passed is a descriptor that the tasks inherit from the controller until their own are in place.
type Passed struct {
	Number int
	Name   string
	Open   func() (*os.File, error)
}

// VMA is one mapping as dumped, for the plugins' list.
type VMA struct {
	Start, End, Pgoff uint64
	Prot, Flags       uint32
	Madv              uint64 // a bit for each advice of madvise(2)
	Name              string
}

// MM is struct prctl_mm_map's part that plugins see, prctl(2).
type MM struct {
	StartCode, EndCode, StartData, EndData, StartBrk, Brk, StartStack uint64
	ArgStart, ArgEnd, EnvStart, EnvEnd                                uint64
	Auxv                                                              []uint64
}

// Living gives the tasks that go on when they are restored.
func (p *Plan) Living() []*Task {
	return slices.DeleteFunc(slices.Clone(p.Tasks), func(t *Task) bool { return t.Dead })
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
	for _, t := range p.Living() {
		n += len(t.Threads)
	}
	return n
}

// Encode lays out struct crpie_plan and everything behind it, and closes the region. Nothing is added afterwards.
// The header is the first thing in the arena.
func (p *Plan) Encode() {
	a := p.Arena
	status := 0
	p.TasksAt = a.Reserve(len(p.Tasks) * abi.TaskSize)
	for i, t := range p.Tasks {
		t.StatusIndex = status
		b := p.encodeTask(t)
		copy(a.At(p.TasksAt)[i*abi.TaskSize:], b)
		status += len(t.Threads)
	}
	stack, size := p.Region.Stack(0)
	p.ZygoteAt = a.ops(p.Zygote)
	tid := 0
	if p.Sibling {
		tid = p.Tasks[0].Pid
	}
	zygote := encodeThread(tid, p.ZygoteAt, len(p.Zygote), status, stack, size)

	p.Region.End = p.Region.Plan + PageAlign(uint64(len(a.Buf)))
	le := binary.LittleEndian
	h := make([]byte, abi.PlanSize)
	le.PutUint32(h[abi.PlanSizeOff:], abi.PlanSize)
	le.PutUint32(h[abi.PlanABIOff:], abi.Version)
	le.PutUint64(h[abi.PlanTableOff:], uint64(p.Image.Table))
	p.Region.encode(h)
	le.PutUint64(h[abi.PlanTasksOff:], p.TasksAt)
	le.PutUint64(h[abi.PlanNrTasksOff:], uint64(len(p.Tasks)))
	copy(h[abi.PlanZygoteOff:], zygote)
	le.PutUint64(h[abi.PlanDumpTimeNsOff:], uint64(p.DumpTimeNs))
	le.PutUint64(h[abi.PlanRestoreTimeNsOff:], uint64(p.RestoreTimeNs))
	le.PutUint32(h[abi.PlanLogLevelOff:], p.LogLevel)
	le.PutUint32(h[abi.PlanNrParkingOff:], uint32(p.parking()))
	copy(a.Buf, h)
}

// encode says in struct crpie_plan where the parts of the region are.
func (r *Region) encode(h []byte) {
	le := binary.LittleEndian
	le.PutUint64(h[abi.PlanSharedOff:], r.Shared)
	le.PutUint64(h[abi.PlanSharedSizeOff:], r.Control-r.Shared)
	le.PutUint64(h[abi.PlanControlOff:], r.Control)
	le.PutUint64(h[abi.PlanBellOff:], r.Bell)
	le.PutUint64(h[abi.PlanLogOffOff:], r.LogOff())
	le.PutUint64(h[abi.PlanLogSizeOff:], LogRingSize)
	le.PutUint64(h[abi.PlanRegionStartOff:], r.Start)
	le.PutUint64(h[abi.PlanRegionEndOff:], r.End)
}

func (p *Plan) encodeTask(t *Task) []byte {
	a := p.Arena
	var threads []byte
	for i, th := range t.Threads {
		stack, size := p.Region.Stack(i)
		th.OpsAt = a.ops(th.Ops)
		threads = append(threads, encodeThread(th.Tid, th.OpsAt, len(th.Ops), t.StatusIndex+i, stack, size)...)
	}
	readers, readerSize := p.Region.Stack(p.Region.Slots - MaxReaders)
	le := binary.LittleEndian
	b := make([]byte, abi.TaskSize)
	le.PutUint32(b[abi.TaskPidOff:], uint32(t.Pid))
	le.PutUint32(b[abi.TaskNrThreadsOff:], uint32(len(t.Threads)))
	le.PutUint64(b[abi.TaskThreadsOff:], a.Bytes(threads))
	le.PutUint64(b[abi.TaskCommOff:], a.String(t.Comm))
	le.PutUint64(b[abi.TaskVMAsOff:], a.vmas(t.VMAs))
	le.PutUint64(b[abi.TaskNrVMAsOff:], uint64(len(t.VMAs)))
	le.PutUint64(b[abi.TaskMMOff:], a.mm(&t.MM))
	le.PutUint64(b[abi.TaskReaderStackOff:], readers)
	le.PutUint64(b[abi.TaskReaderStackSizeOff:], readerSize)
	runs := make([]byte, len(t.Plugins))
	for i, here := range t.Plugins {
		if here {
			runs[i] = 1
		}
	}
	le.PutUint64(b[abi.TaskRunsOff:], a.Bytes(runs))
	return b
}

func encodeThread(tid int, ops uint64, count, status int, stack, size uint64) []byte {
	le := binary.LittleEndian
	b := make([]byte, abi.ThreadSize)
	le.PutUint32(b[abi.ThreadTidOff:], uint32(tid))
	le.PutUint32(b[abi.ThreadStatusOff:], uint32(status))
	le.PutUint64(b[abi.ThreadOpsOff:], ops)
	le.PutUint64(b[abi.ThreadNrOpsOff:], uint64(count))
	le.PutUint64(b[abi.ThreadStackOff:], stack)
	le.PutUint64(b[abi.ThreadStackSizeOff:], size)
	return b
}

// vmas lays out struct crpie_vma[], and behind it what madvise(2) said of each.
func (a *arena) vmas(vmas []VMA) uint64 {
	le := binary.LittleEndian
	names := make([]uint64, len(vmas))
	for i, v := range vmas {
		names[i] = a.String(v.Name)
	}
	addr := a.Reserve(len(vmas) * (abi.VMASize + abi.MadvSize))
	for i, v := range vmas {
		le.PutUint64(a.At(addr)[len(vmas)*abi.VMASize+i*abi.MadvSize:], v.Madv)
		b := a.At(addr)[i*abi.VMASize:]
		le.PutUint64(b[abi.VMAStartOff:], v.Start)
		le.PutUint64(b[abi.VMAEndOff:], v.End)
		le.PutUint32(b[abi.VMAProtOff:], v.Prot)
		le.PutUint32(b[abi.VMAFlagsOff:], v.Flags)
		le.PutUint64(b[abi.VMAPgoffOff:], v.Pgoff)
		le.PutUint64(b[abi.VMANameOff:], names[i])
	}
	return addr
}

// mm lays out struct crpie_mm.
func (a *arena) mm(m *MM) uint64 {
	auxv := a.Words(m.Auxv...)
	return a.Words(m.StartCode, m.EndCode, m.StartData, m.EndData, m.StartBrk, m.Brk, m.StartStack,
		m.ArgStart, m.ArgEnd, m.EnvStart, m.EnvEnd, auxv, uint64(len(m.Auxv)))
}

// Print writes the plan for people: crpie restore --dry-run.
func (p *Plan) Print(w io.Writer) {
	r := &p.Region
	fmt.Fprintf(w, "region %#x-%#x: blob %d bytes, plan %d bytes\n", r.Start, r.End, r.Shared-r.Start, r.End-r.Plan)
	for _, warning := range p.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	for _, f := range p.Files {
		fmt.Fprintf(w, "pass %s as fd %d\n", escape.Name(f.Name), f.Number)
	}
	for _, note := range p.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	for _, d := range p.Cgroups {
		PrintCgroup(w, &d)
	}
	printProgram(w, "zygote", p.Zygote)
	for _, t := range p.Tasks {
		for _, th := range t.Threads {
			printProgram(w, fmt.Sprintf("task %d %q thread %d", t.Pid, t.Comm, th.Tid), th.Ops)
		}
	}
	p.PrintConnections(w)
}

func PrintCgroup(w io.Writer, d *CgroupDir) {
	what := "set"
	if d.Make {
		what = "make"
	}
	fmt.Fprintf(w, "%s cgroup %s", what, escape.Name(d.Name))
	for _, p := range d.Properties {
		fmt.Fprintf(w, " %s=%q", escape.Name(p.Name), p.Value)
	}
	fmt.Fprintln(w)
}

func printProgram(w io.Writer, who string, ops []Op) {
	fmt.Fprintf(w, "%s: %d operations\n", who, len(ops))
	for i := range ops {
		fmt.Fprintf(w, "%5d  %s\n", i, &ops[i])
	}
}

// FdsPassed is one more than the highest number of a descriptor that the zygote is executed with.
func (p *Plan) FdsPassed() int {
	n := FirstRegionFile + RegionFiles
	for _, f := range p.Files {
		n = max(n, f.Number+1)
	}
	return n
}

// Descriptors is how many numbers a task needs while it is restored. The restorer itself, which opens every passed file, moves
// it on its way to the zygote, and holds the tasks that have connections, needs no more.
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
