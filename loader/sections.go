package loader

import (
	"cmp"
	"debug/elf"
	"math/bits"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/sizes"
)

// Section types and flags that debug/elf does not name.
const (
	shtX86Unwind = elf.SectionType(0x70000001) // x86-64 psABI: .eh_frame
	shtCREL      = elf.SectionType(0x40000014) // experimental compact relocations
	shtLLVMLTO   = elf.SectionType(0x6fff4c0c) // bitcode of a fat LTO object
	shfGNURetain = elf.SectionFlag(0x200000)
	shfExclude   = elf.SectionFlag(0x80000000)
)

// pageSize is the largest alignment that a section may ask for, and the unit of memory protection.
const pageSize = memory.PageSize

// readSectionTable decodes the section headers and their names.
func (p *parser) readSectionTable() bool {
	h := &p.hdr
	first, ok := span(p.data, h.Shoff, shdrSize)
	if h.Shoff == 0 || !ok {
		return p.stop(CodeHeader, "section header table at 0x%x is outside the file of %d bytes", h.Shoff,
			len(p.data))
	}
	// Counts that do not fit their 16 bits are in section 0, gABI "Section Header", SHN_XINDEX and e_shnum.
	count, names := uint64(h.Shnum), uint32(h.Shstrndx)
	if count == 0 {
		count = le64(first[32:])
	}
	if names == uint32(elf.SHN_XINDEX) {
		names = le32(first[40:])
	}
	table, ok := span(p.data, h.Shoff, sizes.Mul(count, shdrSize))
	if count == 0 || !ok {
		return p.stop(CodeHeader, "%d section headers at 0x%x do not fit into the file of %d bytes", count,
			h.Shoff, len(p.data))
	}
	p.shdrs = decodeSections(table)
	if elf.SectionType(p.shdrs[0].Type) != elf.SHT_NULL {
		return p.stop(CodeHeader, "section 0 has type %v, expected SHT_NULL", elf.SectionType(p.shdrs[0].Type))
	}
	return p.readSectionNames(names)
}

// decodeSections decodes section headers, Elf64_Shdr of the gABI.
func decodeSections(table []byte) []elf.Section64 {
	all := make([]elf.Section64, len(table)/shdrSize)
	for i := range all {
		b := table[i*shdrSize:][:shdrSize]
		all[i] = elf.Section64{
			Name: le32(b), Type: le32(b[4:]), Flags: le64(b[8:]), Addr: le64(b[16:]), Off: le64(b[24:]),
			Size: le64(b[32:]), Link: le32(b[40:]), Info: le32(b[44:]), Addralign: le64(b[48:]),
			Entsize: le64(b[56:]),
		}
	}
	return all
}

// readSectionNames gives every section its name. Names may share bytes, so their sum is bounded: many sections could
// have one long name.
func (p *parser) readSectionNames(index uint32) bool {
	table, ok := p.stringTable(index)
	if !ok {
		return p.stop(CodeHeader, "e_shstrndx %d is not a NUL-terminated string table inside the file", index)
	}
	p.shstrtab = table
	names := newNameBudget(p.data)
	for i := range p.shdrs {
		name, ok := nameAt(table, p.shdrs[i].Name)
		if !ok {
			return p.stop(CodeSection, "section %d has no name: sh_name 0x%x is outside the string table",
				i, p.shdrs[i].Name)
		}
		if !names.spend(name) {
			return p.stop(CodeSection, "the names of the sections overlap: those of the first %d have more than %d times the bytes of the file", i+1, nameFactor)
		}
	}
	return true
}

// stringTable gives the text of a SHT_STRTAB section.
func (p *parser) stringTable(index uint32) (string, bool) {
	if uint64(index) >= uint64(len(p.shdrs)) || elf.SectionType(p.shdrs[index].Type) != elf.SHT_STRTAB {
		return "", false
	}
	text, ok := span(p.data, p.shdrs[index].Off, p.shdrs[index].Size)
	if !ok || len(text) == 0 || text[len(text)-1] != 0 {
		return "", false
	}
	return string(text), true
}

