package inject

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/internal/uapi"
)

// Diff is what hooks have changed in a process. Lists are nil where nothing is another thing.
type Diff struct {
	Memory      []*MemoryChange `json:"memory,omitempty"`
	MemoryBytes uint64          `json:"memory_bytes"`             // that are others, also those that Memory leaves out
	Omitted     int             `json:"memory_omitted,omitempty"` // changes that Memory leaves out
	Mappings    []*Change       `json:"mappings,omitempty"`       // by their addresses
	Descriptors []*Change       `json:"descriptors,omitempty"`    // by their numbers
	Signals     []*Change       `json:"signals,omitempty"`        // actions, by the signals' names
	Limits      []*Change       `json:"limits,omitempty"`         // as in /proc/PID/limits
	Environment []*Change       `json:"environment,omitempty"`    // by the variables' names
	Registers   []*Change       `json:"registers,omitempty"`      // of threads, by hooks of them
	Timers      []*Change       `json:"timers,omitempty"`         // by hooks
	Attributes  []*Change       `json:"attributes,omitempty"`     // as in /proc/PID/status, cwd, root
	Pointers    []*Pointer      `json:"pointers,omitempty"`       // that stay behind
	Unknown     []string        `json:"unknown,omitempty"`        // what could not be compared, and why

	kept int // bytes of changes
}

// Change is a thing that was one way before and is another way after. Either can be empty without being absent, as a
// variable can that is set to nothing.
type Change struct {
	What   string `json:"what"`
	Before string `json:"before"`
	After  string `json:"after"`
	New    bool   `json:"new,omitempty"`  // it was not there before
	Gone   bool   `json:"gone,omitempty"` // it is not there after
}

// MemoryChange is memory with other bytes, or a variable of at most 8 bytes of which some are others.
type MemoryChange struct {
	Place
	Address string `json:"address"`
	Size    uint64 `json:"size"`
	Before  string `json:"before"` // bytes in hexadecimal, the first of them if there are many
	After   string `json:"after"`

	at            uint64
	before, after window
}

// Place is where memory lies.
type Place struct {
	Mapping  string `json:"mapping"`            // a file, [heap], [stack], or "anonymous"
	Symbol   string `json:"symbol,omitempty"`   // name+offset of what the symbol table has there
	Variable string `json:"variable,omitempty"` // with its members, as DWARF has it
	Type     string `json:"type,omitempty"`     // as DWARF has it
}

// Pointer is a word that points to the memory that the process has lent, and that is unmapped again.
type Pointer struct {
	Place
	Address string `json:"address,omitempty"` // of the word; empty: the kernel has it
	Value   string `json:"value"`

	at uint64
}

// window is memory around a change: whole words.
type window struct {
	at    uint64
	bytes []byte
}

// cut divides a change at an address, without the bytes at the ends that are the same. What lies beyond the bytes that
// were kept is not divided.
func (c *MemoryChange) cut(at uint64) (first, rest *MemoryChange) {
	end := c.at + c.Size
	if at <= c.at || at >= end || at > c.before.end() {
		return c, nil
	}
	first, rest = &MemoryChange{}, &MemoryChange{}
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
func (c *MemoryChange) same(off uint64) bool {
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

// addMemory notes how two contents of the same memory differ. Bytes that are the same between two that are not belong
// to the change, if they are fewer than a word.
func (d *Diff) addMemory(at uint64, before, after []byte) {
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
	if n := len(d.Memory); n > 0 && d.Memory[n-1].at+d.Memory[n-1].Size == start {
		d.Memory[n-1].Size += size
		d.Memory[n-1].before.extend(at+uint64(low), before[low:high])
		d.Memory[n-1].after.extend(at+uint64(low), after[low:high])
		return
	}
	if len(d.Memory) == maxChanges {
		d.Omitted++
		return
	}
	d.Memory = append(d.Memory, &MemoryChange{at: start, Size: size,
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

func words(b []byte) (all []uint64) {
	for ; len(b) >= 8; b = b[8:] {
		all = append(all, binary.LittleEndian.Uint64(b))
	}
	return all
}

// addPointers notes the words of a page that point into a region and did not before.
func (d *Diff) addPointers(r *region, at uint64, before, after []byte) {
	old := words(before)
	for i, word := range words(after) {
		if r.has(word) && (i >= len(old) || old[i] != word) {
			d.addPointer(&Pointer{at: at + uint64(i)*wordSize, Value: address(word)})
		}
	}
}

func (d *Diff) addPointer(p *Pointer) {
	if len(d.Pointers) < maxPointers {
		d.Pointers = append(d.Pointers, p)
	}
}

// has reports whether an address is in the region.
func (r *region) has(addr uint64) bool { return addr >= r.start && addr < r.end }

func address(addr uint64) string { return fmt.Sprintf("%#x", addr) }

// changes compares two tables, in the order of what they are about.
func changes(before, after map[string]string) (all []*Change) {
	both := maps.Clone(before)
	maps.Copy(both, after)
	for _, what := range slices.Sorted(maps.Keys(both)) {
		was, had := before[what]
		is, has := after[what]
		if was != is || had != has {
			all = append(all, &Change{What: what, Before: was, After: is, New: !had, Gone: !has})
		}
	}
	return all
}

// changedMappings compares address spaces, without the region.
func changedMappings(before, after []taskview.VMA, without *region) (all []*Change) {
	var last *Change
	end := uint64(0)
	eachInterval(before, after, func(start, stop uint64, a, b *taskview.VMA) {
		was, is := describeMapping(a), describeMapping(b)
		if was == is || without.has(start) {
			return
		}
		if last != nil && end == start && last.Before == was && last.After == is {
			from, _, _ := strings.Cut(last.What, "-")
			last.What, end = fmt.Sprintf("%s-%x", from, stop), stop
			return
		}
		last = &Change{What: fmt.Sprintf("%x-%x", start, stop), Before: was, After: is, New: a == nil, Gone: b == nil}
		end = stop
		all = append(all, last)
	})
	return all
}

// describeMapping is what a mapping is, as in proc_pid_maps(5); empty for none.
func describeMapping(v *taskview.VMA) string {
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

// eachInterval visits the parts into which the ends of two lists of mappings cut the address space; nil is a hole.
func eachInterval(before, after []taskview.VMA, visit func(start, end uint64, before, after *taskview.VMA)) {
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
