package blob

import (
	"cmp"
	"debug/elf"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sizes"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/relocator"
)

// PageSize is the unit of memory protection.
const PageSize = memory.PageSize

// Addr is an address in the process that the image is for.
type Addr = relocator.Addr

// Input is one plugin of the command line.
type Input struct {
	Plugin *loader.Plugin
	Params []Param // in the order given
	// Tasks are those in which its hooks run, any that one of them picks; empty: every task of the tree. Whoever
	// restores or grafts carries it out, the layout does not depend on it.
	Tasks []Selector
}

// Labels gives each plugin the name by which it is told apart: its own, or "name #2" if several have that name, counted
// in their order. No plugin's name has a space.
func Labels(plugins []Input) []string {
	total, seen := map[string]int{}, map[string]int{}
	for _, in := range plugins {
		total[in.Plugin.Name]++
	}
	labels := make([]string, len(plugins))
	for i, in := range plugins {
		name := in.Plugin.Name
		seen[name]++
		if labels[i] = name; total[name] > 1 {
			labels[i] = fmt.Sprintf("%s #%d", name, seen[name])
		}
	}
	return labels
}

// Param is one key=value for a plugin. Source says where a value was read that is not to be shown, such as "@file";
// it is empty for one that may be. Errors show Source instead of Value.
type Param struct {
	Key, Value, Source string

	InTask bool // Value names a file from which the plugin reads it
}

// key is what the plugin finds the parameter by: name@ stands for a file, crpie_param_read of <crpie/param.h>.
func (p Param) key() string {
	if p.InTask {
		return p.Key + "@"
	}
	return p.Key
}

// shown is the value as errors quote it.
func (p Param) shown() string {
	if p.Source != "" {
		return p.Source
	}
	return strconv.Quote(p.Value)
}

// CheckParams says everything that is wrong with the parameters, in their order: what the plugin does not declare or
// could not read, and then what it lacks.
func (in *Input) CheckParams() error {
	var problems []error
	given := map[string]bool{}
	for _, kv := range in.Params {
		given[kv.Key] = true
		if kv.InTask {
			problems = append(problems, in.Plugin.CheckInTask(kv.Key))
			continue
		}
		problems = append(problems, in.Plugin.CheckParamFrom(kv.Key, kv.Value, kv.Source))
	}
	problems = append(problems, in.Plugin.CheckGiven(func(name string) bool { return given[name] })...)
	return several.Join(problems...)
}

// handed gives the parameters that the plugin finds: those that were given, and defaults of others.
func (in *Input) handed() []Param {
	params := slices.Clone(in.Params)
	for _, d := range in.Plugin.Params {
		if d.Defaulted && !slices.ContainsFunc(in.Params, func(kv Param) bool { return kv.Key == d.Name }) {
			params = append(params, Param{Key: d.Name, Value: d.Default})
		}
	}
	return params
}

// offset is a distance from the base of the image.
type offset uint64

// Layout says how far from the base each thing will be; it depends on no address.
//
//	base ──► ┌───────────────────────────┐ page
//	         │ code of the core          │
//	         │ code of plugin 0, 1, …    │  r-x
//	         ├───────────────────────────┤ page
//	         │ struct crpie_table        │  r--
//	         │ crpie_table_plugin[]      │
//	         │ crpie_table_hook[]        │
//	         │ crpie_param[]             │
//	         │ their strings             │
//	         │ constants, GOT of core    │
//	         │ constants, GOT of plugins │
//	         ├───────────────────────────┤ page
//	         │ data of core, of plugins  │  rw-
//	         │ ┄┄┄┄ end of the bytes ┄┄┄ │
//	         │ zeros of core, of plugins │
//	         └───────────────────────────┘ page: base + Size()
//
// Constants include .data.rel.ro: what has to be relocated is, before anything is mapped.
type Layout struct {
	objects  []object // core, then the plugins
	segments [loader.NumSegments]extent
	fileEnd  offset // of the rw- segment: what follows is zeros
	table    table
	ranges   []sectionRange // every section that is not empty, by offset
}

// extent is where a segment lies, page aligned.
type extent struct{ start, end offset }

// object is the core or a plugin with the offsets of its sections.
type object struct {
	*loader.Plugin
	label    string // what Labels calls the plugin
	params   []Param
	sections []offset
	got      offset

	functions []Addr   // of hooks that are the process's own
	symbols   []string // their names
}

// sectionRange says where one section lies.
type sectionRange struct {
	start, end offset
	object     int
	section    int
}

