//go:build amd64

package inject

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/changes"
	"github.com/crpie/crpie/internal/exports"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/procmaps"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
)

// target is a process in which hooks run.
type target struct {
	*session
	pid     sys.PID
	root    bool
	options uintptr   // of ptrace(2)
	threads []*thread // the leader first
	mem     *sys.Memory
	began   time.Time // when it was stopped
	ahead   *ahead    // what was prepared before; nil: nothing

	self       process // as selectors see it; a copy is the process that it is of
	status     status  // of the leader
	view       view
	suspended  bool   // its seccomp filters are
	gate       uint64 // the trampoline; 0: not there
	gateClones bool   // it is the one for clone(2)
	gateOf     *thread
	region     region
	mapped     bool // the region is
	image      *blob.Image
	entries    entries
	ctx        abi.Ctx
	timers     []abi.Timer // as they are
	lentRegs   abi.Regs    // of the thread that runs a hook
	table      hookTable
	residents  []blob.Resident
	report     *Process
	trace      *changes.Trace // of the call that runs
	lastError  string         // that it has logged
	libraries  exports.Files

	stop     bool            // a SIGSTOP came
	ignored  []unix.Signal   // whose action a crash has reset
	trap     *changes.Action // SIGTRAP's action, where breakpoints may have reset it
	trapped  bool            // one has been hit
	resident breakpoints
	cloned   sys.PID       // the copy that it has made last
	copy     bool          // it is one
	double   *target       // its copy, in which hooks are rehearsed
	before   *before       // what it was before the first hook; nil: nobody asks
	diff     *changes.Diff // of the report
	touched  changes.Touched
	names    *changes.Names   // of changed memory
	born     map[sys.PID]bool // threads and child processes, noteBirth: true when they have had their first stop
}

// thread is a thread of a target, stopped.
type thread struct {
	tid         sys.PID
	inner       int // inner: in its own pid namespace
	stopped     bool
	regs        sys.Regs
	mask        uint64
	xstate      []byte // saved before its first hook
	rseqCS      span64
	saved       bool
	lent        bool // it has crpie's registers or mask
	blocked     bool // it blocks all signals
	vectors     bool // it has a hook's extended state
	slept       bool
	signalled   bool
	keep        []sys.SigInfo   // signals for it that came meanwhile
	trapBlocked uint64          // SIGTRAP's bit if it was blocked, where breakpoints may have unblocked it
	call        sys.SyscallInfo // that has begun, on the way to a moment
}

// span64 is a word of memory.
type span64 struct{ addr, value uint64 }

// run lays the blob in and runs the hooks.
func (p *target) run() error {
	if err := p.lay(); err != nil {
		return err
	}
	err := p.ownPositions()
	if err == nil {
		err = p.readTimers()
	}
	if err == nil {
		err = p.observe()
	}
	if err == nil {
		plan := schedule{table: p.table, threads: len(p.threads), stages: p.opts.Stages, runs: p.selects}
		err = plan.run(p.enter)
	}
	return errors.Join(err, p.compare())
}

// selects reports whether a plugin is to run in this process.
func (p *target) selects(plugin int) bool {
	if plugin >= len(p.opts.Plugins) {
		return true // a file with resident hooks
	}
	tasks := p.opts.Plugins[plugin].Tasks
	return len(tasks) == 0 || slices.ContainsFunc(tasks, p.self.picked)
}

// look finds out all about the stopped process, and whether hooks can run in it.
func (p *target) look() error {
	err := p.lookAround()
	if p.view.vmas == nil {
		return err
	}
	p.self = process{p.pid, p.view.comm, p.root}
	if p.opts.OwnPids {
		p.self.pid = sys.PID(p.view.pid)
	}
	p.report = &Process{Pid: int(p.pid), Comm: p.view.comm, Threads: len(p.threads), Calls: []*Call{}}
	p.session.report.Processes = append(p.session.report.Processes, p.report)
	return err
}

// lookAround learns what it has to know before it touches anything, and refuses what could not be undone.
func (p *target) lookAround() (err error) {
	inThreads := p.inThreads()
	for _, t := range p.threads {
		if !inThreads && t.tid != p.pid && len(t.keep) == 0 {
			continue // it makes no system call
		}
		if err := p.lookAt(t); err != nil {
			return err
		}
	}
	if p.mem == nil {
		if p.mem, err = sys.OpenMemory(p.pid); err != nil {
			return p.problem("%w", err)
		}
	}
	if err := p.readView(); err != nil {
		return p.problem("%w", err)
	}
	if parent := sys.PID(p.status.number("PPid")); sys.SharesMemory(p.pid, parent) {
		return p.problem("it shares its memory with its parent %d, as a child of vfork(2) does until it executes a "+
			"program", parent)
	}
	return nil
}

