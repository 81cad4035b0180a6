package blob

import (
	"fmt"
	"math"
	"sort"

	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/relocator"
	"github.com/hashicorp/go-multierror"
)

// Image is a layout at an address, relocated: bytes that only have to be mapped.
type Image struct {
	Base     Addr      // a multiple of PageSize
	Size     uint64    // in bytes, a multiple of PageSize
	Segments []Segment // in address order, without gaps; empty ones are left out
	Table    Addr      // of struct crpie_table, in the read-only segment
	layout   *Layout
}

// Segment is one mapping: Data, then zeros up to MemSize.
type Segment struct {
	Addr    Addr
	Prot    Prot
	Data    []byte
	MemSize uint64 // in bytes, a multiple of PageSize, at least len(Data)
}

// Prot is a memory protection; with the values of mmap(2) on Linux.
type Prot uint32

// The protections. No segment is both writable and executable.
const (
	Read  Prot = 1
	Write Prot = 2
	Exec  Prot = 4
)

var segmentProt = [loader.NumSegments]Prot{loader.Text: Read | Exec, loader.ReadOnly: Read, loader.Data: Read | Write}

// String spells the protection as /proc/PID/maps does.
func (p Prot) String() string {
	s := []byte("---")
	for i, bit := range [...]Prot{Read, Write, Exec} {
		if p&bit != 0 {
			s[i] = "rwx"[i]
		}
	}
	return string(s)
}

// Relocate relocates everything for a base address, which must be a multiple of PageSize. What does not fit there is
// reported together; no image is made then.
func (l *Layout) Relocate(base Addr) (*Image, error) {
	return l.RelocateInto(base, make([]byte, l.BytesSize()))
}

// BytesSize is how much of Size is not the zeros at the end.
func (l *Layout) BytesSize() uint64 { return uint64(l.fileEnd) }

// RelocateInto is Relocate into memory of the caller: BytesSize() zeros. On an error they are zeros again.
func (l *Layout) RelocateInto(base Addr, bytes []byte) (*Image, error) {
	if uint64(len(bytes)) != l.BytesSize() {
		return nil, fmt.Errorf("place image at 0x%x: memory of %d bytes, %d are needed", base, len(bytes),
			l.BytesSize())
	}
	if uint64(base)%PageSize != 0 || uint64(base)+l.Size() < uint64(base) {
		return nil, fmt.Errorf("place image at 0x%x: not a multiple of %d, or no room for %d bytes", base,
			PageSize, l.Size())
	}
	if err := l.apply(base, bytes); err != nil {
		err = fmt.Errorf("place image at 0x%x: %w", base, err)
		if near, ok := l.nearest(base, bytes); ok {
			err = fmt.Errorf("%w\nthe nearest base at which everything fits is 0x%x", err, near)
		}
		return nil, err
	}
	l.table.encode(bytes[l.table.start:], base)
	img := &Image{Base: base, Size: l.Size(), Table: base + Addr(l.table.start), layout: l}
	for s, ext := range l.segments {
		if ext.start == ext.end {
			continue
		}
		end := max(ext.start, min(ext.end, l.fileEnd))
		img.Segments = append(img.Segments, Segment{
			Addr: base + Addr(ext.start), Prot: segmentProt[s], MemSize: uint64(ext.end - ext.start),
			Data: bytes[min(ext.start, end):end:end],
		})
	}
	return img, nil
}

// apply relocates all objects, or reports all values that do not fit and leaves zeros.
func (l *Layout) apply(base Addr, bytes []byte) error {
	var all []error
	for i := range l.objects {
		if err := relocator.Apply(l.objects[i].Plugin, l.target(i, base, bytes)); err != nil {
			all = append(all, err)
		}
	}
	if all != nil {
		clear(bytes)
	}
	return several.Join(all...)
}

