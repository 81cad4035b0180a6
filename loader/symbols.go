package loader

import (
	"debug/elf"
	"fmt"
	"hash/maphash"
	"strings"
)

// symbolState says what a relocation against a symbol means.
type symbolState uint8

const (
	symDefined   symbolState = iota // has an address as soon as the plugin has one
	symUndefined                    // an error if a kept relocation refers to it
	symWeak                         // the same, with another message
	symDropped                      // defined in a section that is not laid out
	symTLS
	symRefused // has been reported
)

// Reserved section indexes, gABI "Special Section Indexes" and x86-64 psABI.
const (
	shnX86LargeCommon = 0xff02
	shnLoReserve      = 0xff00
)

// readSymbols decodes the symbol table and judges the symbols that are defined.
func (p *parser) readSymbols() bool {
	if p.symtab == 0 {
		return p.withoutSymbols()
	}
	s := &p.shdrs[p.symtab]
	table, ok := p.stringTable(s.Link)
	if !ok {
		return p.stop(CodeSection, "symbol table: sh_link %d is not a NUL-terminated string table inside the file", s.Link)
	}
	p.strtab, p.rawSyms = table, p.bytesOf(p.symtab)
	count := len(p.rawSyms) / symSize
	if count == 0 {
		return p.stop(CodeSection, "symbol table is empty or outside the file")
	}
	p.findXindex()
	p.plugin.Symbols = make([]Symbol, count)
	p.state = make([]symbolState, count)
	names := newNameBudget(p.data)
	for i := range count {
		if p.readSymbol(i); !names.spend(p.plugin.Symbols[i].Name) {
			return p.stop(CodeSymbol, "the names of the symbols overlap: those of the first %d have more than %d times the bytes of the file", i+1, nameFactor)
		}
	}
	p.checkNullSymbol()
	p.checkSymbolOrder()
	p.checkDuplicates()
	return true
}

// withoutSymbols judges an object that has no symbol table: strip takes the relocations along, so nothing that is left
// can be trusted. An empty object, of a source file for another system, has none by right.
func (p *parser) withoutSymbols() bool {
	for i := range p.plugin.Sections {
		if p.plugin.Sections[i].Size > 0 {
			return p.stop(CodeStripped, "no symbol table (stripped)")
		}
	}
	if !p.opts.Core {
		p.readRecords()
	}
	return false
}

// findXindex finds the table of section indexes that do not fit 16 bits.
func (p *parser) findXindex() {
	for i := range p.shdrs {
		if elf.SectionType(p.shdrs[i].Type) == elf.SHT_SYMTAB_SHNDX && int(p.shdrs[i].Link) == p.symtab {
			p.xindex = p.bytesOf(i)
			return
		}
	}
}

// readSymbol decodes one entry of the symbol table.
func (p *parser) readSymbol(i int) {
	b := p.rawSyms[i*symSize : i*symSize+symSize : i*symSize+symSize]
	info := b[4]
	sym := &p.plugin.Symbols[i]
	*sym = Symbol{
		Value: le64(b[8:]), Size: le64(b[16:]), Section: Undefined,
		Type: elf.ST_TYPE(info), Bind: elf.ST_BIND(info), Other: b[5],
	}
	var ok bool
	if sym.Name, ok = nameAt(p.strtab, le32(b)); !ok {
		p.refuseSymbol(i, CodeSymbol, "symbol %d has no name: st_name 0x%x is outside the string table", i,
			le32(b))
		return
	}
	shndx := uint32(le16(b[6:]))
	if shndx == uint32(elf.SHN_XINDEX) {
		if len(p.xindex) < 4*i+4 {
			p.refuseSymbol(i, CodeSymbol, "symbol `%s` has SHN_XINDEX, but there is no SHT_SYMTAB_SHNDX entry for it", pretty(sym.Name))
			return
		}
		shndx = le32(p.xindex[4*i:])
	} else if shndx >= shnLoReserve {
		p.readReserved(i, sym, shndx)
		return
	}
	p.readOrdinary(i, sym, shndx)
}

