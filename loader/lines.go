package loader

import (
	"bytes"
	"debug/dwarf"
	"debug/elf"
	"encoding/binary"
	"io"
	"strings"
)

// maxDebug bounds the debug information that is copied, unpacked if it is compressed. Line numbers are a courtesy of
// messages; an object with more gets messages without them.
const maxDebug = 32 << 20

// lineTable finds source lines. In a relocatable object every section starts at address 0, so the debug information is
// relocated to addresses of its own, at which the sections do not overlap: section i of the file is at base[i].
type lineTable struct {
	debug *dwarf.Data
	base  []uint64 // by ELF section index; 0 for sections without code
}

// Line finds the source line of an offset into a section, from DWARF.
func (p *Plugin) Line(sec *Section, off Offset) (file string, line int, ok bool) {
	l, ok := p.lineOf(sec.Index, off)
	return l.file, l.line, ok
}

// sourceLine is a place of a source file; column is 0 if it is not known.
type sourceLine struct {
	file         string
	line, column int
}

func (p *Plugin) lineOf(elfIndex int, off Offset) (sourceLine, bool) {
	p.lazy.linesOnce.Do(func() { p.lazy.lines = newLineTable(p) })
	return p.lazy.lines.find(elfIndex, off)
}

// addLines completes places with source lines.
func (p *parser) addLines() {
	if p.plugin.shdrs == nil {
		return
	}
	for v := range p.violations {
		for i := range p.violations[v].Places {
			p.plugin.addLine(&p.violations[v].Places[i])
		}
	}
}

// addLine completes a place with its source line, if it is one in a section of known index.
func (p *Plugin) addLine(pl *Place) {
	if pl.index != 0 {
		l, _ := p.lineOf(pl.index, pl.Offset)
		pl.File, pl.Line, pl.Column = l.file, l.line, l.column
	}
}

// newLineTable prepares the lookup. debug/dwarf is fenced here: it was written for the output of compilers, and what it
// does with other input is not ours to answer for, so a panic in it means that there are no line numbers.
func newLineTable(p *Plugin) (t *lineTable) {
	t = &lineTable{}
	defer func() {
		if recover() != nil {
			t.debug = nil
		}
	}()
	t.base = make([]uint64, len(p.shdrs))
	next := uint64(1 << 32)
	for i := range p.Sections {
		t.base[p.Sections[i].Index] = next
		next += p.Sections[i].Size + 0x1000
	}
	left := maxDebug
	get := func(name string) []byte {
		b, ok := p.debugSection(name, t.base, left)
		if left -= len(b); !ok {
			left = 0 // what is damaged may cost once, not once a section
		}
		return b
	}
	d, err := dwarf.New(get(".debug_abbrev"), nil, nil, get(".debug_info"), get(".debug_line"), nil, get(".debug_ranges"), get(".debug_str"))
	if err != nil {
		return t
	}
	for _, name := range []string{".debug_addr", ".debug_line_str", ".debug_str_offsets", ".debug_rnglists"} {
		if b := get(name); b != nil {
			_ = d.AddSection(name, b) // as above: no line numbers then
		}
	}
	t.debug = d
	return t
}

// find looks an offset up; like newLineTable it trusts debug/dwarf with nothing.
func (t *lineTable) find(elfIndex int, off Offset) (at sourceLine, ok bool) {
	if t.debug == nil || elfIndex >= len(t.base) || t.base[elfIndex] == 0 {
		return at, false
	}
	defer func() {
		if recover() != nil {
			at, ok = sourceLine{}, false
		}
	}()
	pc := t.base[elfIndex] + uint64(off)
	unit, err := t.debug.Reader().SeekPC(pc)
	if err != nil {
		return at, false
	}
	lines, err := t.debug.LineReader(unit)
	if err != nil || lines == nil {
		return at, false
	}
	var entry dwarf.LineEntry
	if lines.SeekPC(pc, &entry) != nil || entry.File == nil {
		return at, false
	}
	return sourceLine{clip(entry.File.Name), entry.Line, entry.Column}, true
}

// debugSection gives a relocated copy of a debug section, nil if there is none; ok is false if it is damaged or has more
// than limit bytes.
func (p *Plugin) debugSection(name string, base []uint64, limit int) (b []byte, ok bool) {
	for i := range p.shdrs {
		if got, _ := nameAt(p.shstrtab, p.shdrs[i].Name); got != name {
			continue
		}
		raw, ok := span(p.data, p.shdrs[i].Off, p.shdrs[i].Size)
		if !ok || len(raw) > limit {
			return nil, false
		}
		if elf.SectionFlag(p.shdrs[i].Flags)&elf.SHF_COMPRESSED != 0 {
			b, ok = inflate(raw, uint64(limit))
		} else {
			b = bytes.Clone(raw)
		}
		p.relocateDebug(i, b, base)
		return b, ok
	}
	return nil, true
}

// chdrSize is sizeof(Elf64_Chdr): type, reserved, size, alignment.
const chdrSize = 24

// inflate unpacks a compressed section, zlib or zstd, which only debug/elf has. debug/elf is fenced here: it gets a file of
// its own with nothing in it but this section, so there is nothing else whose size it could believe.
func inflate(raw []byte, limit uint64) ([]byte, bool) {
	if len(raw) < chdrSize || le64(raw[8:]) > limit {
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
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Ehsize: ehdrSize,
		Shoff: ehdrSize, Shentsize: shdrSize, Shnum: count, Shstrndx: 2,
	}
	sections := [count]elf.Section64{
		1: {Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_COMPRESSED), Off: start, Size: uint64(len(raw))},
		2: {Type: uint32(elf.SHT_STRTAB), Off: elf.EI_NIDENT - 1, Size: 1}, // the last byte of e_ident is zero
	}
	b, _ := binary.Append(make([]byte, 0, start+len(raw)), le, h) // structs of fixed size
	b, _ = binary.Append(b, le, sections)
	return append(b, raw...)
}

// relocateDebug applies the relocations that debug information has: plain addresses and section offsets.
func (p *Plugin) relocateDebug(section int, b []byte, base []uint64) {
	for i := range p.shdrs {
		s := &p.shdrs[i]
		if elf.SectionType(s.Type) != elf.SHT_RELA || int(s.Info) != section || s.Size%relaSize != 0 {
			continue
		}
		raw, _ := span(p.data, s.Off, s.Size)
		for r := range (Relocations{raw}).All() {
			t := LookupReloc(p.Machine, r.Type)
			if uint64(r.Symbol) >= uint64(len(p.Symbols)) || uint64(r.Offset) > uint64(len(b)) {
				continue
			}
			p.relocateDebugPlace(b[r.Offset:], t, &p.Symbols[r.Symbol], r.Addend, base)
		}
	}
}

func (p *Plugin) relocateDebugPlace(b []byte, t RelocType, s *Symbol, addend int64, base []uint64) {
	value := s.Value + uint64(addend)
	if s.Section >= 0 {
		value += base[p.Sections[s.Section].Index]
	}
	switch {
	case !strings.HasSuffix(t.Name, "64") && !strings.HasSuffix(t.Name, "32") || t.Class != RelocDirect && t.Class != RelocAbs32:
	case t.Size == 8 && len(b) >= 8:
		binary.LittleEndian.PutUint64(b, value)
	case t.Size == 4 && len(b) >= 4:
		binary.LittleEndian.PutUint32(b, uint32(value))
	}
}