// checkSections decides the role of every section and lays hands on those that stay.
func (p *parser) checkSections() bool {
	p.roles = make([]role, len(p.shdrs))
	p.plugin.byELFIndex = make([]int32, len(p.shdrs))
	for i := range p.shdrs {
		p.plugin.byELFIndex[i] = -1
		if i == 0 || !p.checkBounds(i) {
			continue
		}
		p.roles[i] = p.checkSection(i)
		if p.roles[i] == roleLayout {
			p.keepSection(i)
		}
	}
	if p.checkOverlap(); p.overlap {
		return false
	}
	p.indexRelocations()
	p.joinSections()
	p.checkMemory()
	p.checkStack()
	p.checkLTO()
	p.plugin.shdrs, p.plugin.shstrtab = p.shdrs, p.shstrtab
	return true
}

// indexRelocations finds the relocation table of each section. checkRelocations refuses a second one.
func (p *parser) indexRelocations() {
	p.plugin.relocOf = make([]int32, len(p.shdrs))
	for i := range p.shdrs {
		s := &p.shdrs[i]
		if valid := elf.SectionType(s.Type) == elf.SHT_RELA && uint64(s.Info) < uint64(len(p.shdrs)); valid &&
			p.plugin.relocOf[s.Info] == 0 {
			p.plugin.relocOf[s.Info] = int32(i)
		}
	}
}

// checkBounds holds for every section, also the ones that are not read.
func (p *parser) checkBounds(i int) bool {
	s := &p.shdrs[i]
	if typ := elf.SectionType(s.Type); typ == elf.SHT_NOBITS || typ == elf.SHT_NULL {
		return true
	}
	if _, ok := span(p.data, s.Off, s.Size); !ok {
		p.roles[i] = roleRefused
		p.reportf(CodeSection, nil, "section %s: 0x%x bytes at 0x%x are outside the file of %d bytes",
			clip(p.sectionName(i)), s.Size, s.Off, len(p.data))
		return false
	}
	return true
}

// checkSection decides what becomes of one section. It goes by type and flags; names only choose the words.
func (p *parser) checkSection(i int) role {
	s, name := &p.shdrs[i], p.sectionName(i)
	typ, flags := elf.SectionType(s.Type), elf.SectionFlag(s.Flags)
	if flags&elf.SHF_OS_NONCONFORMING != 0 {
		return p.refuse(CodeSectionType, i, "section %s needs processing of its own (SHF_OS_NONCONFORMING)",
			clip(name))
	}
	switch typ {
	case elf.SHT_SYMTAB:
		return p.checkSymtabSection(i)
	case elf.SHT_RELA, elf.SHT_STRTAB, elf.SHT_NULL, elf.SHT_GROUP, elf.SHT_SYMTAB_SHNDX:
		if flags&elf.SHF_ALLOC != 0 {
			return p.refuse(CodeSectionType, i, "section %s of type %v would be in memory", clip(name), typ)
		}
		return roleOther
	case elf.SHT_REL:
		return p.checkRelSection(i)
	}
	if flags&elf.SHF_ALLOC == 0 {
		return p.checkForeign(i)
	}
	return p.checkAlloc(i, name, typ, flags)
}

func (p *parser) refuse(code Code, i int, format string, args ...any) role {
	p.reportf(code, []Place{{Section: clip(p.sectionName(i))}}, format, args...)
	return roleRefused
}

