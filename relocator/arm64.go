package relocator

import (
	"debug/elf"
	"encoding/binary"
	"math"

	"github.com/crpie/crpie/loader"
)

// Relocation types of AAELF64 that debug/elf does not name, or names otherwise.
const (
	r_AARCH64_MOVW_PREL_G0      = elf.R_AARCH64(287)
	r_AARCH64_MOVW_PREL_G0_NC   = elf.R_AARCH64(288)
	r_AARCH64_MOVW_PREL_G1      = elf.R_AARCH64(289)
	r_AARCH64_MOVW_PREL_G1_NC   = elf.R_AARCH64(290)
	r_AARCH64_MOVW_PREL_G2      = elf.R_AARCH64(291)
	r_AARCH64_MOVW_PREL_G2_NC   = elf.R_AARCH64(292)
	r_AARCH64_MOVW_PREL_G3      = elf.R_AARCH64(293)
	r_AARCH64_MOVW_GOTOFF_G0    = elf.R_AARCH64(300)
	r_AARCH64_MOVW_GOTOFF_G0_NC = elf.R_AARCH64(301)
	r_AARCH64_MOVW_GOTOFF_G1    = elf.R_AARCH64(302)
	r_AARCH64_MOVW_GOTOFF_G1_NC = elf.R_AARCH64(303)
	r_AARCH64_MOVW_GOTOFF_G2    = elf.R_AARCH64(304)
	r_AARCH64_MOVW_GOTOFF_G2_NC = elf.R_AARCH64(305)
	r_AARCH64_MOVW_GOTOFF_G3    = elf.R_AARCH64(306)
	r_AARCH64_GOTREL64          = elf.R_AARCH64(307)
	r_AARCH64_GOTREL32          = elf.R_AARCH64(308)
	r_AARCH64_GOT_LD_PREL19     = elf.R_AARCH64(309)
	r_AARCH64_LD64_GOTOFF_LO15  = elf.R_AARCH64(310)
	r_AARCH64_LD64_GOTPAGE_LO15 = elf.R_AARCH64(313)
	r_AARCH64_PLT32             = elf.R_AARCH64(314)
	r_AARCH64_GOTPCREL32        = elf.R_AARCH64(315)
	pageMask                    = ^uint64(0xfff)
)

// patchARM64 applies the relocations of one section by AAELF64, "Relocation". In its letters: S is the value of the
// symbol, A the addend, P the place, GOT the address of the table, GS the address of the symbol's slot (G(GDAT(S+A)),
// where A is 0). Page(x) is x without its low 12 bits. Ranges are half-open, from the tables.
//
// No veneer is ever needed: an image is far smaller than the 128 MiB that B and BL reach.
func patchARM64(j *job, sec *loader.Section, base Addr, b []byte) {
	GOT := uint64(j.target.GOT)
	for i := range sec.Relocs.Len() {
		r := sec.Relocs.At(i)
		f := insnField{field{b: b[r.Offset:]}}
		S, A, P := uint64(j.symbols[r.Symbol]), uint64(r.Addend), uint64(base)+uint64(r.Offset)
		switch typ := elf.R_AARCH64(r.Type); typ {
		case elf.R_AARCH64_ABS64:
			f.word64(S + A)
		case elf.R_AARCH64_ABS32:
			f.word32(S + A)
		case elf.R_AARCH64_ABS16:
			f.word16(S + A)
		case elf.R_AARCH64_PREL64:
			f.word64(S + A - P)
		case elf.R_AARCH64_PREL32, r_AARCH64_PLT32:
			f.int32(S + A - P)
		case elf.R_AARCH64_PREL16:
			f.int16(S + A - P)
		case elf.R_AARCH64_ADR_PREL_LO21:
			f.adr(S+A-P, 1<<20)
		case elf.R_AARCH64_ADR_PREL_PG_HI21:
			f.adrp(page(S+A)-page(P), true)
		case elf.R_AARCH64_ADR_PREL_PG_HI21_NC:
			f.adrp(page(S+A)-page(P), false)
		case elf.R_AARCH64_ADD_ABS_LO12_NC, elf.R_AARCH64_LDST8_ABS_LO12_NC:
			f.lo12(S+A, 0)
		case elf.R_AARCH64_LDST16_ABS_LO12_NC:
			f.lo12(S+A, 1)
		case elf.R_AARCH64_LDST32_ABS_LO12_NC:
			f.lo12(S+A, 2)
		case elf.R_AARCH64_LDST64_ABS_LO12_NC:
			f.lo12(S+A, 3)
		case elf.R_AARCH64_LDST128_ABS_LO12_NC:
			f.lo12(S+A, 4)
		case elf.R_AARCH64_JUMP26, elf.R_AARCH64_CALL26:
			f.branch(S+A-P, 26, 0)
		case elf.R_AARCH64_CONDBR19, elf.R_AARCH64_LD_PREL_LO19:
			f.branch(S+A-P, 19, 5)
		case elf.R_AARCH64_TSTBR14:
			f.branch(S+A-P, 14, 5)
		case elf.R_AARCH64_ADR_GOT_PAGE:
			f.adrp(page(uint64(j.slot(r.Symbol)))-page(P), true)
		case elf.R_AARCH64_LD64_GOT_LO12_NC:
			f.lo12(uint64(j.slot(r.Symbol)), 3)
		case r_AARCH64_LD64_GOTPAGE_LO15:
			f.lo15(uint64(j.slot(r.Symbol)) - page(GOT))
		case r_AARCH64_LD64_GOTOFF_LO15:
			f.lo15(uint64(j.slot(r.Symbol)) - GOT)
		case r_AARCH64_GOT_LD_PREL19:
			f.branch(uint64(j.slot(r.Symbol))-P, 19, 5)
		case r_AARCH64_GOTPCREL32:
			f.int32(uint64(j.slot(r.Symbol)) + A - P)
		case r_AARCH64_GOTREL64:
			f.word64(S + A - GOT)
		case r_AARCH64_GOTREL32:
			f.int32(S + A - GOT)
		default:
			if m, ok := wideOf(typ); ok {
				f.move(m, movwValue(m, S+A, P, uint64(j.slot(r.Symbol))-GOT))
			}
		}
		if f.bad {
			j.refuse(sec, r, base, f.problem)
		}
	}
}

