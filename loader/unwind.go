package loader

import (
	"debug/elf"

	"github.com/crpie/crpie/internal/dwarfline"
)

// Unwind gives the registers of the caller of a function that is at an offset into a section of code, from .debug_frame
// or .eh_frame; ok is false where neither knows. Registers are numbered as in the psABI for x86-64, 3.6.2: 6 is rbp, 7
// rsp, 16 the address of the instruction. word reads memory. Each call reads the whole section: it is for code that has
// failed.
func (p *Plugin) Unwind(sec *Section, off Offset, registers [17]uint64,
	word func(addr uint64) (uint64, bool)) (caller [17]uint64, ok bool) {
	row, ok := p.frameRow(sec, off)
	if !ok {
		return caller, false
	}
	return row.Caller(&registers, word)
}

func (p *Plugin) frameRow(sec *Section, off Offset) (row dwarfline.Row, ok bool) {
	for i := range p.shdrs {
		name, _ := nameAt(p.shstrtab, p.shdrs[i].Name)
		if elf.SectionType(p.shdrs[i].Type) == elf.SHT_NOBITS || name != ehFrame && name != debugFrame {
			continue
		}
		if row, ok = p.unwindBy(i, name == ehFrame, sec, off); ok {
			break
		}
	}
	return row, ok
}

// unwindBy looks for the entry in one section. An entry names its code by a relocation.
func (p *Plugin) unwindBy(section int, unwind bool, sec *Section, off Offset) (row dwarfline.Row, ok bool) {
	data, _ := p.contents(section, maxDebug)
	if !unwind { // it refers to itself by relocations
		p.relocateDebug(section, data, make([]uint64, len(p.shdrs)))
	}
	starts := p.codeOf(section, sec)
	frames := dwarfline.Frames{Data: data, Unwind: unwind, StackPointer: stackPointerAMD64}
	frames.Entries(func(e *dwarfline.Entry) bool {
		start, known := starts[Offset(e.At)]
		if known && off >= start && uint64(off-start) < e.Length {
			row, ok = e.Row(uint64(off - start))
			return false
		}
		return true
	})
	return row, ok
}

// codeOf lists where relocations of a debug section lead in a section of code.
func (p *Plugin) codeOf(section int, sec *Section) map[Offset]Offset {
	starts := map[Offset]Offset{}
	table := p.relocOf[section]
	if table == 0 || p.shdrs[table].Size%relaSize != 0 {
		return starts
	}
	raw, _ := span(p.data, p.shdrs[table].Off, p.shdrs[table].Size)
	for r := range (Relocations{raw}).All() {
		if uint64(r.Symbol) >= uint64(len(p.Symbols)) {
			continue
		}
		if s := &p.Symbols[r.Symbol]; s.Section >= 0 && p.Sections[s.Section].Index == sec.Index {
			starts[r.Offset] = Offset(s.Value + uint64(r.Addend))
		}
	}
	return starts
}
