//go:build amd64

package inject

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/procmaps"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
)

// before is what a process was before the first hook. A copy that stands still has the old memory and most of the rest.
type before struct {
	copy   *target
	vmas   []taskview.VMA
	files  map[string]string
	shared []taskview.VMA
	bytes  [][]byte // of shared
	rseq   []uint64

	wiped      []memory.Span // mappings that are empty in the copy
	wipedKnown bool
}

// maxCompared bounds the shared memory of which contents are kept, bytes.
const maxCompared = 64 << 20

// maxMapping bounds one mapping whose pages are looked at, maxPages the memory that is compared, bytes.
const (
	maxMapping = 16 << 30
	maxPages   = 4 << 30
)

// observe gets ready to tell what hooks change.
func (p *target) observe() (err error) {
	if !p.opts.Diff {
		return nil
	}
	b := &before{}
	if b.copy, err = p.fork(); err != nil {
		return err
	}
	p.before = b
	if b.vmas, err = p.mappings(); err != nil {
		return err
	}
	p.report.Diff = &Diff{}
	for _, t := range p.threads {
		if area := sys.RseqArea(t.tid); area != 0 {
			b.rseq = append(b.rseq, area)
		}
	}
	b.files = p.descriptors()
	p.keepShared()
	return nil
}

func (p *target) mappings() ([]taskview.VMA, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.pid))
	if err != nil {
		return nil, p.problem("%w", err)
	}
	return procmaps.Parse(string(text))
}

// keepShared keeps the contents of shared memory, of which the copy has none of its own.
func (p *target) keepShared() {
	left := uint64(maxCompared)
	devices := p.devices(p.before.vmas)
	for _, v := range p.before.vmas {
		if v.Flags&unix.MAP_SHARED == 0 || v.Prot&unix.PROT_WRITE == 0 {
			continue
		}
		size := v.End - v.Start
		if devices[v.Start] {
			p.unknown("%s: %d bytes of a device", describeMapping(&v), size)
			continue
		}
		if size > left {
			p.unknown("%s: %d bytes of shared memory are too many to keep", describeMapping(&v), size)
			continue
		}
		left -= size
		contents := make([]byte, size)
		contents = contents[:p.mem.ReadSome(v.Start, contents)]
		p.before.shared, p.before.bytes = append(p.before.shared, v), append(p.before.bytes, contents)
	}
}

// devices finds the shared mappings of devices, by where they start: reading a register of a device can change it.
// What the mapping of a driver has of memory is flagged, proc_pid_smaps(5); the name finds devices without flags.
func (p *target) devices(vmas []taskview.VMA) map[uint64]bool {
	private := func(v taskview.VMA) bool { return v.Flags&unix.MAP_SHARED == 0 }
	shared := slices.DeleteFunc(slices.Clone(vmas), private)
	if len(shared) == 0 {
		return nil
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", p.pid))
	found := map[uint64]bool{}
	for _, s := range parseSmaps(string(text)) {
		if s.has("io", "pf") { // VM_IO, VM_PFNMAP
			found[s.Start] = true
		}
	}
	for _, v := range shared {
		info, err := os.Stat(fmt.Sprintf("/proc/%d/root%s", p.pid, v.Name))
		if strings.HasPrefix(v.Name, "/") && err == nil && info.Mode()&os.ModeDevice != 0 {
			found[v.Start] = true
		}
	}
	return found
}

func (p *target) unknown(format string, args ...any) {
	p.report.Diff.Unknown = append(p.report.Diff.Unknown, fmt.Sprintf(format, args...))
}

// descriptors tells what each descriptor is.
func (p *target) descriptors() map[string]string {
	all := map[string]string{}
	dir := fmt.Sprintf("/proc/%d/fd", p.pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		p.unknown("descriptors: %v", err)
	}
	for _, e := range entries {
		name, err := os.Readlink(dir + "/" + e.Name())
		if err != nil {
			continue
		}
		info, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", p.pid, e.Name()))
		s := parseStatus(string(info))
		all[e.Name()] = fmt.Sprintf("%s, position %s, flags %s", name, s["pos"], s["flags"])
	}
	return all
}

// compare tells what is another thing now, and ends the copy.
func (p *target) compare() error {
	if p.before == nil {
		return nil
	}
	c, stopped := p.before.copy, len(p.threads) > 0 && p.threads[0].stopped
	if !stopped { // it could not be stopped, or was killed
		p.report.Diff = nil
		return c.discard()
	}
	var err error
	if p.report.Diff != nil {
		err = p.findChanges()
	}
	return errors.Join(err, c.discard(), p.reap(c))
}

// findChanges compares the process with what it was before the hooks, while it still stands.
func (p *target) findChanges() error {
	after, err := p.mappings()
	if err != nil {
		return err
	}
	d, b := p.report.Diff, p.before
	d.Mappings = changedMappings(b.vmas, after, &p.region)
	d.Descriptors = p.changedDescriptors()
	d.Limits = changes(limitsOf(b.copy.pid), limitsOf(p.pid))
	d.Attributes = changes(attributesOf(b.copy.pid), attributesOf(p.pid))
	p.environ = p.findEnviron()
	d.Environment = changes(p.environment(b.copy), p.environment(p))
	if err := p.changedActions(); err != nil {
		return err
	}
	p.changedMemory(after)
	p.names = p.openNames(after)
	return nil
}

// changedDescriptors also finds numbers that are another open file of the same name, kcmp(2).
func (p *target) changedDescriptors() []*Change {
	after := p.descriptors()
	before := maps.Clone(p.before.files)
	for number, is := range after {
		fd, _ := strconv.Atoi(number)
		was, had := before[number]
		switch {
		case was == is && sys.OtherFile(p.pid, p.before.copy.pid, fd):
			before[number], after[number] = is+", another open file", is+", opened again"
		case p.copy && had && was != is && !sys.OtherFile(p.pid, p.self.pid, fd):
			after[number] = is + ", of the program as well"
		}
	}
	return changes(before, after)
}

// limitsOf reads /proc/PID/limits, proc_pid_limits(5): a name of 26 characters, and two values.
func limitsOf(pid sys.PID) map[string]string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	all := map[string]string{}
	const name = 26
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line[min(name, len(line)):]); len(fields) >= 2 {
			all[strings.TrimSpace(line[:name])] = fields[0] + ", at most " + fields[1]
		}
	}
	return all
}