// lookAt learns about one thread. Seccomp filters are suspended if this kernel and crpie's capabilities let them be
// (PTRACE_O_SUSPEND_SECCOMP, Linux 4.3); otherwise a filter is a reason to refuse.
func (p *target) lookAt(t *thread) (err error) {
	text, err := sys.ReadProc(fmt.Sprintf("/proc/%d/task/%d/status", p.pid, t.tid))
	if err != nil {
		return p.problem("%w", err)
	}
	s := parseStatus(string(text))
	if t.tid == p.pid {
		p.status = s
	}
	t.inner = s.inner("NSpid")
	if s.number("Seccomp") == seccompFilter && !p.suspended {
		p.suspended = sys.SetOptions(t.tid, p.options|sys.OptSysGood|sys.OptSuspendSeccomp) == nil
	}
	suspended := p.suspended && sys.SetOptions(t.tid, p.traceOptions()) == nil
	if why := s.refusal(suspended); why != "" {
		return p.problem("%s", why)
	}
	if !suspended {
		if err := sys.SetOptions(t.tid, p.options|sys.OptSysGood); err != nil {
			return p.problem("%w", err)
		}
	}
	const code64 = 0x33 // __USER_CS, arch/x86/include/asm/segment.h
	if t.regs.Cs != code64 {
		return p.problem("it runs code of 32 bits, plugins are of 64")
	}
	return nil
}

// readView reads what hooks are told.
func (p *target) readView() error {
	read := func(name string) string {
		text, _ := sys.ReadProc(fmt.Sprintf("/proc/%d/%s", p.pid, name))
		return string(text)
	}
	vmas, auxv, err := p.addresses(read)
	if err != nil {
		return err
	}
	mm, err := parseStat(read("stat"))
	if err != nil {
		return err
	}
	mm.Auxv = auxv
	p.view = view{pid: p.status.inner("NSpid"), threads: len(p.threads), comm: strings.TrimSuffix(read("comm"), "\n"),
		vmas: vmas, mm: mm, timers: parseTimers(read("timers")), now: time.Now()}
	if mm.StartCode == 0 {
		return errors.New("its addresses are hidden: crpie may not look into it")
	}
	return nil
}

// addresses reads the mappings and the auxiliary vector, again if the mappings have changed.
func (p *target) addresses(read func(string) string) (vmas []taskview.VMA, auxv []uint64, err error) {
	text := read("maps")
	if p.ahead != nil && p.ahead.maps == text {
		return p.ahead.vmas, p.ahead.auxv, nil
	}
	vmas, err = procmaps.Parse(text)
	return vmas, changes.Words([]byte(read("auxv"))), err
}

// lay lays everything into the process.
func (p *target) lay() error {
	if err := p.findResident(); err != nil {
		return err
	}
	if err := p.settle(); err != nil {
		return p.problem("%w", err)
	}
	p.table = tableOf(p.image.Bytes, p.image.Table)
	slots, err := p.findImports()
	if err != nil {
		return err
	}
	if p.gate == 0 {
		if err := p.openGate(); err != nil {
			return err
		}
	}
	brk, err := p.remote(p.threads[0], "brk", unix.SYS_BRK, 0)
	if err != nil {
		return err
	}
	p.view.mm.Brk = uint64(brk)
	arena := memory.NewArena(p.region.describes())
	p.ctx = p.view.lay(arena, p.symbol("inject_log"))
	p.entries = entries{p.symbol("inject_returned"), p.symbol("inject_logged")}
	p.layTable(arena)
	p.region.end = memory.PageUp(arena.End())
	if err := p.mapRegion(); err != nil {
		return err
	}
	if err := p.fillRegion(arena.Contents()); err != nil {
		return err
	}
	return p.fillSlots(slots)
}

func (p *target) symbol(name string) uint64 {
	addr, ok := p.image.CoreSymbol(name)
	if !ok {
		panic("inject: the core has no " + name)
	}
	return uint64(addr)
}

