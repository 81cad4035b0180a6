package loader

import (
	"cmp"
	"debug/elf"
	"slices"
	"strings"
)

// function is one stretch of code with a name.
type function struct {
	section    int // ELF section index
	start, end uint64
	name       string
}

// functionIndex finds the function around an offset.
type functionIndex struct{ sorted []function }

// functions is the index of a plugin, made on first use.
func (p *Plugin) functions() *functionIndex {
	p.lazy.functionsOnce.Do(func() { p.lazy.functions = newFunctionIndex(p) })
	return p.lazy.functions
}

// newFunctionIndex sorts the functions by place, so that an address finds its function by a binary search.
func newFunctionIndex(p *Plugin) *functionIndex {
	idx := &functionIndex{}
	for i := range p.Symbols {
		s := &p.Symbols[i]
		if s.Section < 0 || s.Name == "" || !namesCode(p, s) ||
			s.Size > p.Sections[s.Section].Size-min(s.Value, p.Sections[s.Section].Size) {
			continue // the last are refused
		}
		sec := p.Sections[s.Section].Index
		idx.sorted = append(idx.sorted, function{sec, s.Value, s.Value + s.Size, s.Name})
	}
	slices.SortStableFunc(idx.sorted, func(a, b function) int {
		return cmp.Or(cmp.Compare(a.section, b.section), cmp.Compare(a.start, b.start),
			cmp.Compare(a.end, b.end))
	})
	return idx
}

// namesCode accepts functions and, for hand-written assembly, plain labels in code.
func namesCode(p *Plugin, s *Symbol) bool {
	if s.Type == elf.STT_FUNC {
		return true
	}
	code := p.Sections[s.Section].Flags&elf.SHF_EXECINSTR != 0
	return code && s.Type == elf.STT_NOTYPE && !strings.HasPrefix(s.Name, "$") && !strings.HasPrefix(s.Name, ".L")
}

// find gives the last function that starts at or before off and, if it has a size, reaches it.
func (x *functionIndex) find(section int, off uint64) (function, bool) {
	at, exact := slices.BinarySearchFunc(x.sorted, function{section: section, start: off + 1},
		func(a, b function) int {
			return cmp.Or(cmp.Compare(a.section, b.section), cmp.Compare(a.start, b.start))
		})
	if exact && off == ^uint64(0) {
		return function{}, false
	}
	for at--; at >= 0 && x.sorted[at].section == section; at-- {
		if f := x.sorted[at]; f.end == f.start || off < f.end {
			return f, true
		}
		if x.sorted[at].end > x.sorted[at].start {
			break
		}
	}
	return function{}, false
}

// PlaceOf names a spot of a section of the plugin for messages, with the function around it and, if there is debug
// information, the source line. The first call for a plugin reads its debug information.
func (p *Plugin) PlaceOf(sec *Section, off Offset) Place {
	pl := p.placeOf(sec.Index, off)
	p.addLines([]*Place{&pl})
	return pl
}

// placeOf makes a place that still lacks its source line.
func (p *Plugin) placeOf(elfIndex int, off Offset) Place {
	name, _ := nameAt(p.shstrtab, p.shdrs[elfIndex].Name)
	pl := Place{Section: clip(name), Offset: off, index: elfIndex}
	if f, ok := p.functions().find(elfIndex, uint64(off)); ok {
		pl.Function, pl.FunctionOffset = Demangle(f.name), off-Offset(f.start)
	}
	return pl
}

// SymbolLabel names a symbol for messages; a section symbol has the name of its section.
func (p *Plugin) SymbolLabel(i uint32) string {
	s := &p.Symbols[i]
	if s.Type == elf.STT_SECTION && s.Section >= 0 {
		return clip(p.Sections[s.Section].Name)
	}
	return Demangle(s.Name)
}