// checkForeign lets sections that are not in memory pass, unless they say something about ones that are.
func (p *parser) checkForeign(i int) role {
	s := &p.shdrs[i]
	typ, flags := elf.SectionType(s.Type), elf.SectionFlag(s.Flags)
	target := int(s.Info)
	refers := typ == shtCREL || flags&elf.SHF_INFO_LINK != 0
	if refers && target < len(p.shdrs) && elf.SectionFlag(p.shdrs[target].Flags)&elf.SHF_ALLOC != 0 {
		if typ == shtCREL {
			p.report(Violation{
				Code: CodeSectionType,
				Message: "section " + clip(p.sectionName(i)) +
					" holds compact relocations (CREL), which would be lost",
				Places: []Place{{Section: clip(p.sectionName(target))}},
				Fix:    "compile without -Wa,--crel",
			})
			return roleRefused
		}
		return p.refuse(CodeSectionType, i,
			"section %s of type 0x%x changes section %s in a way that is not understood",
			clip(p.sectionName(i)), s.Type, clip(p.sectionName(target)))
	}
	return roleOther
}

// checkAlloc judges a section that would be in memory.
func (p *parser) checkAlloc(i int, name string, typ elf.SectionType, flags elf.SectionFlag) role {
	s := &p.shdrs[i]
	switch {
	case typ == elf.SHT_NOTE:
		return roleNote
	case isConstructor(typ, name):
		return p.refuseConstructor(i)
	case flags&elf.SHF_TLS != 0:
		return p.refuseTLS(i)
	case isInstrumentation(name):
		return p.refuseInstrumented(i, name)
	case typ == shtX86Unwind || name == ".eh_frame" || name == ".gcc_except_table" ||
		strings.HasPrefix(name, ".gcc_except_table."):
		p.reportf(CodeUnwind, nil, "section %s (%d bytes) is not laid out: nothing unwinds in a restorer",
			clip(name), s.Size)
		return roleUnwind
	case typ != elf.SHT_PROGBITS && typ != elf.SHT_NOBITS:
		return p.refuse(CodeSectionType, i, "section %s has type 0x%x, which is not understood", clip(name),
			s.Type)
	}
	return p.checkFlags(i, name, flags)
}

// checkFlags judges an ordinary section.
func (p *parser) checkFlags(i int, name string, flags elf.SectionFlag) role {
	s := &p.shdrs[i]
	switch {
	case flags&elf.SHF_WRITE != 0 && flags&elf.SHF_EXECINSTR != 0:
		return p.refuse(CodeWriteExec, i, "section %s is writable and executable", clip(name))
	case flags&elf.SHF_COMPRESSED != 0:
		return p.refuse(CodeCompressed, i, "section %s is compressed but would be in memory", clip(name))
	case flags&shfExclude != 0:
		return p.refuse(CodeExclude, i, "section %s has both SHF_ALLOC and SHF_EXCLUDE", clip(name))
	case elf.SectionType(s.Type) == elf.SHT_NOBITS && flags&elf.SHF_EXECINSTR != 0 && s.Size > 0:
		return p.refuse(CodeNoCode, i, "section %s: 0x%x bytes of code, but none of them in the file",
			clip(name), s.Size)
	case bits.OnesCount64(s.Addralign) > 1:
		return p.refuse(CodeSection, i, "section %s: alignment 0x%x is not a power of two", clip(name),
			s.Addralign)
	case s.Addralign > pageSize:
		return p.refuse(CodeAlign, i, "section %s wants an alignment of %d bytes, more than a page (%d)",
			clip(name), s.Addralign, pageSize)
	}
	if s.Addr != 0 {
		p.reportf(CodeAddressed, nil, "section %s: its address 0x%x is ignored", clip(name), s.Addr)
	}
	switch name {
	case abi.PluginSection, abi.HooksSection, abi.ParamsSection, abi.SyscallsSection, abi.ImportsSection:
		return roleRecord
	}
	return roleLayout
}