// mapRegion reserves the region and maps its parts. No mapping is ever both writable and executable: /proc/PID/mem
// writes what the process may only read.
func (p *target) mapRegion() error {
	const anonymous = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	r := &p.region
	const reserve = anonymous | unix.MAP_NORESERVE | unix.MAP_FIXED_NOREPLACE
	if err := p.mmap(r.start, r.end-r.start, unix.PROT_NONE, reserve); err != nil {
		return err
	}
	for _, s := range p.image.Segments {
		size, flags := memory.PageUp(s.MemSize), uint64(anonymous|unix.MAP_FIXED)
		if err := p.mmap(uint64(s.Addr), size, uint64(s.Prot), flags); err != nil {
			return err
		}
	}
	return p.mmap(r.stack, r.end-r.stack, unix.PROT_READ|unix.PROT_WRITE, anonymous|unix.MAP_FIXED)
}

func (p *target) mmap(addr, length, prot, flags uint64) error {
	got, err := p.remote(p.threads[0], "mmap", unix.SYS_MMAP, addr, length, prot, flags, ^uint64(0), 0)
	if err == nil && uint64(got) != addr {
		err = p.problem("mmap gave %#x instead of %#x", got, addr)
	}
	p.mapped = p.mapped || err == nil
	return err
}

// fillRegion writes plugins, core and arena into the region by /proc/PID/mem, which takes no notice of protection.
func (p *target) fillRegion(arena []byte) error {
	for _, s := range p.image.Segments {
		if len(s.Data) == 0 {
			continue
		}
		if err := p.mem.Write(uint64(s.Addr), s.Data); err != nil {
			return p.problem("%w", err)
		}
	}
	pid := binary.LittleEndian.AppendUint32(nil, uint32(p.view.pid))
	if err := p.mem.Write(p.symbol("inject_pid"), pid); err != nil {
		return p.problem("%w", err)
	}
	if err := p.mem.Write(p.region.describes(), arena); err != nil {
		return p.problem("%w", err)
	}
	return nil
}

// openGate finds a place for the trampoline and puts it there for the leader.
func (p *target) openGate() error {
	t := p.threads[0]
	if err := p.save(t); err != nil {
		return err
	}
	at, ok := p.findGate()
	if !ok {
		return p.problem("no executable page has %d unused bytes at its end, not even the vDSO", trampolineSize)
	}
	if err := p.mem.Write(at, trampoline(&t.regs, t.mask, false)); err != nil {
		return p.problem("%w", err)
	}
	p.gate, p.gateOf, p.gateClones = at, t, false
	return nil
}

// findGate finds zeros at the end of an executable mapping, of the vDSO if it has them: its pages are nobody's file.
func (p *target) findGate() (at uint64, ok bool) {
	for _, vdso := range []bool{true, false} {
		for _, v := range p.view.vmas {
			if (v.Name == "[vdso]") == vdso && v.Prot&unix.PROT_EXEC != 0 && v.Flags&unix.MAP_SHARED == 0 &&
				v.Name != "[vsyscall]" && p.unused(&v) {
				return v.End - trampolineSize, true
			}
		}
	}
	return 0, false
}

