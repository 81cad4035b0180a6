package loader

import (
	"bytes"
	"debug/elf"
	"fmt"
	"strings"

	"github.com/crpie/crpie/internal/abi"
)

// Import is a symbol of the process that a plugin declares: its address is put into the slot before the first hook.
type Import struct {
	Symbol   string // as in the symbol table of the library, without a version
	Version  string // of the symbol; empty: any
	Library  string // SONAME, name of the file, or path; empty: the program
	Required bool
	Section  int    // of the slot: index into Plugin.Sections
	Offset   Offset // of the slot into that section
}

// String names the symbol, demangled, and its library.
func (i *Import) String() string {
	name := Demangle(i.Symbol)
	if i.Version != "" {
		name += "@" + i.Version
	}
	if i.Library == "" {
		return name + " of the program"
	}
	return name + " of " + i.Library
}

// slotSize is the size of a slot, a pointer, in bytes.
const slotSize = 8

// readImports reads the records of one section crpie_imports.
func (p *parser) readImports(section int, pointers map[Offset]Relocation) {
	p.records(section, abi.ImportRecordSize, func(at Offset, rec []byte) {
		in, why := readImport(rec)
		if why == "" {
			why = p.readSlot(&in, at+abi.ImportRecordSlotOff, pointers)
		}
		if why != "" {
			p.reportf(CodeImport, []Place{{Section: p.sectionName(section), Offset: at}}, "%s", why)
			return
		}
		p.plugin.Imports = append(p.plugin.Imports, in)
	})
}

// readImport reads what is in a record itself; why says what is wrong with it.
func readImport(rec []byte) (in Import, why string) {
	symbol, ok := text(rec[abi.ImportRecordSymbolOff:abi.ImportRecordLibraryOff])
	library, ok2 := text(rec[abi.ImportRecordLibraryOff:abi.ImportRecordSize])
	in = Import{Library: library, Required: le32(rec[abi.ImportRecordFlagsOff:])&abi.ParamRequired != 0}
	versioned := false
	in.Symbol, in.Version, versioned = strings.Cut(symbol, "@")
	in.Version = strings.TrimPrefix(in.Version, "@") // of a default version, as nm writes it
	switch flags := le32(rec[abi.ImportRecordFlagsOff:]); {
	case !ok || !ok2:
		return in, fmt.Sprintf("import %q: its texts are not ended, or have characters that cannot be printed", symbol)
	case in.Symbol == "" || versioned && in.Version == "":
		return in, fmt.Sprintf("import %q: that is not SYMBOL or SYMBOL@VERSION", symbol)
	case flags&^abi.ParamRequired != 0:
		return in, fmt.Sprintf("import %q has flags 0x%x; known are CRPIE_OPTIONAL and CRPIE_REQUIRED", symbol, flags)
	}
	return in, ""
}

// readSlot finds the slot, to which the record points by a relocation. Nobody else may fill it.
func (p *parser) readSlot(in *Import, at Offset, pointers map[Offset]Relocation) (why string) {
	r, ok := pointers[at]
	if t := LookupReloc(p.plugin.Machine, r.Type); !ok || t.Class != RelocDirect || t.Size != slotSize ||
		uint64(r.Symbol) >= uint64(len(p.plugin.Symbols)) || p.state[r.Symbol] != symDefined {
		return fmt.Sprintf("import %s has no slot in this object", in)
	}
	sym := &p.plugin.Symbols[r.Symbol]
	if sym.Section < 0 {
		return fmt.Sprintf("the slot of import %s is not part of the image", in)
	}
	sec, off := &p.plugin.Sections[sym.Section], sym.Value+uint64(r.Addend)
	in.Section, in.Offset = int(sym.Section), Offset(off)
	switch {
	case sec.Segment() != Data || sec.Type == elf.SHT_NOBITS:
		return fmt.Sprintf("the slot of import %s is in section %s, which is not writable or has no contents: use CRPIE_IMPORT",
			in, clip(sec.Name))
	case off%slotSize != 0 || off > sec.Size || sec.Size-off < slotSize:
		return fmt.Sprintf("the slot of import %s at %s+0x%x is not %d aligned bytes", in, clip(sec.Name), off, slotSize)
	case !bytes.Equal(sec.Data[off:][:slotSize], make([]byte, slotSize)):
		return fmt.Sprintf("the slot of import %s is initialised", in)
	case p.slotTaken(in):
		return fmt.Sprintf("the slot of import %s is that of another one, too", in)
	}
	return ""
}

// slotTaken keeps the slot, and reports whether another import has it.
func (p *parser) slotTaken(in *Import) bool {
	if p.slots == nil {
		p.slots = map[slot]bool{}
	}
	at := slot{in.Section, in.Offset}
	taken := p.slots[at]
	p.slots[at] = true
	return taken
}

// slot is an aligned word of a section.
type slot struct {
	section int
	offset  Offset
}

// checkSlots refuses slots that relocations fill. No relocation of data is wider than a word.
func (p *parser) checkSlots() {
	for i := range p.plugin.Sections {
		s := &p.plugin.Sections[i]
		if len(p.slots) == 0 || s.Segment() != Data {
			continue
		}
		for r := range s.Relocs.All() {
			if p.slots[slot{i, r.Offset &^ (slotSize - 1)}] {
				p.reportf(CodeImport, []Place{{Section: s.Name, Offset: r.Offset}}, "the slot of an import is initialised")
			}
		}
	}
}