// attributesOf reads what a process has only one of.
func attributesOf(pid sys.PID) map[string]string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	s, all := parseStatus(string(text)), map[string]string{}
	for _, key := range []string{"Name", "Umask", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd",
		"CapAmb", "NoNewPrivs", "CoreDumping", "THP_enabled", "NSpgid", "NSsid"} {
		all[key] = strings.Join(strings.Fields(s[key]), " ")
	}
	for _, name := range []string{"cwd", "root"} {
		all[name], _ = os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, name))
	}
	personality, _ := os.ReadFile(fmt.Sprintf("/proc/%d/personality", pid))
	all["personality"] = strings.TrimSpace(string(personality))
	return all
}

// touched is what hooks have asked the kernel to do that nothing in /proc tells.
type touched struct {
	actions   map[uint64]bool // signals
	kept      map[keptBy]uint64
	pending   *keptAddress // of the call that runs
	unsettled bool         // see unsettles
}

// keptAddress is an address that the kernel keeps for a thread.
type keptAddress struct {
	keptBy
	addr uint64
}

type keptBy struct {
	tid  sys.PID
	what string
}

// touches notes system calls of a hook whose effect cannot be read back: addresses that the kernel keeps.
func (p *target) touches(tid sys.PID, info *sys.SyscallInfo) {
	if p.before == nil {
		return
	}
	t := &p.touched
	t.unsettled = t.unsettled || unsettles(info, p.before.vmas)
	t.pending = nil
	keep := func(what string, addr uint64) { t.pending = &keptAddress{keptBy{tid, what}, addr} }
	switch info.Nr {
	case unix.SYS_RT_SIGACTION:
		if t.actions == nil {
			t.actions = map[uint64]bool{}
		}
		t.actions[info.Args[0]] = t.actions[info.Args[0]] || info.Args[1] != 0
	case unix.SYS_SIGALTSTACK:
		stack := make([]byte, 8)
		if p.mem.ReadSome(info.Args[0], stack) == len(stack) {
			keep("the alternate signal stack", binary.LittleEndian.Uint64(stack))
		}
	case unix.SYS_SET_ROBUST_LIST:
		keep("the list of robust futexes", info.Args[0])
	case unix.SYS_SET_TID_ADDRESS:
		keep("the address of set_tid_address(2)", info.Args[0])
	case unix.SYS_RSEQ:
		keep("the area of rseq(2)", info.Args[0])
		const unregister = 1 // RSEQ_FLAG_UNREGISTER
		if info.Args[2]&unregister != 0 {
			t.pending.addr = 0
		}
	}
}