// unused reports whether the last bytes of a mapping are zeros, as they are behind the code of a vDSO.
func (p *target) unused(v *taskview.VMA) bool {
	b := make([]byte, trampolineSize)
	if p.mem.ReadSome(v.End-trampolineSize, b) < len(b) {
		return false
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// save reads what a thread will get back.
func (p *target) save(t *thread) (err error) {
	if t.saved {
		return nil
	}
	if t.mask, err = sys.GetSigmask(t.tid); err != nil {
		return p.problem("%w", err)
	}
	if area := sys.RseqArea(t.tid); area != 0 {
		const criticalSection = 8 // struct rseq, rseq_cs
		word := make([]byte, 8)
		if err := p.mem.Read(area+criticalSection, word); err != nil {
			return p.problem("%w", err)
		}
		t.rseqCS = span64{area + criticalSection, binary.LittleEndian.Uint64(word)}
	}
	t.saved = true
	return nil
}

// remote makes a system call in a thread, which stands behind it afterwards.
func (p *target) remote(t *thread, name string, nr uint64, args ...uint64) (int64, error) {
	result, err := p.ask(t, nr, args...)
	if err != nil {
		return 0, err
	}
	if result < 0 && result > -4096 {
		return 0, p.problem("%s in it: %w%s", name, unix.Errno(-result), hint(nr, unix.Errno(-result)))
	}
	return result, nil
}

// ask makes a system call that may fail: then its result is a negative errno.
func (p *target) ask(t *thread, nr uint64, args ...uint64) (int64, error) {
	regs := t.regs
	const trapFlag = 0x100
	regs.Ip, regs.Ax, regs.OrigAx, regs.Flags = p.gate, nr, ^uint64(0), regs.Flags&^trapFlag
	for i, r := range []*uint64{&regs.Di, &regs.Si, &regs.Dx, &regs.R10, &regs.R8, &regs.R9} {
		if i < len(args) {
			*r = args[i]
		}
	}
	err := p.setGate(t, nr == unix.SYS_CLONE)
	if err == nil {
		t.lent = true
		err = sys.SetRegs(t.tid, &regs)
	}
	if err == nil && !t.blocked {
		err = sys.SetSigmask(t.tid, blockAll)
		t.blocked = err == nil
	}
	if err != nil {
		return 0, p.problem("%w", err)
	}
	return p.toEnd(t)
}

// setGate puts a thread's trampoline into the gate. That for clone(2) stays until the next call: the thread may have to
// make its call yet, if something failed.
func (p *target) setGate(t *thread, clone bool) error {
	if p.gateOf == t && p.gateClones == clone {
		return nil
	}
	if err := p.mem.Write(p.gate, trampoline(&t.regs, t.mask, clone)); err != nil {
		return err
	}
	p.gateOf, p.gateClones = t, clone
	return nil
}

// hint says what an error of a call in the process may come from.
func hint(nr uint64, errno unix.Errno) string {
	switch {
	case nr == unix.SYS_MMAP && errno == unix.EACCES:
		return ": executable anonymous memory is forbidden to it (SELinux execmem)"
	case nr == unix.SYS_CLONE && errno == unix.EAGAIN:
		return ": RLIMIT_NPROC of setrlimit(2), or its cgroup's pids.max, forbids it the copy of itself"
	case nr == unix.SYS_CLONE && errno == unix.ENOMEM:
		return ": there is not enough memory for a copy of itself, vm.overcommit_memory"
	}
	return ""
}

// toEnd lets a thread run to the end of its next system call, and gives that call's result.
func (p *target) toEnd(t *thread) (int64, error) {
	end := p.stopBy()
	for {
		ws, err := p.step(t, end)
		if err != nil {
			return 0, err
		}
		switch kindOf(ws) {
		case stopSyscall:
			info, err := sys.GetSyscallInfo(t.tid)
			if err != nil {
				return 0, p.problem("%w", err)
			}
			if info.Op == sys.SyscallExit {
				return info.Result, nil
			}
		case stopSignal:
			if err := p.keepSignal(t); err != nil {
				return 0, err
			}
		case stopEvent:
			if err := p.noteClone(t, ws); err != nil {
				return 0, err
			}
		}
	}
}

// noteClone takes the number of a copy, which its parent cannot know: it may be in another pid namespace.
func (p *target) noteClone(t *thread, ws unix.WaitStatus) error {
	if sys.Event(ws) != unix.PTRACE_EVENT_CLONE {
		return nil
	}
	pid, err := sys.EventMessage(t.tid)
	if err != nil {
		return p.problem("%w", err)
	}
	p.cloned = sys.PID(pid)
	return nil
}

// step lets a thread run until its next stop.
func (p *target) step(t *thread, end time.Time) (unix.WaitStatus, error) {
	if err := sys.ContinueToSyscall(t.tid); err != nil {
		return 0, p.problem("%w", err)
	}
	t.stopped = false
	ws, changed, err := sys.WaitUntil(t.tid, end)
	switch {
	case err != nil:
		return 0, p.problem("%w", err)
	case !changed:
		return 0, p.problem("thread %d: a system call takes longer than %v", t.tid, p.stopTimeout())
	case kindOf(ws) == stopGone:
		p.forget(t)
		return 0, p.problem("thread %d was killed", t.tid)
	}
	t.stopped = true
	return ws, nil
}

// keepSignal keeps the signal for which a thread has stopped until it goes on with the program.
func (p *target) keepSignal(t *thread) error {
	info, err := sys.GetSigInfo(t.tid)
	if err != nil {
		return p.problem("%w", err)
	}
	if info.Signo() == unix.SIGSTOP {
		p.stop = true
		return nil
	}
	t.keep = append(t.keep, info)
	return nil
}
