package relocator_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/loader"
)

// placedObject is one side of the comparison.
type placedObject struct {
	base    uint64 // _GLOBAL_OFFSET_TABLE_, from which x86-64 counts; GNU ld puts it behind the slots
	gotBase uint64 // of the bytes
	got     []byte // from gotBase
	section func(i int) []byte
}

// compareSections compares every laid-out section; GOT accesses are checked by what they reach and then masked.
func compareSections(p *loader.Plugin, img *blob.Image, theirs *elf.File) (o outcome) {
	a := placedObject{uint64(img.GOT(-1)), uint64(img.GOT(-1)), memoryOf(img, img.GOT(-1), 8*len(p.GOT)),
		func(i int) []byte {
			return memoryOf(img, img.SectionAddr(-1, i), len(p.Sections[i].Data))
		}}
	b := placedObject{section: func(i int) []byte {
		return sectionData(theirs, fmt.Sprintf(".o%d", p.Sections[i].Index))
	}}
	if got := theirs.Section(".got"); got != nil && got.Type != elf.SHT_NOBITS {
		b.gotBase = got.Addr
		b.got, _ = got.Data()
		b.base = got.Addr
	}
	syms, _ := theirs.Symbols()
	for _, s := range syms {
		if s.Name == "_GLOBAL_OFFSET_TABLE_" {
			b.base = s.Value
		}
	}
	for i := range p.Sections {
		s := &p.Sections[i]
		if len(s.Data) == 0 {
			continue
		}
		ours, other := bytes.Clone(a.section(i)), bytes.Clone(b.section(i))
		if len(ours) != len(other) {
			return outcome{err: fmt.Errorf("%s: %d bytes, linker has %d", s.Name, len(ours), len(other))}
		}
		for r := range s.Relocs.All() {
			S := symbolValue(p, img, r.Symbol)
			P := uint64(img.SectionAddr(-1, i)) + uint64(r.Offset)
			if !throughGOT(p, r) {
				continue
			}
			if err := a.reaches(p, r, ours, S, P); err != nil {
				return outcome{err: fmt.Errorf("%s+0x%x: ours: %w", s.Name, r.Offset, err)}
			}
			if err := b.reaches(p, r, other, S, P); err != nil {
				return outcome{err: fmt.Errorf("%s+0x%x: linker: %w", s.Name, r.Offset, err)}
			}
			o.got++
		}
		if at := firstDifference(ours, other); at >= 0 {
			return outcome{err: fmt.Errorf("%s+0x%x: % x, linker has % x", s.Name, at,
				ours[at:min(at+8, len(ours))], other[at:min(at+8, len(other))])}
		}
		o.bytes += len(ours)
	}
	return o
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

func memoryOf(img *blob.Image, at blob.Addr, n int) []byte {
	for _, s := range img.Segments {
		if at >= s.Addr && uint64(at-s.Addr)+uint64(n) <= uint64(len(s.Data)) {
			return s.Data[at-s.Addr:][:n]
		}
	}
	return nil
}

func sectionData(f *elf.File, name string) []byte {
	s := f.Section(name)
	if s == nil || s.Type == elf.SHT_NOBITS {
		return nil
	}
	b, _ := s.Data()
	return b
}

func symbolValue(p *loader.Plugin, img *blob.Image, i uint32) uint64 {
	s := &p.Symbols[i]
	if s.Section >= 0 {
		return uint64(img.SectionAddr(-1, int(s.Section))) + s.Value
	}
	return s.Value
}

// throughGOT reports whether a relocation depends on where the table or its slots are.
func throughGOT(p *loader.Plugin, r loader.Relocation) bool {
	c := loader.LookupReloc(p.Machine, r.Type).Class
	return c == loader.RelocGOT || c == loader.RelocGOTBase || p.Symbols[r.Symbol].Section == loader.GOTBase
}

// reaches decodes an access by way of the table, checks that it ends at a slot that holds S, and masks the field.
func (o *placedObject) reaches(p *loader.Plugin, r loader.Relocation, b []byte, S, P uint64) error {
	if p.Machine == elf.EM_AARCH64 {
		field := b[r.Offset:][:4]
		return o.reachesARM64(p, r, field, binary.LittleEndian.Uint32(field), S, P)
	}
	field := b[r.Offset:][:loader.LookupReloc(p.Machine, r.Type).Size]
	v := uint64(0)
	if len(field) == 8 {
		v = binary.LittleEndian.Uint64(field)
	} else {
		v = uint64(int64(int32(binary.LittleEndian.Uint32(field))))
	}
	clear(field)
	A := uint64(r.Addend)
	switch elf.R_X86_64(r.Type) {
	case elf.R_X86_64_GOTOFF64, elf.R_X86_64_PLTOFF64:
		return equal(v+o.base, S+A)
	case elf.R_X86_64_GOTPC32, elf.R_X86_64_GOTPC64:
		return equal(v-A+P, o.base)
	case elf.R_X86_64_GOT32, elf.R_X86_64_GOT64:
		return o.holds(v-A+o.base, S)
	}
	return o.holds(v-A+P, S)
}

func equal(got, want uint64) error {
	if got != want {
		return fmt.Errorf("reaches 0x%x, not 0x%x", got, want)
	}
	return nil
}

func (o *placedObject) reachesARM64(p *loader.Plugin, r loader.Relocation, field []byte, word uint32, S,
	P uint64) error {
	imm12 := uint64(word>>10&0xfff) * 8
	pageOf := func() uint64 {
		imm := int64(int32(word>>5&0x7ffff<<2|word>>29&3)<<11) >> 11
		return P&^0xfff + uint64(imm<<12)
	}
	mask := func(m uint32) { binary.LittleEndian.PutUint32(field, word&^m) }
	switch typ := elf.R_AARCH64(r.Type); {
	case p.Symbols[r.Symbol].Section == loader.GOTBase && typ == elf.R_AARCH64_ADR_PREL_PG_HI21:
		mask(0x60ffffe0)
		if pageOf() != o.base&^0xfff {
			return fmt.Errorf("ADRP reaches page 0x%x, the table is at 0x%x", pageOf(), o.base)
		}
	case typ == elf.R_AARCH64_ADR_GOT_PAGE:
		mask(0x60ffffe0)
		return o.anySlot(S, func(slot uint64) bool { return slot&^0xfff == pageOf() })
	case typ == elf.R_AARCH64_LD64_GOT_LO12_NC:
		mask(0x3ffc00)
		return o.anySlot(S, func(slot uint64) bool { return slot&0xfff == imm12 })
	case r.Type == 309: // GOT_LD_PREL19
		mask(0xffffe0)
		return o.holds(P+uint64(int64(int32(word<<8)>>13)*4), S)
	case r.Type == 313: // LD64_GOTPAGE_LO15
		mask(0x3ffc00)
		return o.holds(o.base&^0xfff+imm12, S)
	default:
		return fmt.Errorf("no check for %s", loader.LookupReloc(p.Machine, r.Type).Name)
	}
	return nil
}

func (o *placedObject) holds(slot, S uint64) error {
	at := slot - o.gotBase
	if at > uint64(len(o.got)) || uint64(len(o.got))-at < 8 || binary.LittleEndian.Uint64(o.got[at:]) != S {
		return fmt.Errorf("slot 0x%x of the table at 0x%x (%d bytes) does not hold 0x%x", slot, o.gotBase,
			len(o.got), S)
	}
	return nil
}

func (o *placedObject) anySlot(S uint64, fits func(slot uint64) bool) error {
	for at := 0; at+8 <= len(o.got); at += 8 {
		if binary.LittleEndian.Uint64(o.got[at:]) == S && fits(o.gotBase+uint64(at)) {
			return nil
		}
	}
	return fmt.Errorf("no slot of the table at 0x%x holds 0x%x where the access goes", o.gotBase, S)
}
