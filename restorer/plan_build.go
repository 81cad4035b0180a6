package restorer

import (
	"cmp"
	"fmt"
	"os"
	"slices"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/pick"
)

// planner turns one image directory into one plan.
type planner struct {
	*job
	mem   *memRoom
	files *fileRoom
	socks *sockRoom
	ttys  *ttyRoom

	layout *blob.Layout
	hooked []Hooked          // the plugins
	runsIn []map[uint32]bool // by plugin: the pids of its tasks

	helpers     []*helper
	adopters    map[uint32]bool       // tasks that adopt orphans
	memberships map[uint32]membership // in cgroups, by pid; a task without one stays in crpie's
	cgroups     []CgroupDir
	groupMarks  map[uint32]bool // tasks for whose process group zombies wait
}

// newPlanner opens the rooms of the planner.
func newPlanner(j *job, layout *blob.Layout, hooked []Hooked) *planner {
	p := &planner{job: j, layout: layout, hooked: hooked}
	p.files = newFileRoom(j)
	p.mem = newMemRoom(j, p.files)
	p.socks = newSockRoom(j)
	p.ttys = newTTYRoom(j, p.files)
	p.files.contents = p.mem
	p.files.kinds = slices.Concat(p.ttys.kinds(), p.files.own(), p.socks.kinds())
	return p
}

// PlanOptions are the choices of whoever restores.
type PlanOptions struct {
	ShellJob bool       // --shell-job: stay in this session and on this terminal
	Detached bool       // --restore-detached: this process ends when the tasks go on
	Sibling  bool       // --restore-sibling: the root task becomes a child of this process's parent
	Cgroups  CgroupMode // --manage-cgroups
	// CgroupRoots says where the topmost cgroups of the dump are to be, by controller (--cgroup-root); see AllControllers.
	CgroupRoots map[string]string
	Readers     int    // extra page readers for large tasks; -1: as many as there are other CPUs
	LogLevel    uint32 // least important level that plugins' lines are kept for
	// TCPEstablished restores TCP connections (--tcp-established), TCPClose leaves closed sockets of them (--tcp-close).
	TCPEstablished, TCPClose bool
	NoLocks                  bool // leave file locks away (--no-file-locks)
	// LSMProfile is the security label of all tasks, instead of those of the dump (--lsm-profile).
	LSMProfile string
	// ExtUnix connects unix sockets to peers that were not dumped (--ext-unix-sk).
	ExtUnix bool
	// Inherit are descriptors that take the place of files (--inherit-fd), External names files that must have one (--external).
	Inherit  []Inherited
	External []string
	// FileValidation says how files are compared with what they were (--file-validation; "" is the default, ByBuildID);
	// SkipFileRWX leaves out their permissions (--skip-file-rwx-check).
	FileValidation FileValidation
	SkipFileRWX    bool
	// KeepVgetrandom and KeepWipeOnFork bring random state back as it was dumped (--keep-vgetrandom, --keep-wipeonfork).
	KeepVgetrandom, KeepWipeOnFork bool
	// OpenImage opens a file of the image directory (level 0) or one of its parents, for page contents.
	OpenImage func(level int, name string) (*os.File, error)
	// DumpTimeNs and RestoreTimeNs are what plugins are told, CLOCK_REALTIME.
	DumpTimeNs, RestoreTimeNs int64
}

// BuildPlan decides everything about a restore: pure, and the same for the same input. A *Refusal lists all that cannot
// be restored.
func BuildPlan(dir *images.Dir, layout *blob.Layout, hooked []Hooked, host *Host, opts *PlanOptions) (*Plan, error) {
	p := newPlanner(newJob(dir, host, opts), layout, hooked)
	p.checkDirectory()
	if err := p.err(); err != nil {
		return nil, err
	}
	p.planBirths()
	p.planCgroups()
	if err := p.place(); err != nil {
		return nil, err
	}
	p.planShared()
	p.planTasks()
	p.mem.checkHugePages()
	p.planHelpers()
	p.mem.checkAioRoom()
	p.planZygote()
	if err := p.err(); err != nil {
		return nil, err
	}
	p.plan.encode()
	if size := len(p.plan.arena.buf); size > roomForPlan-roomForVDSO {
		p.refuse("the plan", "", "it has %d bytes, more than %d: too much data in queues", size, roomForPlan-roomForVDSO)
	}
	return p.plan, p.err()
}

