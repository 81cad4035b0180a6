//go:build amd64

package inject

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/changes"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/procmaps"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/internal/uapi"
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
	p.diff = changes.New()
	p.report.Diff = p.diff.Diff
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
	all, err := changes.MappingsOf(p.pid)
	if err != nil {
		return nil, p.problem("%w", err)
	}
	return all, nil
}

// keepShared keeps the contents of shared memory, of which the copy has none of its own.
func (p *target) keepShared() {
	left := uint64(changes.MaxShared)
	devices := p.devices(p.before.vmas)
	for _, v := range p.before.vmas {
		if v.Flags&unix.MAP_SHARED == 0 || v.Prot&unix.PROT_WRITE == 0 {
			continue
		}
		size := v.End - v.Start
		if devices[v.Start] {
			p.diff.NotCompared("%s: %d bytes of a device", changes.DescribeMapping(&v), size)
			continue
		}
		if size > left {
			p.diff.NotCompared("%s: %d bytes of shared memory are too many to keep", changes.DescribeMapping(&v), size)
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
	for _, s := range procmaps.Smaps(string(text)) {
		if s.Has("io", "pf") { // VM_IO, VM_PFNMAP
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

// descriptors tells what each descriptor is.
func (p *target) descriptors() map[string]string {
	all, err := changes.DescriptorsOf(p.pid)
	if err != nil {
		p.diff.NotCompared("descriptors: %v", err)
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
	d, b := p.diff, p.before
	d.Mappings = changes.Mappings(b.vmas, after, p.region.span())
	d.Descriptors = p.changedDescriptors()
	d.Limits = changes.Tables(changes.LimitsOf(b.copy.pid), changes.LimitsOf(p.pid))
	d.Attributes = changes.Tables(changes.AttributesOf(b.copy.pid), changes.AttributesOf(p.pid))
	environ := changes.FindEnviron(p.pid)
	d.Environment = changes.Tables(changes.EnvironmentOf(environ, &p.view.mm, b.copy.mem.ReadSome),
		changes.EnvironmentOf(environ, &p.view.mm, p.mem.ReadSome))
	if err := p.changedActions(); err != nil {
		return err
	}
	p.changedMemory(after)
	p.names = d.OpenNames(p.self.pid, after, p.view.mm, changes.Block(&p.view.mm, b.copy.mem.ReadSome))
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
	return changes.Tables(before, after)
}

// changedActions compares the actions of the signals for which hooks have set one.
func (p *target) changedActions() error {
	return p.touched.AddTo(p.diff, p.region.span(), p.before.copy.action, p.action)
}

// action asks for the action of a signal.
func (p *target) action(sig unix.Signal) (a changes.Action, err error) {
	_, err = p.remote(p.threads[0], "rt_sigaction", unix.SYS_RT_SIGACTION, uint64(sig), 0, p.region.arena, 8)
	if err == nil {
		err = p.mem.Read(p.region.arena, a[:])
	}
	return a, err
}

// changedMemory compares the pages that have been written since the copy was made.
func (p *target) changedMemory(after []taskview.VMA) {
	b := p.before
	now, err := changes.OpenPageMap(p.pid)
	if err != nil {
		p.diff.NotCompared("memory: %v", err)
		return
	}
	defer now.Close()
	then, err := changes.OpenPageMap(b.copy.pid)
	if err != nil {
		p.diff.NotCompared("memory: %v", err)
		return
	}
	defer then.Close()
	left := changes.MaxPages / memory.PageSize
	changes.EachInterval(b.vmas, after, func(start, end uint64, was, is *taskview.VMA) {
		if is == nil || p.region.span().Has(start) || !changes.HasOwnPages(is) ||
			was != nil && !changes.HasOwnPages(was) {
			return
		}
		if now.Walked && end-start > changes.MaxMapping {
			p.diff.NotCompared("%x-%x %s: too large", start, end, changes.DescribeMapping(is))
			return
		}
		writtenPages(now, then, memory.Span{Start: start, End: end}, p.touched.Unsettled, func(page uint64) {
			if left--; left >= 0 {
				p.comparePage(page, was != nil)
			}
		})
	})
	if left < 0 {
		p.diff.NotCompared("memory: %d MiB, beyond the first %d MiB", -left*memory.PageSize>>20, changes.MaxPages>>20)
	}
	for i, v := range b.shared {
		p.compareBytes(v.Start, b.bytes[i])
	}
}

// comparePage compares a page with the copy's. One in a new mapping has only pointers.
func (p *target) comparePage(page uint64, compare bool) {
	is := make([]byte, memory.PageSize)
	if p.mem.ReadSome(page, is) < len(is) {
		return
	}
	if !compare {
		p.diff.AddPointers(p.region.span(), page, nil, is)
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
	p.diff.Add(p.region.span(), page, was, is)
}

// unknownOnce says of the mapping of a page why it is not compared.
func (p *target) unknownOnce(page uint64, why string) {
	text := fmt.Sprintf("%#x: %s", page, why)
	if v := taskview.At(p.before.vmas, page); v != nil {
		text = fmt.Sprintf("%x-%x %s: %s", v.Start, v.End, changes.DescribeMapping(v), why)
	}
	p.diff.NotCompared("%s", text)
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// wiped reports whether the kernel has emptied a page in the copy.
func (p *target) wiped(page uint64) bool {
	b := p.before
	if !b.wipedKnown {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", b.copy.pid))
		b.wiped, b.wipedKnown = wipedMappings(string(text)), true
	}
	return slices.ContainsFunc(b.wiped, func(s memory.Span) bool { return s.Has(page) })
}

// wipedMappings finds those with the flag "wf", proc_pid_smaps(5).
func wipedMappings(smaps string) (all []memory.Span) {
	for _, s := range procmaps.Smaps(smaps) {
		if s.Has("wf") {
			all = append(all, s.Span)
		}
	}
	return all
}

// compareBytes compares a piece of shared memory, which the copy of the process has no old contents of.
func (p *target) compareBytes(at uint64, was []byte) {
	is := make([]byte, len(was))
	if p.mem.ReadSome(at, is) < len(is) {
		p.diff.NotCompared("%#x: shared memory is no longer there", at)
		return
	}
	p.diff.Add(p.region.span(), at, was, is)
}

// without hides what the kernel writes, struct rseq of rseq(2), and the trampoline.
func (p *target) without(page uint64, was, is []byte) {
	hidden := []memory.Span{{Start: p.gate, End: p.gate + trampolineSize}}
	for _, area := range p.before.rseq {
		hidden = append(hidden, memory.Span{Start: area, End: area + changes.RseqSize})
	}
	changes.Hide(hidden, page, was, is)
}

// startTrace returns nil if calls are not traced.
func (p *target) startTrace(call *Call) *changes.Trace {
	if !p.opts.Trace {
		return nil
	}
	if p.formatter == nil {
		p.formatter = uapi.NewCallFormatter()
	}
	return changes.NewTrace(p.formatter, p.mem, call)
}

// describe names what has changed in all processes, which go on meanwhile.
func (s *session) describe() {
	for _, p := range s.targets {
		if p.double != nil {
			p = p.double
		}
		if p.names != nil {
			p.names.Describe(p.diff)
			p.names.Close()
		}
	}
}