func page(x uint64) uint64 { return x & pageMask }

// insnField is a place that holds an A64 instruction; the immediate is cleared before it is set.
type insnField struct{ field }

func (f *insnField) set(mask, bits uint32) {
	binary.LittleEndian.PutUint32(f.b, binary.LittleEndian.Uint32(f.b)&^mask|bits&mask)
}

// word32 takes signed and unsigned values, AAELF64: -2^31 <= X < 2^32.
func (f *insnField) word32(x uint64) {
	if f.within(x, math.MinInt32, 1<<32) {
		binary.LittleEndian.PutUint32(f.b, uint32(x))
	}
}

// multiple checks the alignment of a value.
func (f *insnField) multiple(x, of uint64) bool {
	if x%of != 0 {
		f.bad, f.problem = true, problem{value: int64(x), align: of}
	}
	return x%of == 0
}

// adr sets immhi:immlo, bits 23:5 and 30:29.
func (f *insnField) adr(x uint64, reach int64) {
	if f.within(x, -reach, reach) {
		f.set(0x60ffffe0, uint32(x)&3<<29|uint32(x>>2)&0x7ffff<<5)
	}
}

// adrp sets the page distance, which must be within 4 GiB unless the relocation is unchecked (_NC).
func (f *insnField) adrp(x uint64, check bool) {
	if !check || f.within(x, -1<<32, 1<<32) {
		f.set(0x60ffffe0, uint32(x>>12)&3<<29|uint32(x>>14)&0x7ffff<<5)
	}
}

// lo12 sets imm12, bits 21:10, to the low 12 bits of x in units of the access.
func (f *insnField) lo12(x uint64, shift uint) {
	if f.multiple(x&0xfff, 1<<shift) {
		f.set(0x3ffc00, uint32(x&0xfff)>>shift<<10)
	}
}

// lo15 is the scaled 64-bit form with 15 significant bits, for tables of up to 32 KiB.
func (f *insnField) lo15(x uint64) {
	if f.within(x, 0, 1<<15) && f.multiple(x, 8) {
		f.set(0x3ffc00, uint32(x>>3)<<10)
	}
}

// branch sets a word-scaled signed immediate of width bits at bit low.
func (f *insnField) branch(x uint64, width, low uint) {
	if reach := int64(1) << (width + 1); f.within(x, -reach, reach) && f.multiple(x, 4) {
		f.set((1<<width-1)<<low, uint32(x>>2)<<low)
	}
}

