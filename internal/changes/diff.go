package changes

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/report"
)

// Diff gathers what hooks have changed in a process. Memory and pointers come into the report when they are described.
type Diff struct {
	*report.Diff
	memory   []*memoryChange
	pointers []*pointer
	kept     int // bytes of changes
}

// New gives a Diff that fills a report.
func New() *Diff { return &Diff{Diff: &report.Diff{}} }

// memoryChange is a change with the bytes around it.
type memoryChange struct {
	report.MemoryChange
	at            uint64
	before, after window
}

// pointer is one with the address of its word; 0: the kernel has it.
type pointer struct {
	report.Pointer
	at uint64
}

// window is memory around a change: whole words.
type window struct {
	at    uint64
	bytes []byte
}

// cut divides a change at an address, without the bytes at the ends that are the same. What lies beyond the bytes that
// were kept is not divided.
func (c *memoryChange) cut(at uint64) (first, rest *memoryChange) {
	end := c.at + c.Size
	if at <= c.at || at >= end || at > c.before.end() {
		return c, nil
	}
	first, rest = &memoryChange{}, &memoryChange{}
	*first, *rest = *c, *c
	first.Size, rest.at, rest.Size = at-c.at, at, end-at
	for first.same(first.Size - 1) {
		first.Size--
	}
	for rest.same(0) {
		rest.at, rest.Size = rest.at+1, rest.Size-1
	}
	return first, rest
}

// same reports whether a byte of the change is known to be the same as before.
func (c *memoryChange) same(off uint64) bool {
	was, is := c.before.part(c.at+off, 1), c.after.part(c.at+off, 1)
	return was != nil && is != nil && was[0] == is[0]
}

func (w *window) end() uint64 { return w.at + uint64(len(w.bytes)) }

// part gives the bytes of a span, nil if the window has less.
func (w *window) part(at, size uint64) []byte {
	if at < w.at || at+size > w.at+uint64(len(w.bytes)) {
		return nil
	}
	return w.bytes[at-w.at:][:size]
}

// Bounds of what is kept of changes of memory.
const (
	maxChanges  = 1000
	maxPointers = 100
	maxShown    = 64      // bytes of a change
	maxKept     = 8 << 20 // bytes of all changes
	wordSize    = 8
)

// AddMemory notes how two contents of the same memory differ. Bytes that are the same between two that are not belong
// to the change, if they are fewer than a word.
func (d *Diff) AddMemory(at uint64, before, after []byte) {
	for i := 0; i < len(after); {
		if before[i] == after[i] {
			i++
			continue
		}
		end := i + 1
		for j := end; j < len(after) && j < end+wordSize; j++ {
			if before[j] != after[j] {
				end = j + 1
			}
		}
		d.addRun(at, i, end, before, after)
		i = end
	}
}

// addRun adds bytes that differ without a gap. A run goes on across pages; each keeps the words around it, from which a
// number or a pointer can be read.
func (d *Diff) addRun(at uint64, from, end int, before, after []byte) {
	for i := from; i < end; i++ {
		if before[i] != after[i] {
			d.MemoryBytes++
		}
	}
	start, size := at+uint64(from), uint64(end-from)
	low, high := d.keeps(from, end, len(after))
	if n := len(d.memory); n > 0 && d.memory[n-1].at+d.memory[n-1].Size == start {
		d.memory[n-1].Size += size
		d.memory[n-1].before.extend(at+uint64(low), before[low:high])
		d.memory[n-1].after.extend(at+uint64(low), after[low:high])
		return
	}
	if len(d.memory) == maxChanges {
		d.Omitted++
		return
	}
	d.memory = append(d.memory, &memoryChange{at: start, MemoryChange: report.MemoryChange{Size: size},
		before: window{at + uint64(low), slices.Clone(before[low:high])},
		after:  window{at + uint64(low), slices.Clone(after[low:high])}})
}

// keeps tells what is kept of a run: the words around it, as long as there is room, but always the first.
func (d *Diff) keeps(from, end, most int) (low, high int) {
	low = from &^ (wordSize - 1)
	high = (end + wordSize - 1) &^ (wordSize - 1)
	if d.kept > maxKept {
		high = min(high, low+maxShown)
	}
	high = min(high, most)
	d.kept += high - low
	return low, high
}

// extend adds bytes that follow.
func (w *window) extend(at uint64, more []byte) {
	if w.end() == at {
		w.bytes = append(w.bytes, more...)
	}
}

// Words reads words of the machine.
func Words(b []byte) (all []uint64) {
	for ; len(b) >= 8; b = b[8:] {
		all = append(all, binary.LittleEndian.Uint64(b))
	}
	return all
}

// Add notes how contents of the same memory differ, and which of their words point into a region by now.
func (d *Diff) Add(region memory.Span, at uint64, before, after []byte) {
	d.AddMemory(at, before, after)
	d.AddPointers(region, at, before, after)
}

