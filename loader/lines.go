package loader

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"strings"
	"sync/atomic"

	"github.com/crpie/crpie/internal/dwarfline"
)

// Line numbers are a courtesy of messages; an object that has more of them than this gets messages without.
const (
	maxDebug  = 32 << 20  // bytes of line tables and their strings, unpacked if they are compressed
	maxPacked = 8 << 20   // bytes of a compressed section
	maxWalked = 256 << 20 // bytes of line tables that are walked through for one object
)

// lineTable finds source lines. In a relocatable object every section starts at address 0, so the debug information is
// relocated to addresses of its own, at which the sections do not overlap: section i of the file is at base[i].
type lineTable struct {
	sections dwarfline.Sections
	base     []uint64 // by ELF section index; 0 for sections without bytes
	walked   atomic.Int64
}

// Line finds the source line of an offset into a section, from DWARF.
func (p *Plugin) Line(sec *Section, off Offset) (file string, line int, ok bool) {
	pl := Place{Offset: off, index: sec.Index}
	p.addLines([]*Place{&pl})
	return pl.File, pl.Line, pl.File != ""
}

// addLines completes the places of all violations with source lines.
func (p *parser) addLines() {
	if p.plugin.shdrs == nil {
		return
	}
	var places []*Place
	for v := range p.violations {
		for i := range p.violations[v].Places {
			places = append(places, &p.violations[v].Places[i])
		}
	}
	p.plugin.addLines(places)
}

// addLines completes places that are in sections of known index.
func (p *Plugin) addLines(places []*Place) {
	p.lazy.linesOnce.Do(func() { p.lazy.lines = newLineTable(p) })
	t := p.lazy.lines
	var known []*Place
	var addresses []uint64
	for _, pl := range places {
		if at, ok := t.address(p, pl); ok {
			known, addresses = append(known, pl), append(addresses, at)
		}
	}
	if len(known) == 0 || t.walked.Add(int64(len(t.sections.Line))) > maxWalked {
		return
	}
	for i, pos := range t.sections.Find(addresses) {
		known[i].File, known[i].Line, known[i].Column = clip(pos.File), pos.Line, pos.Column
	}
}

// address returns the address that a place has in the relocated debug information.
func (t *lineTable) address(p *Plugin, pl *Place) (at uint64, ok bool) {
	if len(t.sections.Line) == 0 || pl.index == 0 || t.base[pl.index] == 0 ||
		uint64(pl.Offset) >= p.shdrs[pl.index].Size {
		return 0, false
	}
	return t.base[pl.index] + uint64(pl.Offset), true
}

// newLineTable prepares the lookup.
func newLineTable(p *Plugin) *lineTable {
	t := &lineTable{base: make([]uint64, len(p.shdrs))}
	next := uint64(1 << 32)
	for i := range p.Sections {
		if s := &p.Sections[i]; len(s.Data) > 0 {
			t.base[s.Index] = next
			next += uint64(len(s.Data)) + 0x1000 // no more than the file has, and a gap
		}
	}
	left := maxDebug
	for _, want := range []struct {
		name string
		into *[]byte
	}{
		{".debug_line", &t.sections.Line}, {".debug_line_str", &t.sections.LineStr},
		{".debug_str", &t.sections.Str},
	} {
		b, ok := p.debugSection(want.name, t.base, left)
		if !ok {
			left = 0 // damaged line tables may cost once, not once a section
		}
		*want.into = b
		left -= min(left, len(b))
	}
	return t
}

// debugSection gives a relocated copy of a debug section, nil if there is none; ok is false if it is damaged or has
// more than limit bytes.
func (p *Plugin) debugSection(name string, base []uint64, limit int) (b []byte, ok bool) {
	for i := range p.shdrs {
		if got, _ := nameAt(p.shstrtab, p.shdrs[i].Name); got != name {
			continue
		}
		b, ok = p.contents(i, limit)
		p.relocateDebug(i, b, base)
		return b, ok
	}
	return nil, true
}

