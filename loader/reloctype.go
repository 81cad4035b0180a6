package loader

import (
	"debug/elf"
	"fmt"
)

// RelocClass says what a relocation type needs before it can be applied, or why it never is.
type RelocClass uint8

// The classes of relocation types.
const (
	RelocUnknown RelocClass = iota
	RelocNone               // nothing to patch
	RelocDirect             // computed from S, A and P alone
	RelocAbs32              // as RelocDirect, but only fits addresses below 4 GiB
	RelocGOT                // needs a GOT slot for its symbol
	RelocGOTBase            // needs the address of the GOT
	RelocTLS                // thread-local storage
	RelocDynamic            // only for dynamic linkers
	RelocPAuth              // signs pointers
)

// RelocType describes one relocation type of a machine.
type RelocType struct {
	Name  string
	Class RelocClass
	Size  uint8 // bytes patched
	insn  insn  // instruction that must be there (aarch64)
}

// insn is a pattern of an instruction word: word&mask == value. A zero mask means data.
type insn struct {
	mask, value uint32
	what        string
}

// LookupReloc describes a relocation type; for one that the machine does not have, Class is RelocUnknown.
func LookupReloc(m elf.Machine, typ uint32) RelocType {
	table := relocTable(m)
	if int(typ) < len(table) && table[typ].Name != "" {
		return table[typ]
	}
	if m == elf.EM_AARCH64 {
		return lookupArm64(typ)
	}
	return RelocType{Name: fmt.Sprintf("%v relocation %d", m, typ)}
}

// relocTable gives the table indexed by type number.
func relocTable(m elf.Machine) []RelocType {
	switch m {
	case elf.EM_X86_64:
		return amd64Relocs[:]
	case elf.EM_AARCH64:
		return arm64Relocs[:]
	}
	return nil
}
