package loader

import (
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/crpie/crpie/stage"
)

// Plugin is a validated object: everything that can be said about it before it has an address.
//
// It refers to the bytes it was parsed from. Neither they nor its exported fields may be changed; as long as nobody
// does, a Plugin can be used by any number of goroutines.
type Plugin struct {
	Name    string // from its record in section crpie_plugin, else the file name without directory and .o
	File    string // as given to Load
	Machine elf.Machine
	// those that are laid out, in file order, but same C identifiers side by side (see __start_X)
	Sections []Section
	Symbols  []Symbol // index is the ELF symbol index
	Hooks    []Hook   // in the order of the object
	Params   []Param  // in the order of the object
	Init     Func     // the zero Func when the plugin has none
	Exit     Func
	GOT      []uint32 // indexes of the symbols that need a GOT slot; the slot is the index into GOT
	Notes    []Violation
	Syscalls Syscalls
	// DeclaredPlaces counts the places in the code whose system calls are declared.
	DeclaredPlaces int
	Imports        []Import // in the order of the object

	DeclaresParams bool // Params are all that there are; otherwise the plugin takes any

	gotSlots   []int32 // per symbol: 1 + slot, 0 for none; nil when GOT is empty
	byELFIndex []int32 // ELF section index -> index into Sections, or -1
	shdrs      []elf.Section64
	relocOf    []int32 // ELF section index -> index of its relocation table, 0 for none
	shstrtab   string
	data       []byte
	lazy       *lazy
}

// SHA256 is the digest of the object as it was read, in hexadecimal digits.
func (p *Plugin) SHA256() string { return fmt.Sprintf("%x", sha256.Sum256(p.data)) }

// lazy holds what only messages need; it is made when the first one does.
type lazy struct {
	functionsOnce sync.Once
	functions     *functionIndex
	linesOnce     sync.Once
	lines         *lineTable
}

// Offset is a distance in bytes from the start of a section.
type Offset uint64

// Section is one section of the object that becomes part of the image.
type Section struct {
	Index  int // in the object's section header table
	Name   string
	Type   elf.SectionType
	Flags  elf.SectionFlag
	Align  uint64 // in bytes, a power of two from 1 to 4096
	Size   uint64 // in bytes
	Data   []byte // nil for SHT_NOBITS, else Size bytes
	Relocs Relocations
}

// Segment says which of the three kinds of memory the section belongs to.
func (s *Section) Segment() Segment {
	switch {
	case s.Flags&elf.SHF_EXECINSTR != 0:
		return Text
	case s.Flags&elf.SHF_WRITE == 0 || isRelro(s.Name):
		return ReadOnly
	}
	return Data
}

// Segment is a kind of memory; no kind is both writable and executable.
type Segment int

// The segments, in the order in which they follow each other in an image.
const (
	Text     Segment = iota // R|X
	ReadOnly                // R
	Data                    // R|W
	NumSegments
)

// String names the segment by its protection.
func (s Segment) String() string { return [...]string{"r-x", "r--", "rw-"}[s] }

// Where a symbol lives when it is not in one of Plugin.Sections.
const (
	Undefined = -1 // no relocation refers to it, or the object would have been refused
	Absolute  = -2 // Value is the address
	Dropped   = -3 // in a section that is not laid out
	GOTBase   = -4 // _GLOBAL_OFFSET_TABLE_
)

// Symbol is one entry of the symbol table.
type Symbol struct {
	Name    string
	Value   uint64 // offset into its section, or the address if Section is Absolute
	Size    uint64 // in bytes; 0 if it is not known
	Section int32  // index into Plugin.Sections, or one of Undefined, Absolute, Dropped, GOTBase
	Type    elf.SymType
	Bind    elf.SymBind
	Other   byte // st_other: elf.ST_VISIBILITY, and on aarch64 STO_AARCH64_VARIANT_PCS
}

// Func is a function that a record points at.
type Func struct {
	Section int    // index into Plugin.Sections
	Offset  Offset // into that section
	Symbol  string // name of the function, as in the symbol table; may be empty
	set     bool
}

// Exists reports whether there is a function at all.
func (f Func) Exists() bool { return f.set }

// Hook is one registration: run Fn at stage ID.
type Hook struct {
	ID       stage.Stage // one that is Known
	Priority int32       // lower ones run first
	Fn       Func
}

// AroundDump reports whether it has a hook around a dump.
func (p *Plugin) AroundDump() bool {
	return slices.ContainsFunc(p.Hooks, func(h Hook) bool { return h.ID.OfDump() })
}

// OnlyAroundDump reports whether all its hooks are around a dump: a restore would run none.
func (p *Plugin) OnlyAroundDump() bool {
	return len(p.Hooks) > 0 && !slices.ContainsFunc(p.Hooks, func(h Hook) bool { return !h.ID.OfDump() })
}

// GOTSlot gives the slot of a symbol.
func (p *Plugin) GOTSlot(symbol uint32) (slot int, ok bool) {
	if int(symbol) >= len(p.gotSlots) || p.gotSlots[symbol] == 0 {
		return 0, false
	}
	return int(p.gotSlots[symbol]) - 1, true
}

// SectionByIndex finds a laid-out section by its index in the object's section header table.
func (p *Plugin) SectionByIndex(elfIndex int) (index int, ok bool) {
	if elfIndex < 0 || elfIndex >= len(p.byELFIndex) || p.byELFIndex[elfIndex] < 0 {
		return 0, false
	}
	return int(p.byELFIndex[elfIndex]), true
}

// Lookup finds a defined global symbol by name.
func (p *Plugin) Lookup(name string) (Symbol, bool) {
	for _, s := range p.Symbols {
		if s.Bind != elf.STB_LOCAL && s.Name == name && s.Section != Undefined {
			return s, true
		}
	}
	return Symbol{}, false
}

// Relocations is a table of Elf64_Rela entries, decoded on access: most objects have far more of them than anything
// else, and nothing is gained by keeping them twice.
type Relocations struct{ raw []byte }

// relaSize is sizeof(Elf64_Rela), gABI "Relocation".
const relaSize = 24

// Relocation is one Elf64_Rela.
type Relocation struct {
	Offset Offset // into the section it patches
	Type   uint32 // of the machine's psABI; LookupReloc describes it
	Symbol uint32 // index into Plugin.Symbols
	Addend int64
}

// Len is the number of relocations.
func (r Relocations) Len() int { return len(r.raw) / relaSize }

// At decodes one.
func (r Relocations) At(i int) Relocation {
	b := r.raw[i*relaSize : i*relaSize+relaSize : i*relaSize+relaSize]
	info := le64(b[8:])
	return Relocation{
		Offset: Offset(le64(b)),
		Type:   uint32(info),
		Symbol: uint32(info >> 32),
		Addend: int64(le64(b[16:])),
	}
}

// All yields the relocations in table order, which is not always the order of their offsets.
func (r Relocations) All() iter.Seq[Relocation] {
	return func(yield func(Relocation) bool) {
		for i := range r.Len() {
			if !yield(r.At(i)) {
				return
			}
		}
	}
}