// readReserved handles symbols whose section index is reserved: SHN_ABS, SHN_COMMON, SHN_XINDEX.
func (p *parser) readReserved(i int, sym *Symbol, shndx uint32) {
	switch {
	case shndx == uint32(elf.SHN_ABS):
		sym.Section = Absolute
	case shndx == uint32(elf.SHN_COMMON), shndx == shnX86LargeCommon && p.plugin.Machine == elf.EM_X86_64:
		what := "tentative definition `%s` of %d bytes (SHN_COMMON)"
		if sym.Name == "__gnu_lto_slim" {
			p.refuseSymbol(i, CodeSlimLTO, "GCC LTO object (gcc -flto): symbol __gnu_lto_slim")
			return
		}
		p.refuseSymbol(i, CodeCommon, what, pretty(sym.Name), sym.Size)
	default:
		p.refuseSymbol(i, CodeSymbol, "symbol `%s` has the reserved section index 0x%x", pretty(sym.Name),
			shndx)
	}
}

// readOrdinary handles undefined symbols and symbols of a section.
func (p *parser) readOrdinary(i int, sym *Symbol, shndx uint32) {
	switch {
	case uint64(shndx) >= uint64(len(p.shdrs)):
		p.refuseSymbol(i, CodeSymbol, "symbol `%s` is in section %d, but there are %d", pretty(sym.Name),
			shndx, len(p.shdrs))
	case shndx == 0:
		p.readUndefined(i, sym)
	default:
		p.readDefined(i, sym, int(shndx))
	}
}

// readUndefined gives an undefined symbol the address it is known to have, if any. That it is undefined counts only
// if a relocation refers to it: assemblers list _GLOBAL_OFFSET_TABLE_ and names that were optimised away.
func (p *parser) readUndefined(i int, sym *Symbol) {
	if value, ok := p.opts.Defined[sym.Name]; ok {
		sym.Section, sym.Value = Absolute, value
		return
	}
	switch {
	case i == 0:
	case sym.Name == "_GLOBAL_OFFSET_TABLE_":
		sym.Section = GOTBase
		return
	case p.provideBounds(sym):
		return
	case sym.Type == elf.STT_TLS:
		p.state[i] = symTLS
		return
	case sym.Bind == elf.STB_WEAK:
		p.state[i] = symWeak
		return
	}
	p.state[i] = symUndefined
}

// provideBounds resolves __start_X and __stop_X, which linkers provide for sections with C identifiers as names.
func (p *parser) provideBounds(sym *Symbol) bool {
	name, start := strings.CutPrefix(sym.Name, "__start_")
	if !start {
		var stop bool
		if name, stop = strings.CutPrefix(sym.Name, "__stop_"); !stop {
			return false
		}
	}
	all, ok := p.bounds[name]
	if !ok || all.mixed {
		return false // checkUndefined says so
	}
	sym.Section, sym.Value = int32(all.first), 0
	if !start {
		sym.Section, sym.Value = int32(all.last), p.plugin.Sections[all.last].Size
	}
	return true
}