// nearest looks for the base nearest to one that does not do. Each attempt tells by which distances the values that do
// not fit there would have to move; the nearest distance that is left is the next attempt.
func (l *Layout) nearest(base Addr, bytes []byte) (Addr, bool) {
	const attempts = 8 // one or two are enough for real objects
	low, high, by := int64(math.MinInt64), int64(math.MaxInt64), int64(0)
	for range attempts {
		at := base + Addr(by)
		if moved := at > base; uint64(at)+l.Size() < uint64(at) || moved != (by > 0) {
			return 0, false // around the end of the address space
		}
		err := l.apply(at, bytes)
		if err == nil {
			clear(bytes)
			return at, true
		}
		for _, e := range err.(*multierror.Error).Errors {
			m, ok := e.(*relocator.Misfit)
			if !ok || m.High <= m.Low {
				return 0, false
			}
			low, high = max(low, by+m.Low), min(high, by+m.High)
		}
		if low > 0 {
			by = (low + PageSize - 1) &^ (PageSize - 1)
		} else {
			by = (high - 1) &^ (PageSize - 1)
		}
		if by < low || by >= high {
			return 0, false
		}
	}
	return 0, false
}

// target says where one object's sections and GOT go in the bytes of the image. Zeros have no bytes.
func (l *Layout) target(i int, base Addr, bytes []byte) relocator.Target {
	o := &l.objects[i]
	t := relocator.Target{
		Sections: make([]Addr, len(o.Sections)),
		Bytes:    make([][]byte, len(o.Sections)),
		GOT:      base + Addr(o.got),
		GOTBytes: bytes[o.got:][:len(o.GOT)*relocator.SlotSize],
	}
	for k, off := range o.sections {
		t.Sections[k] = base + Addr(off)
		if n := len(o.Sections[k].Data); n > 0 {
			t.Bytes[k] = bytes[off:][:n]
		}
	}
	return t
}

// function is the address of a function when the image is at base, 0 for none.
func (o *object) function(f loader.Func, base Addr) Addr {
	if !f.Exists() {
		return 0
	}
	return base + Addr(o.sections[f.Section]) + Addr(f.Offset)
}

// hook is the address of the function of a hook, by index.
func (o *object) hook(index int, base Addr) Addr {
	if o.functions != nil {
		return o.functions[index]
	}
	return o.function(o.Hooks[index].Fn, base)
}

// CoreSymbol finds a global symbol of the core.
func (img *Image) CoreSymbol(name string) (Addr, bool) {
	core := &img.layout.objects[0]
	s, ok := core.Lookup(name)
	if !ok || s.Section < 0 {
		return 0, false
	}
	return img.Base + Addr(core.sections[s.Section]) + Addr(s.Value), true
}

// PluginName is what Labels calls the plugin with an index, or "plugin N" when there is none with it: the number may
// come from a process that is not trusted.
func (img *Image) PluginName(index int) string {
	if index < 0 || index+1 >= len(img.layout.objects) {
		return fmt.Sprintf("plugin %d", index)
	}
	return img.layout.objects[index+1].label
}

// Location is what an address of the image means.
type Location struct {
	Plugin         int    // index into the plugins given to NewLayout, -1 for the core
	Name           string // of the plugin
	Section        string
	SectionOffset  loader.Offset
	Function       string // demangled; empty if no function is known there
	FunctionOffset loader.Offset
	File           string // empty without debug information
	Line           int
	InlinedAt      []loader.SourceLine // calls by which the line came to be in Function, the innermost first
}

// String gives "plugin: function+0x1a (file.c:12)", or the section if no function is known.
func (l Location) String() string { return l.Name + ": " + l.at() }

// at is String without the plugin.
func (l Location) at() string {
	s := fmt.Sprintf("%s+0x%x", l.Section, l.SectionOffset)
	if l.Function != "" {
		s = fmt.Sprintf("%s+0x%x", l.Function, l.FunctionOffset)
	}
	if l.File == "" {
		return s
	}
	s += fmt.Sprintf(" (%s:%d", l.File, l.Line)
	for _, call := range l.InlinedAt {
		s += fmt.Sprintf(", inlined at %s:%d", call.File, call.Line)
	}
	return s + ")"
}

