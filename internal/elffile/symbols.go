package elffile

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"iter"
)

// SymbolTable is a symbol table of a file. Names are looked at where they lie: debug/elf copies each, and a file can
// let all of them be nearly as long as the table of names.
type SymbolTable struct{ entries, names []byte }

// maxName bounds a name that is looked at, bytes.
const maxName = 4096

// Symbol is an entry of a symbol table, System V ABI, "Symbol Table".
type Symbol struct {
	table       *SymbolTable
	nameAt      uint32
	Kind        elf.SymType
	section     elf.SectionIndex
	Value, Size uint64
}

// Name copies the name; one that is too long is cut.
func (s *Symbol) Name() string { return string(s.NameBytes()) }

// NameBytes gives the name where it lies.
func (s *Symbol) NameBytes() []byte {
	if uint64(s.nameAt) >= uint64(len(s.table.names)) {
		return nil
	}
	name := s.table.names[s.nameAt:]
	name, _, _ = bytes.Cut(name[:min(len(name), maxName)], []byte{0})
	return name
}

// Underscores are fewest in the name that people use: environ, not __environ.
func (s *Symbol) Underscores() int {
	name := s.NameBytes()
	name = name[:min(len(name), 8)]
	return len(name) - len(bytes.TrimLeft(name, "_"))
}

// SymbolsOf reads the table of a type; nil: the file has none, or it cannot be read.
func SymbolsOf(file *elf.File, kind elf.SectionType) *SymbolTable {
	section := file.SectionByType(kind)
	if section == nil || section.Link == 0 || uint64(section.Link) >= uint64(len(file.Sections)) {
		return nil
	}
	entries, err := section.Data()
	if err != nil {
		return nil
	}
	names, err := file.Sections[section.Link].Data()
	if err != nil {
		return nil
	}
	return &SymbolTable{entries, names}
}

// All visits the symbols that are defined.
func (t *SymbolTable) All() iter.Seq[Symbol] {
	return func(yield func(Symbol) bool) {
		if t == nil {
			return
		}
		for b := t.entries; len(b) >= elf.Sym64Size; b = b[elf.Sym64Size:] {
			s := Symbol{table: t, nameAt: binary.LittleEndian.Uint32(b), Kind: elf.ST_TYPE(b[4]),
				section: elf.SectionIndex(binary.LittleEndian.Uint16(b[6:])),
				Value:   binary.LittleEndian.Uint64(b[8:]), Size: binary.LittleEndian.Uint64(b[16:])}
			if s.section != elf.SHN_UNDEF && !yield(s) {
				return
			}
		}
	}
}