// readDefined judges a symbol of an existing section.
func (p *parser) readDefined(i int, sym *Symbol, shndx int) {
	size := p.shdrs[shndx].Size
	name := sym.Name
	switch {
	case p.roles[shndx] == roleOther && elf.SectionFlag(p.shdrs[shndx].Flags)&elf.SHF_ALLOC == 0:
		sym.Section, p.state[i] = Dropped, symDropped
		return
	case sym.Type == elf.STT_TLS:
		p.state[i] = symTLS
	case p.roles[shndx] == roleRefused:
		p.state[i] = symRefused
	case p.roles[shndx] != roleLayout:
		p.state[i] = symDropped
	case sym.Value > size || sym.Size > size-sym.Value:
		p.refuseSymbol(i, CodeSymbol, "symbol `%s` at 0x%x with size 0x%x ends outside section %s of 0x%x bytes",
			pretty(name), sym.Value, sym.Size, clip(p.sectionName(shndx)), size)
	case sym.Type == elf.STT_GNU_IFUNC:
		p.refuseSymbol(i, CodeIFUNC, "indirect function `%s` needs a resolver to run", pretty(name))
	case sym.Type == elf.STT_COMMON:
		p.refuseSymbol(i, CodeCommon, "tentative definition `%s` of %d bytes (STT_COMMON)", pretty(name),
			sym.Size)
	case elf.ST_VISIBILITY(sym.Other) == elf.STV_INTERNAL:
		p.refuseSymbol(i, CodeInternal, "symbol `%s` has internal visibility", pretty(name))
	}
	sym.Section = Dropped
	if k := p.plugin.byELFIndex[shndx]; k >= 0 {
		sym.Section = k
	}
}

// refuseSymbol reports a symbol and silences what relocations would say about it.
func (p *parser) refuseSymbol(i int, code Code, format string, args ...any) {
	p.state[i] = symRefused
	if p.full() {
		return
	}
	sym := &p.plugin.Symbols[i]
	v := Violation{Code: code, Symbol: sym.Name, Message: fmt.Sprintf(format, args...)}
	b := p.rawSyms[i*symSize:]
	if shndx := int(le16(b[6:])); shndx > 0 && shndx < min(len(p.shdrs), shnLoReserve) {
		v.Places = []Place{{Section: clip(p.sectionName(shndx)), Offset: Offset(sym.Value), index: shndx}}
	}
	p.report(v)
}

// checkNullSymbol holds symbol 0 to gABI "Symbol Table": it stands for no symbol, and all of it is zero.
func (p *parser) checkNullSymbol() {
	if null := p.rawSyms[:symSize]; !zero(null) {
		p.refuseSymbol(0, CodeSymbol, "symbol 0 is not null: it has the bytes % x", null)
	}
}

// checkSymbolOrder holds the symbol table to gABI "Symbol Table": locals first, sh_info is the first global.
func (p *parser) checkSymbolOrder() {
	first := p.shdrs[p.symtab].Info
	if uint64(first) > uint64(len(p.plugin.Symbols)) {
		p.reportf(CodeSymbolOrder, nil, "symbol table: sh_info says the first global is %d of %d", first,
			len(p.plugin.Symbols))
		return
	}
	for i := range p.plugin.Symbols {
		if local := p.plugin.Symbols[i].Bind == elf.STB_LOCAL; local != (i < int(first)) {
			p.reportf(CodeSymbolOrder, nil,
				"symbol table: symbol %d `%s` is on the wrong side of sh_info %d",
				i, pretty(p.plugin.Symbols[i].Name), first)
			return
		}
	}
}

// checkDuplicates refuses two strong definitions of one name. A hash table of indexes: names are already in memory, and
// a Go map of them would take longer than all the other rules.
func (p *parser) checkDuplicates() {
	first := int(min(p.shdrs[p.symtab].Info, uint32(len(p.plugin.Symbols))))
	globals := p.plugin.Symbols[first:]
	slots := 16
	for slots < 2*len(globals) {
		slots *= 2
	}
	table, seed := make([]uint32, slots), maphash.MakeSeed()
	for i := range globals {
		sym := &globals[i]
		if sym.Section == Undefined || sym.Bind == elf.STB_WEAK || sym.Name == "" {
			continue
		}
		at := int(maphash.String(seed, sym.Name)) & (slots - 1)
		for ; table[at] != 0; at = (at + 1) & (slots - 1) {
			if globals[table[at]-1].Name == sym.Name {
				p.refuseSymbol(first+i, CodeDuplicate, "symbol `%s` is defined twice", pretty(sym.Name))
				break
			}
		}
		table[at] = uint32(i + 1)
	}
}