// Locate says what lies at an address; ok is false between sections. The first call for a plugin reads its debug
// information.
func (img *Image) Locate(addr Addr) (loc Location, ok bool) {
	r, off, ok := img.find(addr)
	if !ok {
		return Location{}, false
	}
	o := &img.layout.objects[r.object]
	sec := &o.Sections[r.section]
	pl := o.PlaceOf(sec, off)
	return Location{
		Plugin: r.object - 1, Name: escape.Name(o.label), Section: pl.Section, SectionOffset: off,
		Function: pl.Function, FunctionOffset: pl.FunctionOffset, File: pl.File, Line: pl.Line,
		InlinedAt: o.InlinedAt(sec, off),
	}, true
}

// Unwind gives the registers of the caller of the function at an address: see loader.Plugin.Unwind.
func (img *Image) Unwind(addr Addr, registers [17]uint64, word func(addr uint64) (uint64, bool)) (caller [17]uint64,
	ok bool) {
	r, off, ok := img.find(addr)
	if !ok {
		return caller, false
	}
	o := &img.layout.objects[r.object]
	return o.Unwind(&o.Sections[r.section], off, registers, word)
}

// PluginAt tells whose code or data an address is, -1: the core's; ok is false between sections.
func (img *Image) PluginAt(addr Addr) (plugin int, ok bool) {
	r, _, ok := img.find(addr)
	return r.object - 1, ok
}

// find finds the section that an address is in, and the offset in it.
func (img *Image) find(addr Addr) (r sectionRange, off loader.Offset, ok bool) {
	at := offset(addr - img.Base)
	ranges := img.layout.ranges
	i := sort.Search(len(ranges), func(i int) bool { return ranges[i].start > at }) - 1
	if i < 0 || addr < img.Base || at >= ranges[i].end {
		return r, 0, false
	}
	return ranges[i], loader.Offset(at - ranges[i].start), true
}

// Describe says what lies at an address, for a message that names the plugin before it: "function+0x1a (file.c:12)",
// with "core: " if it is the core's, or that it is outside the blob.
func (img *Image) Describe(addr Addr) string {
	loc, ok := img.Locate(addr)
	switch {
	case !ok:
		if name := img.layout.residentAt(addr); name != "" {
			return name
		}
		return fmt.Sprintf("outside the blob at %#x", uint64(addr))
	case loc.Plugin >= 0:
		return loc.at()
	}
	return loc.String()
}

// SectionAddr gives the address of a section of a plugin (-1: the core); section is an index into Plugin.Sections.
func (img *Image) SectionAddr(plugin, section int) Addr {
	return img.Base + Addr(img.layout.objects[plugin+1].sections[section])
}

// Slot gives the address of the slot of a plugin's import; index is into Plugin.Imports.
func (img *Image) Slot(plugin, index int) Addr {
	in := &img.layout.objects[plugin+1].Imports[index]
	return img.SectionAddr(plugin, in.Section) + Addr(in.Offset)
}

// PlacedSection is a section of a plugin in memory.
type PlacedSection struct {
	Name string
	Addr Addr
	Size uint64
}

// PluginSections lists the sections of a plugin (-1: the core) that are in memory and not empty, in the object's order.
func (img *Image) PluginSections(plugin int) (all []PlacedSection) {
	sections := img.layout.objects[plugin+1].Sections
	for i := range sections {
		if s := &sections[i]; s.Size > 0 {
			all = append(all, PlacedSection{s.Name, img.SectionAddr(plugin, i), s.Size})
		}
	}
	return all
}

// GOT gives the address of the global offset table of a plugin (-1: the core).
func (img *Image) GOT(plugin int) Addr { return img.Base + Addr(img.layout.objects[plugin+1].got) }

// Bytes gives up to n bytes of the image from an address on: no more than its segment has, without the zeros at the
// end.
func (img *Image) Bytes(at Addr, n uint64) []byte {
	for _, s := range img.Segments {
		if off := uint64(at - s.Addr); at >= s.Addr && off < uint64(len(s.Data)) {
			return s.Data[off:min(off+n, uint64(len(s.Data)))]
		}
	}
	return nil
}