// contents gives a copy of what a section has, unpacked; ok is false if it is damaged or has more than limit bytes.
func (p *Plugin) contents(section, limit int) (b []byte, ok bool) {
	raw, ok := span(p.data, p.shdrs[section].Off, p.shdrs[section].Size)
	switch {
	case !ok || len(raw) > limit:
		return nil, false
	case elf.SectionFlag(p.shdrs[section].Flags)&elf.SHF_COMPRESSED != 0:
		return inflate(raw, uint64(limit))
	}
	return bytes.Clone(raw), true
}

// chdrSize is sizeof(Elf64_Chdr): type, reserved, size, alignment.
const chdrSize = 24

// inflate unpacks a compressed section, zlib or zstd, which only debug/elf has. debug/elf is fenced here: it gets a
// file of its own with nothing in it but this section, so it reads no other size from the object.
func inflate(raw []byte, limit uint64) ([]byte, bool) {
	if len(raw) < chdrSize || len(raw) > maxPacked || le64(raw[8:]) > limit {
		return nil, false
	}
	f, err := elf.NewFile(bytes.NewReader(fileOfOne(raw)))
	if err != nil {
		return nil, false
	}
	out := make([]byte, le64(raw[8:]))
	if _, err := io.ReadFull(f.Sections[1].Open(), out); err != nil {
		return nil, false
	}
	return out, true
}

// fileOfOne makes an object whose section 1 is compressed and contains raw: header, section headers, raw.
func fileOfOne(raw []byte) []byte {
	const count, start = 3, ehdrSize + 3*shdrSize
	le := binary.LittleEndian
	h := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB),
			byte(elf.EV_CURRENT)},
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Ehsize: ehdrSize,
		Shoff:  ehdrSize, Shentsize: shdrSize, Shnum: count, Shstrndx: 2,
	}
	sections := [count]elf.Section64{
		1: {Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_COMPRESSED), Off: start,
			Size: uint64(len(raw))},
		2: {Type: uint32(elf.SHT_STRTAB), Off: elf.EI_NIDENT - 1, Size: 1}, // the last byte of e_ident is zero
	}
	b, _ := binary.Append(make([]byte, 0, start+len(raw)), le, h) // structs of fixed size
	b, _ = binary.Append(b, le, sections)
	return append(b, raw...)
}

// relocateDebug applies the relocations that debug information has: plain addresses and section offsets.
func (p *Plugin) relocateDebug(section int, b []byte, base []uint64) {
	table := p.relocOf[section]
	if table == 0 || p.shdrs[table].Size%relaSize != 0 {
		return
	}
	raw, _ := span(p.data, p.shdrs[table].Off, p.shdrs[table].Size)
	for r := range (Relocations{raw}).All() {
		if uint64(r.Symbol) < uint64(len(p.Symbols)) && uint64(r.Offset) <= uint64(len(b)) {
			p.relocateDebugPlace(b[r.Offset:], LookupReloc(p.Machine, r.Type), &p.Symbols[r.Symbol],
				r.Addend, base)
		}
	}
}

// relocateDebugPlace applies a relocation of a debug section, as far as lines need it: absolute ones. Others stay, and
// their lines are not found.
func (p *Plugin) relocateDebugPlace(b []byte, t RelocType, s *Symbol, addend int64, base []uint64) {
	value := s.Value + uint64(addend)
	if s.Section >= 0 {
		value += base[p.Sections[s.Section].Index]
	}
	switch {
	case !strings.HasSuffix(t.Name, "64") && !strings.HasSuffix(t.Name, "32") ||
		t.Class != RelocDirect && t.Class != RelocAbs32:
	case t.Size == 8 && len(b) >= 8:
		binary.LittleEndian.PutUint64(b, value)
	case t.Size == 4 && len(b) >= 4:
		binary.LittleEndian.PutUint32(b, uint32(value))
	}
}