// keepSection adds a section to the plugin.
func (p *parser) keepSection(i int) {
	s := &p.shdrs[i]
	sec := Section{
		Index: i, Name: p.sectionName(i), Type: elf.SectionType(s.Type), Flags: elf.SectionFlag(s.Flags),
		Align: max(1, s.Addralign), Size: s.Size,
	}
	if sec.Type != elf.SHT_NOBITS {
		sec.Data, _ = span(p.data, s.Off, s.Size) // checkBounds has been there
	}
	p.codeSeen = p.codeSeen || sec.Flags&elf.SHF_EXECINSTR != 0 && sec.Size > 0
	p.plugin.byELFIndex[i] = int32(len(p.plugin.Sections))
	p.plugin.Sections = append(p.plugin.Sections, sec)
}

// joined are the sections of one name, Sections[first] to Sections[last].
type joined struct {
	first, last int
	mixed       bool // not all of one segment and kind, so they cannot lie side by side
}

// joinSections moves the sections that share a C identifier as name next to each other, as linkers do, so that
// __start_X and __stop_X enclose all sections X: compilers write one for each COMDAT group that has data in it.
func (p *parser) joinSections() {
	if scattered := p.findJoined(); scattered {
		p.gatherJoined()
	}
}

// findJoined finds the sections of each name, and whether there are others among them.
func (p *parser) findJoined() (scattered bool) {
	all := p.plugin.Sections
	p.bounds = map[string]joined{}
	for i := range all {
		s := &all[i]
		if !isCIdentifier(s.Name) {
			continue
		}
		j, again := p.bounds[s.Name]
		if !again {
			j.first, j.last = i, i
		}
		one := &all[j.first]
		j.mixed = j.mixed || s.Segment() != one.Segment() ||
			(s.Type == elf.SHT_NOBITS) != (one.Type == elf.SHT_NOBITS)
		scattered = scattered || i > j.last+1
		j.last = max(j.last, i)
		p.bounds[s.Name] = j
	}
	return scattered
}

// gatherJoined moves all sections of a name behind the first.
func (p *parser) gatherJoined() {
	all := p.plugin.Sections
	rank := make([]int, len(p.shdrs)) // by ELF section index
	for i := range all {
		rank[all[i].Index] = i
		if j, ok := p.bounds[all[i].Name]; ok {
			rank[all[i].Index] = j.first
		}
	}
	slices.SortStableFunc(all, func(a, b Section) int { return cmp.Compare(rank[a.Index], rank[b.Index]) })
	for i := range all {
		p.plugin.byELFIndex[all[i].Index] = int32(i)
		if j, ok := p.bounds[all[i].Name]; ok {
			if all[max(i, 1)-1].Name != all[i].Name {
				j.first = i
			}
			j.last = i
			p.bounds[all[i].Name] = j
		}
	}
}

// checkSymtabSection remembers the one symbol table.
func (p *parser) checkSymtabSection(i int) role {
	s := &p.shdrs[i]
	switch {
	case p.symtab != 0:
		return p.refuse(CodeHeader, i, "second symbol table %s; an object has one", clip(p.sectionName(i)))
	case s.Entsize != symSize || s.Size%symSize != 0 || s.Size == 0:
		return p.refuse(CodeSection, i, "symbol table of %d bytes in entries of %d, expected %d", s.Size,
			s.Entsize, symSize)
	}
	p.symtab = i
	return roleOther
}

// checkRelSection refuses relocations without addends where they would count.
func (p *parser) checkRelSection(i int) role {
	target := int(p.shdrs[i].Info)
	if target < len(p.shdrs) && elf.SectionFlag(p.shdrs[target].Flags)&elf.SHF_ALLOC != 0 {
		return p.refuse(CodeRel, i, "section %s: SHT_REL relocations are not part of the %v ABI",
			clip(p.sectionName(i)), p.plugin.Machine)
	}
	return roleOther
}

// bytesOf is the file contents of a section, nil for SHT_NOBITS and those outside the file.
func (p *parser) bytesOf(i int) []byte {
	s := &p.shdrs[i]
	if elf.SectionType(s.Type) == elf.SHT_NOBITS {
		return nil
	}
	b, _ := span(p.data, s.Off, s.Size)
	return b
}