// touchesEnd notes the result of a system call: one that failed has changed nothing.
func (p *target) touchesEnd(result int64) {
	t := &p.touched
	if t.pending == nil {
		return
	}
	if t.kept == nil {
		t.kept = map[keptBy]uint64{}
	}
	if result >= 0 {
		t.kept[t.pending.keptBy] = t.pending.addr
	}
	t.pending = nil
}

// changedActions compares the actions of the signals for which hooks have set one.
func (p *target) changedActions() error {
	d := p.report.Diff
	for _, sig := range slices.Sorted(maps.Keys(p.touched.actions)) {
		if !p.touched.actions[sig] || sig == 0 || sig > lastSignal {
			continue
		}
		was, err := p.before.copy.action(unix.Signal(sig))
		if err != nil {
			return err
		}
		is, err := p.action(unix.Signal(sig))
		if err != nil {
			return err
		}
		if was != is {
			d.Signals = append(d.Signals, &Change{What: signalName(unix.Signal(sig)), Before: was.String(),
				After: is.String()})
		}
		for _, at := range []int{0, 16} { // the handler, the restorer
			if handler := binary.LittleEndian.Uint64(is[at:]); p.region.has(handler) {
				d.addPointer(&Pointer{Place: Place{Mapping: "the action of " + signalName(unix.Signal(sig))},
					Value: address(handler)})
			}
		}
	}
	p.keptPointers()
	return nil
}

// keptPointers notes the addresses that the kernel still keeps.
func (p *target) keptPointers() {
	byThread := func(a, b keptBy) int { return cmp.Or(cmp.Compare(a.tid, b.tid), cmp.Compare(a.what, b.what)) }
	for _, by := range slices.SortedFunc(maps.Keys(p.touched.kept), byThread) {
		if addr := p.touched.kept[by]; p.region.has(addr) {
			p.report.Diff.addPointer(&Pointer{Place: Place{Mapping: by.what}, Value: address(addr)})
		}
	}
}

// action asks for the action of a signal.
func (p *target) action(sig unix.Signal) (a trapAction, err error) {
	_, err = p.remote(p.threads[0], "rt_sigaction", unix.SYS_RT_SIGACTION, uint64(sig), 0, p.region.arena, 8)
	if err == nil {
		err = p.mem.Read(p.region.arena, a[:])
	}
	return a, err
}

// String tells what the action is, struct kernel_sigaction: handler, flags, restorer, mask.
func (a trapAction) String() string {
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(a[at:]) }
	switch handler := word(0); handler {
	case 0:
		return "SIG_DFL"
	case 1:
		return "SIG_IGN"
	default:
		return fmt.Sprintf("handler %#x, flags %#x, mask %#x", handler, word(8), word(24))
	}
}

// environment reads the variables of a process: where libc has them, or else as they were at its start.
func (p *target) environment(of *target) map[string]string {
	if all, ok := of.environAt(p.environ); ok {
		return all
	}
	all := map[string]string{}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", of.pid))
	for _, variable := range bytes.Split(text, []byte{0}) {
		if name, value, found := strings.Cut(string(variable), "="); found {
			all[name] = value
		}
	}
	return all
}

// environAt follows environ(7).
func (p *target) environAt(symbol uint64) (map[string]string, bool) {
	const most = 4096 // variables
	word := make([]byte, wordSize)
	if symbol == noAddress || p.mem.ReadSome(symbol, word) < len(word) {
		return nil, false
	}
	array := make([]byte, most*wordSize)
	list := words(array[:p.mem.ReadSome(binary.LittleEndian.Uint64(word), array)])
	all := map[string]string{}
	for _, at := range list {
		if at == 0 {
			return all, true
		}
		text := make([]byte, 32<<10)
		text, _, _ = bytes.Cut(text[:p.mem.ReadSome(at, text)], []byte{0})
		if name, value, found := strings.Cut(string(text), "="); found {
			all[name] = value
		}
	}
	return nil, false
}

// noAddress is none of a process.
const noAddress = ^uint64(0)

