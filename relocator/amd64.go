package relocator

import (
	"debug/elf"
	"encoding/binary"
	"math"

	"github.com/crpie/crpie/loader"
)

// Relocation types that debug/elf does not name: APX, x86-64 psABI 1.0, table 4.10.
const (
	r_X86_64_PC32_BND         = elf.R_X86_64(39)
	r_X86_64_PLT32_BND        = elf.R_X86_64(40)
	r_X86_64_CODE_4_GOTPCRELX = elf.R_X86_64(43)
	r_X86_64_CODE_5_GOTPCRELX = elf.R_X86_64(46)
	r_X86_64_CODE_6_GOTPCRELX = elf.R_X86_64(49)
)

// patchAMD64 applies the relocations of one section by x86-64 psABI 1.0, table 4.10. In its letters: S is the value of
// the symbol, A the addend, P the place, GOT the address of the table, GS the address of the symbol's slot (G + GOT),
// Z the size of the symbol. L, the symbol's PLT entry, is S: inside one image nothing needs a PLT.
func patchAMD64(j *job, sec *loader.Section, base Addr, b []byte) {
	GOT := uint64(j.target.GOT)
	for i := range sec.Relocs.Len() {
		r := sec.Relocs.At(i)
		f := field{b: b[r.Offset:]}
		S, A, P := uint64(j.symbols[r.Symbol]), uint64(r.Addend), uint64(base)+uint64(r.Offset)
		switch elf.R_X86_64(r.Type) {
		case elf.R_X86_64_NONE:
		case elf.R_X86_64_64:
			f.word64(S + A)
		case elf.R_X86_64_PC32, elf.R_X86_64_PLT32, r_X86_64_PC32_BND, r_X86_64_PLT32_BND:
			f.int32(S + A - P)
		case elf.R_X86_64_GOTPCREL, elf.R_X86_64_GOTPCRELX, elf.R_X86_64_REX_GOTPCRELX,
			r_X86_64_CODE_4_GOTPCRELX, r_X86_64_CODE_5_GOTPCRELX, r_X86_64_CODE_6_GOTPCRELX:
			GS := uint64(j.slot(r.Symbol))
			f.int32(GS + A - P)
		case elf.R_X86_64_32:
			f.uint32(S + A)
		case elf.R_X86_64_32S:
			f.int32(S + A)
		case elf.R_X86_64_16:
			f.word16(S + A)
		case elf.R_X86_64_PC16:
			f.int16(S + A - P)
		case elf.R_X86_64_8:
			f.word8(S + A)
		case elf.R_X86_64_PC8:
			f.int8(S + A - P)
		case elf.R_X86_64_PC64:
			f.word64(S + A - P)
		case elf.R_X86_64_GOTOFF64, elf.R_X86_64_PLTOFF64:
			f.word64(S + A - GOT)
		case elf.R_X86_64_GOTPC32:
			f.int32(GOT + A - P)
		case elf.R_X86_64_GOTPC64:
			f.word64(GOT + A - P)
		case elf.R_X86_64_GOT32:
			f.int32(uint64(j.slot(r.Symbol)) - GOT + A)
		case elf.R_X86_64_GOT64, elf.R_X86_64_GOTPLT64:
			f.word64(uint64(j.slot(r.Symbol)) - GOT + A)
		case elf.R_X86_64_GOTPCREL64:
			f.word64(uint64(j.slot(r.Symbol)) + A - P)
		case elf.R_X86_64_SIZE32:
			f.uint32(j.plugin.Symbols[r.Symbol].Size + A)
		case elf.R_X86_64_SIZE64:
			f.word64(j.plugin.Symbols[r.Symbol].Size + A)
		}
		if f.bad {
			j.refuse(sec, r, base, f.problem)
		}
	}
}

// field is the place of one relocation. Its methods write a value, or return the reason why it does not fit.
type field struct {
	b   []byte
	bad bool
	problem
}

func (f *field) word64(x uint64) { binary.LittleEndian.PutUint64(f.b, x) }

func (f *field) int32(x uint64) {
	if int64(x) != int64(int32(x)) {
		f.outside(x, math.MinInt32, 1<<31)
		return
	}
	binary.LittleEndian.PutUint32(f.b, uint32(x))
}

func (f *field) uint32(x uint64) {
	if x >= 1<<32 {
		f.outside(x, 0, 1<<32)
		return
	}
	binary.LittleEndian.PutUint32(f.b, uint32(x))
}

func (f *field) int16(x uint64) { f.narrow16(x, math.MinInt16, 1<<15) }
func (f *field) int8(x uint64)  { f.narrow8(x, math.MinInt8, 1<<7) }

// word16 and word8 take signed and unsigned values, as GNU ld does for data: the psABI only says "truncated".
func (f *field) word16(x uint64) { f.narrow16(x, math.MinInt16, 1<<16) }
func (f *field) word8(x uint64)  { f.narrow8(x, math.MinInt8, 1<<8) }

func (f *field) narrow16(x uint64, low, high int64) {
	if f.within(x, low, high) {
		binary.LittleEndian.PutUint16(f.b, uint16(x))
	}
}

func (f *field) narrow8(x uint64, low, high int64) {
	if f.within(x, low, high) {
		f.b[0] = byte(x)
	}
}

// within checks the half-open interval [low, high).
func (f *field) within(x uint64, low, high int64) bool {
	if int64(x) < low || int64(x) >= high {
		f.outside(x, low, high)
		return false
	}
	return true
}

func (f *field) outside(x uint64, low, high int64) {
	f.bad, f.problem = true, problem{value: int64(x), low: low, high: high}
}
