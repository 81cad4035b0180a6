package relocator

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"math"

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
// reported together, as a *Misfit. On any error the destination is all zeros: nothing half-patched is left.
func Apply(p *loader.Plugin, t Target) error {
	formula, err := t.check(p)
	if err != nil {
		return err
	}
	j := &job{plugin: p, target: t, symbols: symbolValues(p, t), low: math.MinInt64, high: math.MaxInt64}
	for slot, sym := range p.GOT {
		binary.LittleEndian.PutUint64(t.GOTBytes[slot*SlotSize:], uint64(j.symbols[sym]))
	}
	for i := range p.Sections {
		copy(t.Bytes[i], p.Sections[i].Data)
		formula(j, &p.Sections[i], t.Sections[i], t.Bytes[i])
	}
	if len(j.violations) == 0 {
		return nil
	}
	t.clear()
	return &Misfit{&loader.Error{File: p.File, Violations: j.violations, Omitted: j.omitted}, j.low, j.high}
}

// Misfit is the error for values that do not fit into their fields.
type Misfit struct {
	Values *loader.Error // a violation for each: PIE311, PIE307

	// To move everything by a distance in [Low, High) bytes would make these values fit, though perhaps others not.
	// The interval is empty if no distance does, for example if both ends of a distance move.
	Low, High int64
}

func (m *Misfit) Error() string { return m.Values.Error() }

// Unwrap gives the *loader.Error.
func (m *Misfit) Unwrap() error { return m.Values }

// check finds mistakes of the caller.
func (t Target) check(p *loader.Plugin) (func(*job, *loader.Section, Addr, []byte), error) {
	if len(t.Sections) != len(p.Sections) || len(t.Bytes) != len(p.Sections) ||
		len(t.GOTBytes) != len(p.GOT)*SlotSize {
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
	low, high  int64 // as in Misfit
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
	j.narrow(r, bad)
	if len(j.violations) >= maxViolations {
		j.omitted++
		return
	}
	sym := &j.plugin.Symbols[r.Symbol]
	v := loader.Violation{Code: loader.CodeRange, Symbol: sym.Name, Count: 1,
		Fix: loader.Rule(loader.CodeRange).Fix}
	v.Places = []loader.Place{j.plugin.PlaceOf(sec, r.Offset)}
	name := loader.LookupReloc(j.plugin.Machine, r.Type).Name
	what := fmt.Sprintf("relocation %s against `%s`: S = 0x%x, A = %d, P = 0x%x give ",
		name, j.plugin.SymbolLabel(r.Symbol), uint64(j.symbols[r.Symbol]), r.Addend,
		uint64(base)+uint64(r.Offset))
	if bad.align > 0 {
		v.Code, v.Fix = loader.CodeUnaligned, loader.Rule(loader.CodeUnaligned).Fix
		v.Message = what + fmt.Sprintf("0x%x, which is not a multiple of %d", uint64(bad.value), bad.align)
	} else {
		v.Message = what + fmt.Sprintf("%d, which is not in [%d, %d), %s", bad.value, bad.low, bad.high,
			bad.distance())
	}
	j.violations = append(j.violations, v)
}

// distance says how far a value is from the nearest one allowed.
func (b problem) distance() string {
	if b.value < b.low {
		return fmt.Sprintf("%d too little", uint64(b.low)-uint64(b.value))
	}
	return fmt.Sprintf("%d too much", uint64(b.value)-uint64(b.high)+1)
}

// narrow keeps of [low, high) the distances by which everything could be moved so that this value fits too.
func (j *job) narrow(r loader.Relocation, bad problem) {
	low, high := int64(0), int64(0)
	const far = 1 << 62 // beyond any address; the differences below cannot overflow
	if near := bad.value > -far && bad.value < far; near && bad.align == 0 {
		switch j.moves(r) {
		case 1:
			low, high = bad.low-bad.value, bad.high-bad.value
		case -1:
			low, high = bad.value-bad.high+1, bad.value-bad.low+1
		}
	}
	j.low, j.high = max(j.low, low), min(j.high, high)
}

// moves says what a relocation's value gains when everything moves up by 1: S and the GOT do move, unless S is an
// absolute symbol; P does; Z does not.
func (j *job) moves(r loader.Relocation) (by int) {
	class := loader.LookupReloc(j.plugin.Machine, r.Type).Class
	absolute := class == loader.RelocAbs32
	switch j.plugin.Machine {
	case elf.EM_X86_64:
		if elf.R_X86_64(r.Type) == elf.R_X86_64_SIZE32 {
			return 0
		}
	case elf.EM_AARCH64:
		m, ok := wideOf(elf.R_AARCH64(r.Type))
		absolute = absolute || ok && m.from == fromAbs
	}
	if class == loader.RelocGOT {
		return 0 // the distance of the slot from the place or from the start of its table
	}
	if s := j.plugin.Symbols[r.Symbol].Section; s >= 0 || s == loader.GOTBase {
		by++
	}
	if !absolute {
		by-- // relative to the place, or to the GOT
	}
	return by
}