// changedMemory compares the pages that have been written since the copy was made.
func (p *target) changedMemory(after []taskview.VMA) {
	b, d := p.before, p.report.Diff
	now, err := openPageMap(p.pid)
	if err != nil {
		p.unknown("memory: %v", err)
		return
	}
	defer now.close()
	then, err := openPageMap(b.copy.pid)
	if err != nil {
		p.unknown("memory: %v", err)
		return
	}
	defer then.close()
	left := maxPages / memory.PageSize
	eachInterval(b.vmas, after, func(start, end uint64, was, is *taskview.VMA) {
		if is == nil || p.region.has(start) || !hasOwnPages(is) || was != nil && !hasOwnPages(was) {
			return
		}
		if now.walked && end-start > maxMapping {
			p.unknown("%x-%x %s: too large", start, end, describeMapping(is))
			return
		}
		writtenPages(now, then, memory.Span{Start: start, End: end}, p.touched.unsettled, func(page uint64) {
			if left--; left >= 0 {
				p.comparePage(page, was != nil)
			}
		})
	})
	if left < 0 {
		p.unknown("memory: %d MiB, beyond the first %d MiB", -left*memory.PageSize>>20, maxPages>>20)
	}
	for i, v := range b.shared {
		p.compareBytes(v.Start, b.bytes[i])
	}
	d.Memory = slices.DeleteFunc(d.Memory, func(c *MemoryChange) bool { return c.Size == 0 })
}

// hasOwnPages reports whether a mapping has pages that only this process sees.
func hasOwnPages(v *taskview.VMA) bool {
	return v.Flags&unix.MAP_SHARED == 0 && v.Name != "[vdso]" && v.Name != "[vsyscall]" &&
		!strings.HasPrefix(v.Name, "[vvar")
}

// comparePage compares a page with the copy's. One in a new mapping has only pointers.
func (p *target) comparePage(page uint64, compare bool) {
	is := make([]byte, memory.PageSize)
	if p.mem.ReadSome(page, is) < len(is) {
		return
	}
	if !compare {
		p.report.Diff.addPointers(&p.region, page, nil, is)
		return
	}
	was := make([]byte, memory.PageSize)
	if p.before.copy.mem.ReadSome(page, was) < len(was) {
		p.unknownOnce(page, "the kernel does not copy it, MADV_DONTFORK of madvise(2)")
		return
	}
	if isZero(was) && !isZero(is) && p.wiped(page) {
		p.unknownOnce(page, "the kernel empties it in a copy, MADV_WIPEONFORK of madvise(2)")
		return
	}
	p.without(page, was, is)
	p.report.Diff.addMemory(page, was, is)
	p.report.Diff.addPointers(&p.region, page, was, is)
}

// unknownOnce says of the mapping of a page why it is not compared.
func (p *target) unknownOnce(page uint64, why string) {
	text := fmt.Sprintf("%#x: %s", page, why)
	if v := taskview.At(p.before.vmas, page); v != nil {
		text = fmt.Sprintf("%x-%x %s: %s", v.Start, v.End, describeMapping(v), why)
	}
	if !slices.Contains(p.report.Diff.Unknown, text) {
		p.unknown("%s", text)
	}
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// wiped reports whether the kernel has emptied a page in the copy.
func (p *target) wiped(page uint64) bool {
	b := p.before
	if !b.wipedKnown {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", b.copy.pid))
		b.wiped, b.wipedKnown = wipedMappings(string(text)), true
	}
	return slices.ContainsFunc(b.wiped, func(s memory.Span) bool { return page >= s.Start && page < s.End })
}

// wipedMappings finds those with the flag "wf", proc_pid_smaps(5).
func wipedMappings(smaps string) (all []memory.Span) {
	for _, s := range parseSmaps(smaps) {
		if s.has("wf") {
			all = append(all, s.Span)
		}
	}
	return all
}

// compareBytes compares a piece of shared memory, which the copy of the process has no old contents of.
func (p *target) compareBytes(at uint64, was []byte) {
	is := make([]byte, len(was))
	if p.mem.ReadSome(at, is) < len(is) {
		p.unknown("%#x: shared memory is no longer there", at)
		return
	}
	p.report.Diff.addMemory(at, was, is)
	p.report.Diff.addPointers(&p.region, at, was, is)
}

// without hides what the kernel writes, struct rseq of rseq(2), and the trampoline.
func (p *target) without(page uint64, was, is []byte) {
	const size = 32
	hidden := []memory.Span{{Start: p.gate, End: p.gate + trampolineSize}}
	for _, area := range p.before.rseq {
		hidden = append(hidden, memory.Span{Start: area, End: area + size})
	}
	for _, h := range hidden {
		for at := max(h.Start, page); at < min(h.End, page+uint64(len(is))); at++ {
			was[at-page] = is[at-page]
		}
	}
}
