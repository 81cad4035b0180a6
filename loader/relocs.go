package loader

import (
	"cmp"
	"debug/elf"
	"fmt"
	"slices"
)

// references are the places that refer to an undefined symbol.
type references struct {
	places []rawPlace // at most maxPlaces
	count  int
}

// rawPlace becomes a Place when it is reported.
type rawPlace struct {
	section int
	off     Offset
}

// checkRelocations judges every relocation of every section that is laid out, and counts the GOT slots.
func (p *parser) checkRelocations() bool {
	p.refs = map[uint32]*references{}
	owner := make(map[int]int)
	for i := range p.shdrs {
		s := &p.shdrs[i]
		if elf.SectionType(s.Type) != elf.SHT_RELA || p.roles[i] == roleRefused {
			continue
		}
		target := int(s.Info)
		if target <= 0 || target >= len(p.shdrs) {
			p.refuse(CodeRelocSection, i, "section %s: sh_info %d is not a section",
				clip(p.sectionName(i)), s.Info)
			continue
		}
		if r := p.roles[target]; r != roleLayout && r != roleRecord {
			continue // debug information and the like, which is not relocated
		}
		if p.checkRelocSection(i, target, owner) && p.roles[target] == roleLayout {
			p.checkTable(&p.plugin.Sections[p.plugin.byELFIndex[target]])
		}
	}
	return true
}

// checkRelocSection judges the header of one table; owner has the targets seen so far.
func (p *parser) checkRelocSection(i, target int, owner map[int]int) bool {
	s, name := &p.shdrs[i], clip(p.sectionName(i))
	switch {
	case s.Entsize != relaSize || s.Size%relaSize != 0:
		p.refuse(CodeRelocSection, i, "section %s: %d bytes in entries of %d, expected %d", name, s.Size,
			s.Entsize, relaSize)
	case int(s.Link) != p.symtab:
		p.refuse(CodeRelocSection, i, "section %s: sh_link %d is not the symbol table (%d)", name, s.Link,
			p.symtab)
	case elf.SectionType(p.shdrs[target].Type) == elf.SHT_NOBITS && s.Size > 0:
		p.refuse(CodeRelocSection, i, "section %s would patch %s, which has no bytes in the file", name,
			clip(p.sectionName(target)))
	case owner[target] != 0:
		p.refuse(CodeRelocSection, i, "section %s is a second relocation table of %s", name,
			clip(p.sectionName(target)))
	default:
		owner[target] = i
		if k := p.plugin.byELFIndex[target]; k >= 0 {
			p.plugin.Sections[k].Relocs = Relocations{p.bytesOf(i)}
		}
		return true
	}
	return false
}

// checkTable judges the relocations of one section. This loop sees every relocation of an object: valid relocations
// must fall through it quickly, and everything else is looked at in judge.
func (p *parser) checkTable(sec *Section) {
	types, amd64 := relocTable(p.plugin.Machine), p.plugin.Machine == elf.EM_X86_64
	symbols := uint32(len(p.state))
	end, ordered := uint64(0), true
	for i := range sec.Relocs.Len() {
		r := sec.Relocs.At(i)
		if r.Type >= uint32(len(types)) || r.Symbol >= symbols {
			p.judge(sec, r)
			continue
		}
		t := &types[r.Type]
		size := uint64(t.Size)
		off := uint64(r.Offset)
		ordered = ordered && off >= end
		end = off + size
		if t.Class != RelocDirect || off > sec.Size || size > sec.Size-off || p.state[r.Symbol] != symDefined {
			p.judge(sec, r)
			continue
		}
		if place := sec.Data[off : off+size]; amd64 && !zero(place) ||
			t.insn.mask != 0 && !p.fitsPlace(t, off, place) {
			p.judgePlace(sec, r, t)
		}
	}
	if !ordered {
		p.checkRelocOverlap(sec)
	}
}

