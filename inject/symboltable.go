package inject

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"iter"
)

// symbolTable is a symbol table of a file. Names are looked at where they lie: debug/elf copies each, and a file can
// let all of them be nearly as long as the table of names.
type symbolTable struct{ entries, names []byte }

// maxName bounds a name that is looked at, bytes.
const maxName = 4096

// symbol is an entry of a symbol table, System V ABI, "Symbol Table".
type symbol struct {
	table       *symbolTable
	nameAt      uint32
	kind        elf.SymType
	section     elf.SectionIndex
	value, size uint64
}

// name copies the name; one that is too long is cut.
func (s *symbol) name() string { return string(s.nameBytes()) }

func (s *symbol) nameBytes() []byte {
	if uint64(s.nameAt) >= uint64(len(s.table.names)) {
		return nil
	}
	name := s.table.names[s.nameAt:]
	name, _, _ = bytes.Cut(name[:min(len(name), maxName)], []byte{0})
	return name
}

// underscores are fewest in the name that people use: environ, not __environ.
func (s *symbol) underscores() int {
	name := s.nameBytes()
	name = name[:min(len(name), 8)]
	return len(name) - len(bytes.TrimLeft(name, "_"))
}

// symbolTableOf reads the table of a type; nil: the file has none, or it cannot be read.
func symbolTableOf(file *elf.File, kind elf.SectionType) *symbolTable {
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
	return &symbolTable{entries, names}
}

// all visits the symbols that are defined.
func (t *symbolTable) all() iter.Seq[symbol] {
	return func(yield func(symbol) bool) {
		if t == nil {
			return
		}
		for b := t.entries; len(b) >= elf.Sym64Size; b = b[elf.Sym64Size:] {
			s := symbol{table: t, nameAt: binary.LittleEndian.Uint32(b), kind: elf.ST_TYPE(b[4]),
				section: elf.SectionIndex(binary.LittleEndian.Uint16(b[6:])),
				value:   binary.LittleEndian.Uint64(b[8:]), size: binary.LittleEndian.Uint64(b[16:])}
			if s.section != elf.SHN_UNDEF && !yield(s) {
				return
			}
		}
	}
}