// checkDirectory refuses what no later step looks at.
func (p *planner) checkDirectory() {
	for _, needed := range []int{capSysAdmin, capSysPtrace, capSetpcap, capSetuid, capSetgid} {
		if !p.host.has(needed) {
			p.refuse("this host", "run it as root", "crpie lacks %s", capNames[needed])
		}
	}
	root := p.dir.Tasks[0]
	if root.Dead() {
		p.refuse(fmt.Sprintf("task %d", root.Pid), "", "it was dead when it was dumped")
	}
	for _, name := range p.dir.Other {
		p.refuse(name, "", "this kind of image is not supported")
	}
	for _, u := range p.dir.Unknown {
		p.refuse(u, "", "unknown field: this image is from a newer CRIU")
	}
	for _, plugin := range p.dir.Inventory.GetPluginsEntry().GetPlugins() {
		p.refuse("inventory.img", "restore it with criu", "CRIU's plugin %s has a part in these images: not supported", plugin)
	}
	for _, h := range p.hooked {
		p.runsIn = append(p.runsIn, pick.Tasks(&p.Collector, "plugin "+h.Name+" select=", p.dir.Tasks, h.Tasks))
	}
	for _, t := range p.dir.Tasks {
		p.checkNamespaces(t)
		p.checkSharedTables(t)
	}
	p.mem.checkIPC()
}

func (p *planner) checkNamespaces(task *images.Task) {
	ids, of := task.Ids, p.dir.Inventory.GetRootIds()
	if ids == nil || of == nil {
		return
	}
	for _, ns := range []struct {
		name      string
		its, host uint32
	}{
		{"a pid", ids.GetPidNsId(), of.GetPidNsId()}, {"a network", ids.GetNetNsId(), of.GetNetNsId()},
		{"an IPC", ids.GetIpcNsId(), p.mem.ipcNamespaceID()}, {"a UTS", ids.GetUtsNsId(), of.GetUtsNsId()},
		{"a mount", ids.GetMntNsId(), of.GetMntNsId()}, {"a user", ids.GetUserNsId(), of.GetUserNsId()},
		{"a cgroup", ids.GetCgroupNsId(), of.GetCgroupNsId()}, {"a time", ids.GetTimeNsId(), p.dir.Tasks[0].Ids.GetTimeNsId()},
	} {
		if ns.its != ns.host {
			p.refuse(fmt.Sprintf("task %d", task.Pid), "containers are restored by criu, runc or podman",
				"it had %s namespace of its own: not supported", ns.name)
		}
	}
}

// Address space behind the region, bytes.
const (
	roomForPlan = 1 << 30
	roomForVDSO = 1 << 20 // the last part of it
)