// NewLayout decides where everything goes. The core is any object loaded with loader.Options.Core.
func NewLayout(core *loader.Plugin, plugins []Input) (*Layout, error) {
	l := &Layout{objects: make([]object, 0, len(plugins)+1)}
	l.objects = append(l.objects, object{Plugin: core, label: core.Name})
	for i, label := range Labels(plugins) {
		l.objects = append(l.objects, object{Plugin: plugins[i].Plugin, label: label,
			params: plugins[i].handed()})
	}
	if err := several.Join(l.check(), checkParams(plugins)); err != nil {
		return nil, err
	}
	l.table = newTable(l.objects[1:])
	if err := l.checkSize(); err != nil {
		return nil, err
	}
	at := offset(0)
	for s := range loader.NumSegments {
		at = l.fill(s, at)
	}
	slices.SortStableFunc(l.ranges, func(a, b sectionRange) int { return cmp.Compare(a.start, b.start) })
	return l, nil
}

func checkParams(plugins []Input) error {
	var problems []error
	for i := range plugins {
		problems = append(problems, plugins[i].CheckParams())
	}
	return several.Join(problems...)
}

// check finds what cannot be put into one image.
func (l *Layout) check() error {
	var problems []error
	if n := len(l.objects) - 1; n > abi.MaxPlugins {
		problems = append(problems, fmt.Errorf("lay out %d plugins: more than %d", n, abi.MaxPlugins))
	}
	for i, o := range l.objects {
		if o.Machine != l.objects[0].Machine {
			problems = append(problems, fmt.Errorf("lay out %s: it is for %v, but %s is for %v",
				o.File, o.Machine, l.objects[0].File, l.objects[0].Machine))
		}
		for _, p := range o.params {
			if p.Key == "" || strings.ContainsRune(p.Key+p.Value, 0) {
				problems = append(problems, fmt.Errorf(
					"lay out %s: parameter %q=%s of plugin %d is empty or contains a NUL",
					o.File, p.Key, p.shown(), i-1))
			}
		}
	}
	return several.Join(problems...)
}

// maxSize bounds an image: the lower half of the address space with four levels of page tables.
const maxSize = 1 << 47

// checkSize holds sizes and alignments to a sum that is far from wrapping; the loader's limit is for each plugin, and
// its caller's choice.
func (l *Layout) checkSize() error {
	total := uint64(l.table.size) + PageSize*uint64(loader.NumSegments)
	for i := range l.objects {
		o := &l.objects[i]
		total = sizes.Add(total, sizes.Mul(relocator.SlotSize, uint64(len(o.GOT))+1))
		for k := range o.Sections {
			total = sizes.Add(total, sizes.Add(o.Sections[k].Size, o.Sections[k].Align))
		}
		if total > maxSize {
			return fmt.Errorf("lay out %s: with its sections the image takes 0x%x bytes or more; 0x%x are the most", o.File, total, uint64(maxSize))
		}
	}
	return nil
}

// Size is the memory that the image takes, a multiple of PageSize.
func (l *Layout) Size() uint64 { return uint64(l.segments[loader.Data].end) }

// fill lays one segment from at on and returns where the next one starts.
func (l *Layout) fill(s loader.Segment, at offset) offset {
	l.segments[s].start = at
	if s == loader.ReadOnly {
		l.table.start = at
		at += offset(l.table.size)
	}
	at = l.sections(s, at, elf.SHT_PROGBITS)
	l.fileEnd = at
	if s != loader.ReadOnly { // read-only zeros have been laid with the constants, for they are followed by GOTs
		at = l.sections(s, at, elf.SHT_NOBITS)
	}
	at = memory.AlignUp(at, PageSize)
	l.segments[s].end = at
	return at
}

// sections lays the sections of one segment and kind, object by object.
func (l *Layout) sections(s loader.Segment, at offset, kind elf.SectionType) offset {
	for i := range l.objects {
		o := &l.objects[i]
		if o.sections == nil {
			o.sections = make([]offset, len(o.Sections))
		}
		for k := range o.Sections {
			sec := &o.Sections[k]
			if sec.Segment() != s || s != loader.ReadOnly &&
				(sec.Type == elf.SHT_NOBITS) != (kind == elf.SHT_NOBITS) {
				continue
			}
			at = memory.AlignUp(at, offset(sec.Align))
			o.sections[k] = at
			if sec.Size > 0 {
				l.ranges = append(l.ranges, sectionRange{at, at + offset(sec.Size), i, k})
			}
			at += offset(sec.Size)
		}
		if s == loader.ReadOnly {
			at = memory.AlignUp(at, relocator.SlotSize)
			o.got = at
			at += offset(len(o.GOT) * relocator.SlotSize)
		}
	}
	return at
}