// zero reports whether the place of a relocation has only zeros.
func zero(b []byte) bool {
	if len(b) == 4 {
		return le32(b) == 0
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func (p *parser) fitsPlace(t *RelocType, off uint64, place []byte) bool {
	return off%4 == 0 && t.insn.fits(le32(place))
}

// judge looks closely at one relocation that is not of the most ordinary kind.
func (p *parser) judge(sec *Section, r Relocation) {
	t := LookupReloc(p.plugin.Machine, r.Type)
	switch {
	case uint64(r.Symbol) >= uint64(len(p.state)):
		p.refuseReloc(CodeReloc, sec, r, "relocation %s refers to symbol %d, but there are %d", t.Name,
			r.Symbol, len(p.state))
	case !p.judgeType(sec, r, t):
	case uint64(r.Offset) > sec.Size || uint64(t.Size) > sec.Size-uint64(r.Offset):
		p.refuseReloc(CodeReloc, sec, r, "relocation %s patches %d bytes outside section %s of 0x%x bytes",
			t.Name, t.Size, clip(sec.Name), sec.Size)
	case t.Class == RelocNone:
	case p.judgeSymbol(sec, r, t) && p.judgePlace(sec, r, &t) && t.Class == RelocGOT:
		p.needGOT(r.Symbol)
	}
}

// judgeType refuses the types that are never applied.
func (p *parser) judgeType(sec *Section, r Relocation, t RelocType) bool {
	switch t.Class {
	case RelocUnknown:
		p.refuseReloc(CodeRelocType, sec, r, "%s is not understood", t.Name)
	case RelocTLS:
		if p.state[r.Symbol] == symTLS {
			p.refer(sec, r)
			return false
		}
		p.refuseReloc(CodeTLSReloc, sec, r, "relocation %s accesses a thread-local variable", t.Name)
	case RelocDynamic:
		p.refuseReloc(CodeDynamicReloc, sec, r, "relocation %s is for dynamic linkers", t.Name)
	case RelocPAuth:
		p.refuseReloc(CodePAuth, sec, r, "%s signs a pointer", t.Name)
	case RelocAbs32:
		if !p.opts.AllowAbs32 && p.plugin.Symbols[r.Symbol].Section != Absolute &&
			p.state[r.Symbol] == symDefined {
			p.refuseReloc(CodeAbsolute, sec, r,
				"relocation %s against `%s`: %d bytes cannot hold an address",
				t.Name, p.symbolLabel(r.Symbol), t.Size)
			return false
		}
		return true
	default:
		return true
	}
	return false
}

// judgeSymbol accepts relocations against symbols that will have an address. Those against undefined symbols are
// gathered, to be reported once per symbol.
func (p *parser) judgeSymbol(sec *Section, r Relocation, t RelocType) bool {
	switch p.state[r.Symbol] {
	case symDefined:
		return true
	case symUndefined, symWeak, symTLS:
		p.refer(sec, r)
	case symDropped:
		p.refuseReloc(CodeDroppedTarget, sec, r, "relocation %s refers to `%s`, whose section is not laid out",
			t.Name, p.symbolLabel(r.Symbol))
	}
	return false
}

// judgePlace looks at the bytes that would be patched, and at the addend of GOT accesses.
func (p *parser) judgePlace(sec *Section, r Relocation, t *RelocType) bool {
	place := sec.Data[r.Offset:][:t.Size]
	switch {
	case p.plugin.Machine == elf.EM_X86_64 && !zero(place):
		// RELA: compilers leave zeros. Anything else has been relocated before, or is damaged.
		p.refuseReloc(CodeDirtyPlace, sec, r, "relocation %s against `%s`: the place already holds % x",
			t.Name, p.symbolLabel(r.Symbol), place)
	case t.insn.mask != 0 && r.Offset%4 != 0:
		p.refuseReloc(CodeUnaligned, sec, r, "relocation %s at an offset that is not a multiple of 4", t.Name)
	case t.insn.mask != 0 && !t.insn.fits(le32(place)):
		p.refuseReloc(CodeInstruction, sec, r, "relocation %s on 0x%08x, which is not %s", t.Name, le32(place),
			t.insn.what)
	case p.plugin.Machine == elf.EM_X86_64 && !relaxable(sec.Data, r):
		p.refuseReloc(CodeInstruction, sec, r, "relocation %s on an instruction that it is not for", t.Name)
	case t.Class == RelocGOT && !p.gotAddend(r):
		p.refuseReloc(CodeGOTAddend, sec, r, "relocation %s against `%s` has the addend %d", t.Name,
			p.symbolLabel(r.Symbol), r.Addend)
	default:
		return true
	}
	return false
}

// relaxable reports whether the instruction before a GOTPCRELX place is one of those that x86-64 psABI B.2 "Optimize
// GOTPCRELX Relocations" lists. Linkers may rewrite them, so no other may carry the type. We do not rewrite; but what
// is not on the list was not written by a compiler.
func relaxable(code []byte, r Relocation) bool {
	switch elf.R_X86_64(r.Type) {
	case elf.R_X86_64_GOTPCRELX, elf.R_X86_64_REX_GOTPCRELX:
	default:
		return true
	}
	if r.Offset < 2 {
		return false
	}
	opcode, modrm := code[r.Offset-2], code[r.Offset-1]
	switch {
	case modrm&0xc7 != 0x05: // not (%rip)
		return false
	case opcode == 0xff: // call, jmp
		return modrm>>3&7 == 2 || modrm>>3&7 == 4
	}
	return opcode == 0x8b || opcode == 0x85 || opcode&0xc7 == 0x03 // mov, test, add..cmp
}

// gotAddend knows the distances from the place to the end of an x86-64 instruction: -4, or up to 4 bytes more if an
// immediate operand follows. The 64-bit GOT types of the large model have their addend relative to a lea.
func (p *parser) gotAddend(r Relocation) bool {
	if p.plugin.Machine == elf.EM_AARCH64 {
		return r.Addend == 0
	}
	switch elf.R_X86_64(r.Type) {
	case elf.R_X86_64_GOT32, elf.R_X86_64_GOT64, elf.R_X86_64_GOTPLT64:
		return r.Addend == 0
	case elf.R_X86_64_GOTPCREL64:
		return true
	}
	return r.Addend == -4 || r.Addend == -5 || r.Addend == -6 || r.Addend == -8
}

// needGOT gives a symbol its slot on first use.
func (p *parser) needGOT(symbol uint32) {
	pl := p.plugin
	if pl.gotSlots == nil {
		pl.gotSlots = make([]int32, len(pl.Symbols))
	}
	if pl.gotSlots[symbol] == 0 {
		pl.GOT = append(pl.GOT, symbol)
		pl.gotSlots[symbol] = int32(len(pl.GOT))
	}
}

// checkRelocOverlap refuses two relocations of the same bytes. Tables are mostly sorted, and then checkTable has seen
// that they do not overlap.
func (p *parser) checkRelocOverlap(sec *Section) {
	all := make([]Relocation, 0, sec.Relocs.Len())
	for r := range sec.Relocs.All() {
		if LookupReloc(p.plugin.Machine, r.Type).Size > 0 {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b Relocation) int { return cmp.Compare(a.Offset, b.Offset) })
	for i := 1; i < len(all); i++ {
		t := LookupReloc(p.plugin.Machine, all[i-1].Type)
		if all[i].Offset-all[i-1].Offset < Offset(t.Size) {
			p.refuseReloc(CodeRelocOverlap, sec, all[i], "relocation %s overlaps the one at 0x%x (%s)",
				LookupReloc(p.plugin.Machine, all[i].Type).Name, all[i-1].Offset, t.Name)
		}
	}
}

// refuseReloc reports a relocation with the name of its symbol, if it has one.
func (p *parser) refuseReloc(code Code, sec *Section, r Relocation, format string, args ...any) {
	if p.full() {
		return
	}
	v := Violation{Code: code, Message: fmt.Sprintf(format, args...),
		Places: []Place{p.plugin.placeOf(sec.Index, r.Offset)}}
	if uint64(r.Symbol) < uint64(len(p.plugin.Symbols)) {
		v.Symbol = p.plugin.Symbols[r.Symbol].Name
	}
	p.report(v)
}

// refer notes a reference to an undefined symbol.
func (p *parser) refer(sec *Section, r Relocation) {
	ref := p.refs[r.Symbol]
	if ref == nil {
		ref = &references{}
		p.refs[r.Symbol] = ref
		p.refOrder = append(p.refOrder, r.Symbol)
	}
	if ref.count++; len(ref.places) < maxPlaces {
		ref.places = append(ref.places, rawPlace{sec.Index, r.Offset})
	}
}

// symbolLabel names a symbol in a message; section symbols have the name of their section.
func (p *parser) symbolLabel(i uint32) pretty {
	s := &p.plugin.Symbols[i]
	if s.Type == elf.STT_SECTION {
		if shndx := int(le16(p.rawSyms[int(i)*symSize+6:])); shndx < len(p.shdrs) {
			return pretty(p.sectionName(shndx))
		}
	}
	return pretty(s.Name)
}