// AddPointers notes the words of a page that point into a region and did not before.
func (d *Diff) AddPointers(region memory.Span, at uint64, before, after []byte) {
	old := Words(before)
	for i, word := range Words(after) {
		if region.Has(word) && (i >= len(old) || old[i] != word) {
			d.addPointer(&pointer{report.Pointer{Value: Address(word)}, at + uint64(i)*wordSize})
		}
	}
}

func (d *Diff) addPointer(p *pointer) {
	if len(d.pointers) < maxPointers {
		d.pointers = append(d.pointers, p)
	}
}

// addKept notes an address that the kernel keeps, if it leads into a region.
func (d *Diff) addKept(region memory.Span, what string, addr uint64) {
	if region.Has(addr) {
		where := report.Place{Mapping: what}
		d.addPointer(&pointer{Pointer: report.Pointer{Place: where, Value: Address(addr)}})
	}
}

// NotCompared says of something that it is not compared, once.
func (d *Diff) NotCompared(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(d.Unknown, text) {
		d.Unknown = append(d.Unknown, text)
	}
}

// Address spells an address.
func Address(addr uint64) string { return fmt.Sprintf("%#x", addr) }

// Tables compares two tables, in the order of what they are about.
func Tables(before, after map[string]string) (all []*report.Change) {
	both := maps.Clone(before)
	maps.Copy(both, after)
	for _, what := range slices.Sorted(maps.Keys(both)) {
		was, had := before[what]
		is, has := after[what]
		if was != is || had != has {
			all = append(all, &report.Change{What: what, Before: was, After: is, New: !had, Gone: !has})
		}
	}
	return all
}

// Follow adds changes of the same things that came later. What is again as it was at first is none.
func Follow(all, later []*report.Change) []*report.Change {
	for _, next := range later {
		i := slices.IndexFunc(all, func(c *report.Change) bool { return c.What == next.What })
		if i < 0 {
			all = append(all, next)
			continue
		}
		c := all[i]
		c.After, c.Gone = next.After, next.Gone
		if c.New && c.Gone || !c.New && !c.Gone && c.Before == c.After {
			all = slices.Delete(all, i, i+1)
		}
	}
	return all
}

// StillMapped reports whether the mappings at the places of a change are those that it left.
func StillMapped(c *report.Change, now []taskview.VMA) bool {
	var start, end uint64
	if n, _ := fmt.Sscanf(c.What, "%x-%x", &start, &end); n != 2 {
		return false
	}
	for at := start; at < end; {
		v := taskview.At(now, at)
		if DescribeMapping(v) != c.After {
			return false
		}
		if v == nil {
			next, _ := slices.BinarySearchFunc(now, at, func(v taskview.VMA, at uint64) int {
				return cmp.Compare(v.Start, at)
			})
			return next == len(now) || now[next].Start >= end
		}
		at = v.End
	}
	return true
}

// Mappings compares address spaces, without a region.
func Mappings(before, after []taskview.VMA, without memory.Span) (all []*report.Change) {
	var last *report.Change
	end := uint64(0)
	EachInterval(before, after, func(start, stop uint64, a, b *taskview.VMA) {
		was, is := DescribeMapping(a), DescribeMapping(b)
		if was == is || without.Has(start) {
			return
		}
		if last != nil && end == start && last.Before == was && last.After == is {
			from, _, _ := strings.Cut(last.What, "-")
			last.What, end = fmt.Sprintf("%s-%x", from, stop), stop
			return
		}
		last = &report.Change{What: fmt.Sprintf("%x-%x", start, stop), Before: was, After: is, New: a == nil, Gone: b == nil}
		end = stop
		all = append(all, last)
	})
	return all
}

// DescribeMapping is what a mapping is, as in proc_pid_maps(5); empty for none.
func DescribeMapping(v *taskview.VMA) string {
	if v == nil {
		return ""
	}
	mode := []byte("---p")
	for i, letter := range []byte("rwx") {
		if v.Prot>>i&1 == 1 {
			mode[i] = letter
		}
	}
	if v.Flags&uapi.MapShared != 0 {
		mode[3] = 's'
	}
	return strings.TrimSpace(string(mode) + " " + v.Name)
}

// EachInterval visits the parts into which the ends of two lists of mappings cut the address space; nil is a hole.
func EachInterval(before, after []taskview.VMA, visit func(start, end uint64, before, after *taskview.VMA)) {
	var cuts []uint64
	for _, v := range append(slices.Clone(before), after...) {
		cuts = append(cuts, v.Start, v.End)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	for i := 0; i+1 < len(cuts); i++ {
		a, b := taskview.At(before, cuts[i]), taskview.At(after, cuts[i])
		if a != nil || b != nil {
			visit(cuts[i], cuts[i+1], a, b)
		}
	}
}

// Hide makes both contents of a page equal where the kernel writes by itself.
func Hide(hidden []memory.Span, page uint64, was, is []byte) {
	for _, h := range hidden {
		for at := max(h.Start, page); at < min(h.End, page+uint64(len(is))); at++ {
			was[at-page] = is[at-page]
		}
	}
}

// RseqSize is how much of struct rseq the kernel writes at most, rseq(2), bytes.
const RseqSize = 32