// place chooses where the region goes, in a hole that every task has, and relocates the blob there.
func (p *planner) place() error {
	threads, slots := 0, 0
	var used []span
	for _, t := range p.dir.Tasks {
		threads += len(t.Threads)
		slots = max(slots, len(t.Threads))
		for _, v := range t.Mm.GetVmas() {
			used = append(used, span{v.GetStart(), v.GetEnd()})
		}
	}
	threads += len(p.helpers)
	slots += maxReaders
	slices.SortFunc(used, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	segments, window := p.mem.sizeSegments(), p.mem.hugeWindow()
	size := regionSize(p.layout.Size(), threads, slots) + roomForPlan + segments + window
	start, err := findGap(used, size, p.host.Random)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	region := layRegion(start, p.layout.Size(), threads, slots)
	p.mem.placeSegments(region.Plan + roomForPlan)
	p.mem.window = region.Plan + roomForPlan + segments
	p.mem.vdsoAt = region.Plan + roomForPlan - roomForVDSO
	image, err := p.layout.Place(blob.Addr(start))
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	arena := newArena(region.Plan)
	arena.reserve(abi.PlanSize)
	p.plan = &Plan{
		Region: region, Image: image, arena: arena, LogLevel: p.opts.LogLevel, Sibling: p.opts.Sibling, Cgroups: p.cgroups,
		DumpTimeNs: p.opts.DumpTimeNs, RestoreTimeNs: p.opts.RestoreTimeNs, lateCalls: lateCalls(p.hooked),
		Namespaces: p.timeNamespaceID() != 0 || p.mem.ipc() != nil,
	}
	return nil
}

func (p *planner) planTasks() {
	for _, t := range p.dir.Tasks {
		p.planTask(t)
	}
}

// fdsPassed is one more than the highest number of a descriptor that the zygote is executed with.
func (p *Plan) fdsPassed() int {
	n := firstRegionFile + regionFiles
	for _, f := range p.Files {
		n = max(n, f.Number+1)
	}
	return n
}

// descriptors is how many numbers a task needs while it is restored. The restorer itself, which opens every passed file, moves
// it on its way to the zygote, and holds the tasks that have connections, needs no more.
func (p *Plan) descriptors() int {
	const other = 64
	return p.highestFD + 2*len(p.Files) + len(p.Tasks) + other
}

// planZygote: close what is not for the tasks, make what several tasks share, and create the root task as a child of the
// controller.
func (p *planner) planZygote() {
	z := &program{arena: p.plan.arena}
	all := z.arena.words(^uint64(0))
	z.sys("block every signal", sysRtSigprocmask, sigSetmask, all, 0, 8)
	p.roomForFDs(z)
	z.sys("the region is mapped", sysCloseRange, firstRegionFile, firstRegionFile+regionFiles-1, 0)
	z.sys("what the restorer was started with", sysCloseRange, uint64(p.plan.fdsPassed()), 0xffffffff, 0)
	p.timeNamespace(z)
	z.ops = append(z.ops, p.shared.ops...)
	if p.opts.Sibling {
		z.core(abi.OpBecome, "the root task", 0)
	} else {
		z.core(abi.OpClone, "the root task", 0, cloneParent)
		z.core(abi.OpExit, "", 0)
	}
	p.plan.Zygote = z.ops
}

// roomForFDs raises the soft limit for descriptors, which whoever started the restorer may have set as low as it likes. Tasks
// get their own limits back late.
func (p *planner) roomForFDs(z *program) {
	const rlimitNofile = 7
	p.plan.highestFD = p.fds.highest()
	need := uint64(p.plan.descriptors())
	if most := p.host.MaxFiles; most != 0 && need > most {
		p.refuse("this host", fmt.Sprintf("sysctl -w fs.nr_open=%d", need), "%d descriptors are needed, but fs.nr_open is %d", need, most)
	}
	hard := p.host.Rlimits[rlimitNofile][1]
	if need > hard && !p.host.has(capSysResource) {
		p.refuse("this host", "raise crpie's own hard limit first",
			"%d descriptors are needed, but RLIMIT_NOFILE is %d, and crpie lacks CAP_SYS_RESOURCE", need, hard)
	}
	hard = max(hard, need)
	z.sys("room for descriptors", sysPrlimit64, 0, rlimitNofile, z.arena.words(hard, hard), 0)
}

// timeNamespace makes clocks go on from where they were when the task was dumped, time_namespaces(7). Offsets can be
// set until the first process enters the namespace.
func (p *planner) timeNamespace(z *program) {
	id := p.timeNamespaceID()
	te := p.dir.Timens[id]
	if id != 0 && te == nil {
		p.refuse(fmt.Sprintf("task %d", p.dir.Tasks[0].Pid), "", "timens-%d.img, the clocks of its time namespace, is missing", id)
	}
	if id != 0 && !p.host.TimeNamespaces {
		p.refuse("this host", "restore on Linux 5.6 or newer with CONFIG_TIME_NS", "it has no time namespaces, and the tasks were in one of their own")
	}
	if te == nil || !p.host.TimeNamespaces {
		return
	}
	if !p.host.has(capSysTime) {
		p.refuse("this host", "run it as root", "crpie lacks %s, without which clocks cannot go on from where they were", capNames[capSysTime])
	}
	mono := int64(te.GetMonotonic().GetTvSec())*1e9 + int64(te.GetMonotonic().GetTvNsec()) - p.host.MonotonicNs
	boot := int64(te.GetBoottime().GetTvSec())*1e9 + int64(te.GetBoottime().GetTvNsec()) - p.host.BoottimeNs
	text := "monotonic " + offset(mono) + "\nboottime " + offset(boot) + "\n"
	fd := p.fds.scratch()
	z.sys("time namespace", sysUnshare, cloneNewtime)
	z.open(fd, true, "clock offsets", sysOpenat, atFdcwd, z.arena.string("/proc/self/timens_offsets"), oWronly)
	z.want(int64(len(text)), "clock offsets", sysWrite, uint64(fd), z.arena.string(text), uint64(len(text)))
	z.sys("", sysClose, uint64(fd))
	if p.opts.Sibling { // which is for children, and the zygote is to be in it itself
		z.open(fd, true, "time namespace", sysOpenat, atFdcwd, z.arena.string("/proc/self/ns/time_for_children"), oRdonly)
		z.sys("time namespace", sysSetns, uint64(fd), cloneNewtime)
		z.sys("", sysClose, uint64(fd))
	}
}

// offset spells nanoseconds as timens_offsets wants them: the fraction is never negative.
func offset(ns int64) string {
	sec, rest := ns/1e9, ns%1e9
	if rest < 0 {
		sec, rest = sec-1, rest+1e9
	}
	return fmt.Sprintf("%d %d", sec, rest)
}
