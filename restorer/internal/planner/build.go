package planner

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/exports"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/pick"
	"github.com/crpie/crpie/internal/resident"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/file"
	"github.com/crpie/crpie/restorer/internal/planner/job"
	"github.com/crpie/crpie/restorer/internal/planner/mem"
	"github.com/crpie/crpie/restorer/internal/planner/sock"
	"github.com/crpie/crpie/restorer/internal/planner/tty"
)

// planner turns one image directory into one plan.
type planner struct {
	*job.Job
	mem   *mem.Room
	files *file.Room
	socks *sock.Room
	ttys  *tty.Room

	layout *blob.Layout
	hooked []Hooked          // the plugins
	runsIn []map[uint32]bool // by plugin: the pids of its tasks
	mapped exports.Files     // that tasks map, as far as symbols were looked for in them

	resident       map[uint32]resident.Found // hooks that tasks carry themselves, by pid
	residentNote   string
	residentDamage []string

	helpers      []*job.Helper
	adopters     map[uint32]bool       // tasks that adopt orphans
	memberships  map[uint32]membership // in cgroups, by tid; a thread without one stays in crpie's
	hostRoot     int                   // descriptor of the host's root, for those in a mount namespace
	cgroupRoots  membership            // of the tasks' cgroup namespace; without one, where crpie is
	threadedDirs map[string]bool       // cgroups of version 2 to make for threads
	cgroups      []plan.CgroupDir
	gate         int             // the operation of the zygote's shared ones that waits while others act in the namespaces
	groupMarks   map[uint32]bool // tasks for whose process group zombies wait
}

// newPlanner opens the rooms of the planner.
func newPlanner(j *job.Job, layout *blob.Layout, hooked []Hooked) *planner {
	p := &planner{Job: j, layout: layout, hooked: hooked}
	p.files = file.NewRoom(j)
	p.mem = mem.NewRoom(j, p.files)
	p.socks = sock.NewRoom(j)
	p.ttys = tty.NewRoom(j, p.files)
	p.files.Contents = p.mem
	p.files.Kinds = slices.Concat(p.ttys.Kinds(), p.files.Own(), p.socks.Kinds())
	return p
}

// Build decides everything about a restore: pure, and the same for the same input. A *Refusal lists all that cannot
// be restored.
func Build(
	dir *images.Dir, layout *blob.Layout, hooked []Hooked, host *host.Host, opts *job.Options,
) (*plan.Plan, error) {
	p := newPlanner(job.New(dir, host, opts), layout, hooked)
	p.checkDirectory()
	p.planBirths()
	p.planCgroups()
	p.findResident()
	if err := p.layOut(); err != nil {
		return nil, cmp.Or(p.refusal(), err)
	}
	p.planShared()
	p.checkClones()
	p.planTasks()
	p.mem.CheckHugePages()
	p.planHelpers()
	p.mem.CheckAioRoom()
	p.planZygote()
	if err := p.refusal(); err != nil {
		return nil, err
	}
	p.Plan.Encode()
	if size := len(p.Plan.Arena.Contents()); size > roomForPlan-roomForVDSO {
		p.Refuse("the plan", "", "it has %d bytes, more than %d: too much data in queues", size,
			roomForPlan-roomForVDSO)
	}
	return p.Plan, p.Err()
}

// refusal is nil or a *refusal.Refusal: what all tasks of a container have is one reason.
func (p *planner) refusal() error {
	p.MergeTasks()
	return p.Err()
}

// checkDirectory refuses what no later step looks at.
func (p *planner) checkDirectory() {
	for _, needed := range []int{uapi.CapSysAdmin, uapi.CapSysPtrace, uapi.CapSetpcap, uapi.CapSetuid,
		uapi.CapSetgid} {
		if !p.Host.Has(needed) {
			p.Refuse("this host", "run it as root", "crpie lacks %s", uapi.CapNames[needed])
		}
	}
	root := p.Dir.Tasks[0]
	if root.Dead() {
		p.Refuse(fmt.Sprintf("task %d", root.Pid), "", "it was dead when it was dumped")
	}
	if p.Opts.Become != 0 && p.Own.PID {
		p.Refuse(fmt.Sprintf("task %d", root.Pid), "run it again",
			"process %d cannot become the first one of a pid namespace: the images have changed",
			p.Opts.Become)
	} else if pid := p.Opts.Become; pid != 0 && pid != int(root.Pid) {
		p.Refuse(fmt.Sprintf("task %d", root.Pid), "run it again",
			"process %d was to become the root task: the images have changed", pid)
	}
	p.Add(p.Own.Problems())
	p.checkContainers()
	p.checkProcFiles()
	p.checkForeignProc()
	p.checkMounts()
	for _, u := range p.Dir.Unknown {
		p.Refuse(u, "", "unknown field: this image is from a newer CRIU")
	}
	for _, plugin := range p.Dir.Inventory.GetPluginsEntry().GetPlugins() {
		p.Refuse("inventory.img", "restore it with criu",
			"CRIU's plugin %s has a part in these images: not supported",
			plugin)
	}
	for _, h := range p.hooked {
		p.runsIn = append(p.runsIn, pick.Tasks(&p.Collector, "plugin "+h.Name+" select=", p.Dir.Tasks, h.Tasks))
	}
	for _, t := range p.Dir.Tasks {
		p.checkSharedTables(t)
	}
	p.mem.CheckIPC()
}