// wide describes one MOVW relocation: which 16 bits of the value go into MOVZ, MOVK or MOVN.
type wide struct {
	from   wideFrom
	group  uint // 16 bits from bit 16*group
	signed bool // choose MOVN or MOVZ by the sign
	check  bool // the value must fit the groups up to this one
}

type wideFrom uint8

const (
	fromAbs    wideFrom = iota + 1 // S + A
	fromPlace                      // S + A - P
	fromOffset                     // G(S) - GOT
)

// movw has the MOVW relocations by number; the others are zero.
var movw = [...]wide{
	elf.R_AARCH64_MOVW_UABS_G0:    {fromAbs, 0, false, true},
	elf.R_AARCH64_MOVW_UABS_G0_NC: {fromAbs, 0, false, false},
	elf.R_AARCH64_MOVW_UABS_G1:    {fromAbs, 1, false, true},
	elf.R_AARCH64_MOVW_UABS_G1_NC: {fromAbs, 1, false, false},
	elf.R_AARCH64_MOVW_UABS_G2:    {fromAbs, 2, false, true},
	elf.R_AARCH64_MOVW_UABS_G2_NC: {fromAbs, 2, false, false},
	elf.R_AARCH64_MOVW_UABS_G3:    {fromAbs, 3, false, false},
	elf.R_AARCH64_MOVW_SABS_G0:    {fromAbs, 0, true, true},
	elf.R_AARCH64_MOVW_SABS_G1:    {fromAbs, 1, true, true},
	elf.R_AARCH64_MOVW_SABS_G2:    {fromAbs, 2, true, true},
	r_AARCH64_MOVW_PREL_G0:        {fromPlace, 0, true, true},
	r_AARCH64_MOVW_PREL_G0_NC:     {fromPlace, 0, false, false},
	r_AARCH64_MOVW_PREL_G1:        {fromPlace, 1, true, true},
	r_AARCH64_MOVW_PREL_G1_NC:     {fromPlace, 1, false, false},
	r_AARCH64_MOVW_PREL_G2:        {fromPlace, 2, true, true},
	r_AARCH64_MOVW_PREL_G2_NC:     {fromPlace, 2, false, false},
	r_AARCH64_MOVW_PREL_G3:        {fromPlace, 3, true, false},
	r_AARCH64_MOVW_GOTOFF_G0:      {fromOffset, 0, true, true},
	r_AARCH64_MOVW_GOTOFF_G0_NC:   {fromOffset, 0, false, false},
	r_AARCH64_MOVW_GOTOFF_G1:      {fromOffset, 1, true, true},
	r_AARCH64_MOVW_GOTOFF_G1_NC:   {fromOffset, 1, false, false},
	r_AARCH64_MOVW_GOTOFF_G2:      {fromOffset, 2, true, true},
	r_AARCH64_MOVW_GOTOFF_G2_NC:   {fromOffset, 2, false, false},
	r_AARCH64_MOVW_GOTOFF_G3:      {fromOffset, 3, true, false},
}

func wideOf(t elf.R_AARCH64) (m wide, ok bool) {
	if int(t) < len(movw) {
		m = movw[t]
	}
	return m, m.from != 0
}

func movwValue(m wide, SA, P, GSoff uint64) uint64 {
	return [...]uint64{fromAbs: SA, fromPlace: SA - P, fromOffset: GSoff}[m.from]
}

// move sets imm16, bits 20:5. A signed group also chooses between MOVN and MOVZ, bit 30; a MOVK is left alone.
func (f *insnField) move(m wide, x uint64) {
	bits := 16 * (m.group + 1)
	switch {
	case m.check && m.signed && !f.within(x, -1<<bits, 1<<bits):
		return
	case m.check && !m.signed && !f.within(x, 0, 1<<bits):
		return
	}
	const opcMask, movz, movk = 3 << 29, 2 << 29, 3 << 29
	if opc := binary.LittleEndian.Uint32(f.b) & opcMask; m.signed && opc != movk {
		if int64(x) < 0 {
			x = ^x
			f.set(opcMask, 0)
		} else {
			f.set(opcMask, movz)
		}
	}
	f.set(0x1fffe0, uint32(x>>(16*m.group))&0xffff<<5)
}
