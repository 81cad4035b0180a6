package relocator

import (
	"debug/elf"
	"encoding/binary"
	"fmt"

	"github.com/crpie/crpie/loader"
)

// Addr is an address in the process that will run the code.
type Addr uint64

// Target says where the parts of a plugin go.
type Target struct {
	Sections []Addr   // address of each of Plugin.Sections
	Bytes    [][]byte // where the bytes of each section are wanted; empty for SHT_NOBITS
	GOT      Addr     // address of slot 0; also the value of _GLOBAL_OFFSET_TABLE_
	GOTBytes []byte   // len(Plugin.GOT) slots of SlotSize bytes
}

// SlotSize is the size of a GOT slot, both psABIs.
const SlotSize = 8

// Apply copies every section of p to its place and patches it for its address. All values that do not fit are
// reported together, as a *loader.Error. On any error the destination is all zeros: nothing half-patched is left.
func Apply(p *loader.Plugin, t Target) error {
	formula, err := t.check(p)
	if err != nil {
		return err
	}
	j := &job{plugin: p, target: t, symbols: symbolValues(p, t)}
	for slot, sym := range p.GOT {
		binary.LittleEndian.PutUint64(t.GOTBytes[slot*SlotSize:], uint64(j.symbols[sym]))
	}
	for i := range p.Sections {
		copy(t.Bytes[i], p.Sections[i].Data)
		formula(j, &p.Sections[i], t.Sections[i], t.Bytes[i])
	}
	if len(j.violations) == 0 && j.omitted == 0 {
		return nil
	}
	t.clear()
	return &loader.Error{File: p.File, Violations: j.violations, Omitted: j.omitted}
}

// check finds mistakes of the caller.
func (t Target) check(p *loader.Plugin) (func(*job, *loader.Section, Addr, []byte), error) {
	if len(t.Sections) != len(p.Sections) || len(t.Bytes) != len(p.Sections) || len(t.GOTBytes) != len(p.GOT)*SlotSize {
		return nil, fmt.Errorf("relocate %s: target has %d sections, %d buffers and %d bytes of GOT for %d sections and %d slots",
			p.File, len(t.Sections), len(t.Bytes), len(t.GOTBytes), len(p.Sections), len(p.GOT))
	}
	for i := range p.Sections {
		if s := &p.Sections[i]; len(t.Bytes[i]) != len(s.Data) || uint64(t.Sections[i])%s.Align != 0 {
			return nil, fmt.Errorf("relocate %s: section %s: %d bytes at 0x%x for %d bytes aligned to %d",
				p.File, s.Name, len(t.Bytes[i]), t.Sections[i], len(s.Data), s.Align)
		}
	}
	switch p.Machine {
	case elf.EM_X86_64:
		return patchAMD64, nil
	case elf.EM_AARCH64:
		return patchARM64, nil
	}
	return nil, fmt.Errorf("relocate %s: no formulas for %v", p.File, p.Machine)
}

func (t Target) clear() {
	clear(t.GOTBytes)
	for _, b := range t.Bytes {
		clear(b)
	}
}

// symbolValues computes S of the psABIs for every symbol.
func symbolValues(p *loader.Plugin, t Target) []Addr {
	values := make([]Addr, len(p.Symbols))
	for i := range p.Symbols {
		s := &p.Symbols[i]
		switch {
		case s.Section >= 0:
			values[i] = t.Sections[s.Section] + Addr(s.Value)
		case s.Section == loader.Absolute:
			values[i] = Addr(s.Value)
		case s.Section == loader.GOTBase:
			values[i] = t.GOT
		}
	}
	return values
}

// job is one run of Apply.
type job struct {
	plugin     *loader.Plugin
	target     Target
	symbols    []Addr
	violations []loader.Violation
	omitted    int
}

// slot is G + GOT of x86-64, G(S) of aarch64: the address of the symbol's GOT slot.
func (j *job) slot(symbol uint32) Addr {
	n, _ := j.plugin.GOTSlot(symbol) // the loader has given every GOT relocation a slot
	return j.target.GOT + Addr(n*SlotSize)
}

// maxViolations bounds how many values out of range are described.
const maxViolations = 100

// problem is a value that does not fit: outside [low, high), or no multiple of align.
type problem struct {
	value     int64
	low, high int64
	align     uint64
}

// refuse describes a value that does not fit its field.
func (j *job) refuse(sec *loader.Section, r loader.Relocation, base Addr, bad problem) {
	if len(j.violations) >= maxViolations {
		j.omitted++
		return
	}
	sym := &j.plugin.Symbols[r.Symbol]
	v := loader.Violation{Code: loader.CodeRange, Symbol: sym.Name, Count: 1, Fix: loader.Rule(loader.CodeRange).Fix}
	v.Places = []loader.Place{j.plugin.PlaceOf(sec, r.Offset)}
	name := loader.LookupReloc(j.plugin.Machine, r.Type).Name
	what := fmt.Sprintf("relocation %s against `%s`: S = 0x%x, A = %d, P = 0x%x give ",
		name, j.plugin.SymbolLabel(r.Symbol), uint64(j.symbols[r.Symbol]), r.Addend, uint64(base)+uint64(r.Offset))
	if bad.align > 0 {
		v.Code, v.Fix = loader.CodeUnaligned, loader.Rule(loader.CodeUnaligned).Fix
		v.Message = what + fmt.Sprintf("0x%x, which is no multiple of %d", uint64(bad.value), bad.align)
	} else {
		v.Message = what + fmt.Sprintf("%d, which is not in [%d, %d)", bad.value, bad.low, bad.high)
	}
	j.violations = append(j.violations, v)
}