// Address space behind the region, bytes.
const (
	roomForPlan = 1 << 30
	roomForVDSO = 1 << 20 // the last part of it
)

// layOut chooses where the region goes, in a hole that every task has, and relocates the blob there.
func (p *planner) layOut() error {
	threads, slots, lent := 0, 0, uint64(0)
	var used []memory.Span
	for _, t := range p.Dir.Tasks {
		threads += len(t.Threads)
		slots = max(slots, len(t.Threads))
		given := p.lends(t)
		lent = max(lent, given.size())
		for _, v := range t.Mm.GetVmas() {
			used = append(used, memory.Span{Start: v.GetStart(), End: v.GetEnd()})
		}
	}
	threads += len(p.helpers)
	slots += abi.MaxReaders
	shmem, window := p.mem.SizeShmem(), p.mem.HugeWindow()
	size := plan.RegionSize(p.layout.Size(), threads, slots, lent) + roomForPlan + shmem + window
	start, err := plan.FindGap(used, size, p.Host.Random)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	region := plan.LayRegion(start, p.layout.Size(), threads, slots, lent)
	p.mem.AssignShmem(region.Plan + roomForPlan)
	p.mem.Window = region.Plan + roomForPlan + shmem
	p.mem.VdsoAt = region.Plan + roomForPlan - roomForVDSO
	image, err := p.layout.Relocate(blob.Addr(start))
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	arena := memory.NewArena(region.Plan)
	arena.Reserve(abi.PlanSize)
	p.Plan = &plan.Plan{
		Region: region, Image: image, Arena: arena, LogLevel: uint32(p.Opts.LogLevel), Itself: p.itself(),
		PauseHook: p.Opts.PauseHook, PausePlugin: p.Opts.PausePlugin,
		Sibling: p.Opts.Sibling, PidNamespace: p.Own.PID, First: p.Own.First,
		Cgroups:    p.cgroups,
		DumpTimeNs: p.Opts.DumpTime.UnixNano(), RestoreTimeNs: p.Opts.RestoreTime.UnixNano(),
		LateCalls:  lateCalls(p.hooked) + p.residentCalls(),
		Namespaces: p.TimeNamespaceID() != 0 || p.Own.PID || p.Own.Mounts != nil || len(p.Own.Joined()) > 0,
	}
	p.Plan.Warnings = append(p.Plan.Warnings, p.residentDamage...)
	if p.residentNote != "" {
		p.Plan.Notes = append(p.Plan.Notes, p.residentNote)
	}
	return nil
}

// itself reports whether the zygote is the root task: where only one process may come into being, and where the root
// task is in another pid namespace than the restorer, which learns its number there when it makes it.
func (p *planner) itself() bool { return p.Opts.Sibling || p.Opts.Become != 0 || p.Own.PID }

// gated reports whether the zygote waits until somebody else has acted in the namespaces, before it makes the first
// socket: who gives a network namespace its links may do so then. The pid that he is told has to be the root task's.
func (p *planner) gated() bool { return p.Plan.Namespaces && p.itself() }

func (p *planner) planTasks() {
	for _, t := range p.Dir.Tasks {
		p.planTask(t)
	}
}

// planZygote closes the descriptors that no task gets, makes what several tasks share, and creates the root task as a
// child of the controller.
func (p *planner) planZygote() {
	z := &plan.Program{Arena: p.Plan.Arena}
	all := z.Arena.Words(^uint64(0))
	z.Sys("block every signal", uapi.SysRtSigprocmask, uapi.SigSetmask, all, 0, 8)
	p.roomForFDs(z)
	z.Sys("the region is mapped", uapi.SysCloseRange, plan.FirstRegionFile,
		plan.FirstRegionFile+plan.RegionFiles-1, 0)
	z.Sys("what the restorer was started with", uapi.SysCloseRange, uint64(p.Plan.FdsPassed()), 0xffffffff, 0)
	p.pidNamespace(z)
	p.timeNamespace(z)
	p.mountProc(z)
	if p.gated() {
		p.Plan.NamespacesMade = len(z.Ops) + p.gate
	}
	z.Ops = append(z.Ops, p.Shared.Ops...)
	if p.itself() {
		z.Core("the root task", abi.RunTask{})
	} else {
		z.Core("the root task", abi.CloneTask{Flags: uapi.CloneParent})
		z.Core("", abi.ExitGroup{})
	}
	p.Plan.Zygote = z.Ops
}

// roomForFDs raises the soft limit for descriptors, which the starter of the restorer may have set low.
// Tasks get their own limits back late.
func (p *planner) roomForFDs(z *plan.Program) {
	p.Plan.HighestFD = p.Fds.Highest()
	need := uint64(p.Plan.Descriptors())
	if most := p.Host.MaxFiles; most != 0 && need > most {
		p.Refuse("this host", fmt.Sprintf("sysctl -w fs.nr_open=%d", need),
			"%d descriptors are needed, but fs.nr_open is %d", need, most)
	}
	hard := p.Host.Rlimits[uapi.RlimitNofile][1]
	if need > hard && !p.Host.Has(uapi.CapSysResource) {
		p.Refuse("this host", "raise crpie's own hard limit first",
			"%d descriptors are needed, but RLIMIT_NOFILE is %d, and crpie lacks CAP_SYS_RESOURCE", need,
			hard)
	}
	hard = max(hard, need)
	z.Sys("room for descriptors", uapi.SysPrlimit64, 0, uapi.RlimitNofile, z.Arena.Words(hard, hard), 0)
}

// pidNamespace has numbers that nobody asks for begin behind those of the plan, as the restorer does in its own
// namespace: page readers get such. Where that file cannot be written, as in a container, they soon end:
// core_wait_for_id waits for it.
func (p *planner) pidNamespace(z *plan.Program) {
	if !p.Own.PID {
		return
	}
	highest := uint32(0)
	for _, h := range p.helpers {
		highest = max(highest, h.Pid)
	}
	for _, t := range p.Dir.Tasks {
		highest = max(highest, t.Pgid, t.Sid)
		for _, th := range t.Threads {
			highest = max(highest, th.Tid)
		}
	}
	fd, text := uint64(p.Fds.Scratch()), fmt.Sprint(highest)
	z.Open(int(fd), true, "where pids go on", uapi.SysOpenat, uapi.AtFdcwd,
		z.Arena.String("/proc/sys/kernel/ns_last_pid"), uapi.OWronly)
	z.Ops[len(z.Ops)-1].Flags |= abi.OpMayFail
	z.Try("where pids go on", uapi.SysWrite, fd, z.Arena.String(text), uint64(len(text)))
	z.Try("", uapi.SysClose, fd)
}

// timeNamespace makes clocks go on from where they were when the task was dumped, time_namespaces(7). Offsets can be
// set until the first process enters the namespace.
func (p *planner) timeNamespace(z *plan.Program) {
	if p.Own.Joins(uapi.CloneNewtime) {
		return // joinNamespaces has the zygote enter another one
	}
	id := p.TimeNamespaceID()
	te := p.Dir.Timens[id]
	if id != 0 && te == nil {
		p.Refuse(fmt.Sprintf("task %d", p.Dir.Tasks[0].Pid), "",
			"timens-%d.img, the clocks of its time namespace, is missing", id)
	}
	if id != 0 && !p.Host.TimeNamespaces {
		p.Refuse("this host", "restore on Linux 5.6 or newer with CONFIG_TIME_NS",
			"it has no time namespaces, and the tasks were in one of their own")
	}
	if te == nil || !p.Host.TimeNamespaces {
		return
	}
	if !p.Host.Has(uapi.CapSysTime) {
		p.Refuse("this host", "run it as root",
			"crpie lacks %s, without which clocks cannot go on from where they were",
			uapi.CapNames[uapi.CapSysTime])
	}
	mono := int64(te.GetMonotonic().GetTvSec())*1e9 + int64(te.GetMonotonic().GetTvNsec()) - p.Host.MonotonicNs
	boot := int64(te.GetBoottime().GetTvSec())*1e9 + int64(te.GetBoottime().GetTvNsec()) - p.Host.BoottimeNs
	text := "monotonic " + offset(mono) + "\nboottime " + offset(boot) + "\n"
	fd := p.Fds.Scratch()
	z.Sys("time namespace", uapi.SysUnshare, uapi.CloneNewtime)
	z.Open(fd, true, "clock offsets", uapi.SysOpenat, uapi.AtFdcwd, z.Arena.String("/proc/self/timens_offsets"),
		uapi.OWronly)
	z.Want(int64(len(text)), "clock offsets", uapi.SysWrite, uint64(fd), z.Arena.String(text), uint64(len(text)))
	z.Sys("", uapi.SysClose, uint64(fd))
	if p.itself() { // which is for children, and the zygote is to be in it itself
		z.Open(fd, true, "time namespace", uapi.SysOpenat, uapi.AtFdcwd,
			z.Arena.String("/proc/self/ns/time_for_children"), uapi.ORdonly)
		z.Sys("time namespace", uapi.SysSetns, uint64(fd), uapi.CloneNewtime)
		z.Sys("", uapi.SysClose, uint64(fd))
	}
}

// offset spells nanoseconds as timens_offsets takes them: the fraction is never negative.
func offset(ns int64) string {
	sec, rest := ns/1e9, ns%1e9
	if rest < 0 {
		sec, rest = sec-1, rest+1e9
	}
	return fmt.Sprintf("%d %d", sec, rest)
}
