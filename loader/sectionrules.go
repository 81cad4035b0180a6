package loader

import (
	"cmp"
	"debug/elf"
	"fmt"
	"slices"
	"strings"
)

// isConstructor recognises code or tables of code that only a C runtime would run. The old kinds are ordinary sections
// that only their names tell.
func isConstructor(typ elf.SectionType, name string) bool {
	switch typ {
	case elf.SHT_INIT_ARRAY, elf.SHT_FINI_ARRAY, elf.SHT_PREINIT_ARRAY:
		return true
	}
	for _, old := range []string{".init_array", ".fini_array", ".preinit_array", ".ctors", ".dtors"} {
		if name == old || strings.HasPrefix(name, old+".") {
			return true
		}
	}
	return name == ".init" || name == ".fini"
}

func (p *parser) refuseConstructor(i int, name string) role {
	size := p.shdrs[i].Size
	if size == 0 {
		return roleOther
	}
	what := fmt.Sprintf("%d constructors or destructors", size/8)
	if name == ".init" || name == ".fini" {
		what = "code"
	}
	return p.refuse(CodeConstructor, i, "section %s: %s would never run", clip(name), what)
}

func (p *parser) refuseTLS(i int) role {
	if p.shdrs[i].Size == 0 {
		return roleOther
	}
	return p.refuse(CodeTLSSection, i, "section %s: %d bytes of thread-local variables", clip(p.sectionName(i)), p.shdrs[i].Size)
}

// instrumentation maps sections that compilers add for a tool to the flag that makes them do so.
var instrumentation = []struct{ prefix, flag string }{
	{"asan_globals", "-fsanitize=address"},
	{"__sancov", "-fsanitize-coverage"},
	{"xray_", "-fxray-instrument"},
	{"__llvm_prf", "-fprofile-instr-generate"},
	{"__llvm_cov", "-fcoverage-mapping"},
	{"hwasan_globals", "-fsanitize=hwaddress"},
}

func isInstrumentation(name string) bool { return instrumentationFlag(name) != "" }

func instrumentationFlag(name string) string {
	for _, in := range instrumentation {
		if strings.HasPrefix(name, in.prefix) {
			return in.flag
		}
	}
	return ""
}

func (p *parser) refuseInstrumented(i int, name string) role {
	p.report(Violation{
		Code:    CodeInstrumented,
		Message: "section " + clip(name) + " needs a run-time library",
		Places:  []Place{{Section: clip(name)}},
		Fix:     "compile without " + instrumentationFlag(name),
	})
	return roleRefused
}

// checkOverlap refuses sections that share bytes of the file, with which a small file describes a huge image.
func (p *parser) checkOverlap() {
	kept := make([]*elf.Section64, 0, len(p.plugin.Sections))
	sorted := true
	for _, sec := range p.plugin.Sections {
		if sec.Data != nil && sec.Size > 0 {
			s := &p.shdrs[sec.Index]
			sorted = sorted && (len(kept) == 0 || kept[len(kept)-1].Off <= s.Off)
			kept = append(kept, s)
		}
	}
	if !sorted {
		slices.SortStableFunc(kept, func(a, b *elf.Section64) int { return cmp.Compare(a.Off, b.Off) })
	}
	for i := 1; i < len(kept); i++ {
		a, b := kept[i-1], kept[i]
		if a.Off+a.Size > b.Off {
			nameA, _ := nameAt(p.shstrtab, a.Name)
			nameB, _ := nameAt(p.shstrtab, b.Name)
			p.reportf(CodeOverlap, nil, "sections %s and %s share bytes of the file at 0x%x", clip(nameA), clip(nameB), b.Off)
		}
	}
}

// checkMemory bounds what the plugin takes in every restored task.
func (p *parser) checkMemory() {
	var total uint64
	var largest *Section
	for i := range p.plugin.Sections {
		s := &p.plugin.Sections[i]
		if largest == nil || s.Size > largest.Size {
			largest = s
		}
		if total += s.Size; s.Size > p.opts.MaxMemory || total > p.opts.MaxMemory {
			break
		}
	}
	if largest == nil || total <= p.opts.MaxMemory {
		return
	}
	p.reportf(CodeMemory, []Place{{Section: clip(largest.Name)}}, "%d bytes of memory exceed the limit of %d; section %s has %d%s",
		total, p.opts.MaxMemory, clip(largest.Name), largest.Size, p.largestSymbol(largest.Index))
}

// largestSymbol names the variable that takes most of a section. The symbol table has not been judged yet.
func (p *parser) largestSymbol(section int) string {
	if p.symtab == 0 {
		p.symtab = slices.IndexFunc(p.shdrs, func(s elf.Section64) bool { return elf.SectionType(s.Type) == elf.SHT_SYMTAB })
	}
	if p.symtab <= 0 {
		p.symtab = 0
		return ""
	}
	raw, table := p.bytesOf(p.symtab), ""
	if t, ok := p.stringTable(p.shdrs[p.symtab].Link); ok {
		table = t
	}
	best, size := "", uint64(0)
	for ; len(raw) >= symSize; raw = raw[symSize:] {
		if int(le16(raw[6:])) == section && le64(raw[16:]) > size {
			size = le64(raw[16:])
			best, _ = nameAt(table, le32(raw))
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", of which `%s` takes %d", Demangle(best), size)
}

// checkStack refuses objects that ask for an executable stack. No note at all asks for one, too (ld's rule), but only
// hand-written assembly lacks it.
func (p *parser) checkStack() {
	for i := range p.shdrs {
		if i == 0 || p.sectionName(i) != ".note.GNU-stack" {
			continue
		}
		if elf.SectionFlag(p.shdrs[i].Flags)&elf.SHF_EXECINSTR != 0 {
			p.reportf(CodeExecStack, nil, "needs an executable stack: section .note.GNU-stack has the flag x")
		}
		return
	}
	if p.codeSeen {
		p.reportf(CodeExecStack, nil, "has code but no section .note.GNU-stack, which means that it needs an executable stack")
	}
}

// checkLTO recognises objects whose code is in a form for the link-time optimiser only.
func (p *parser) checkLTO() {
	if p.codeSeen {
		return
	}
	for i := range p.shdrs {
		if strings.HasPrefix(p.sectionName(i), ".gnu.lto_") {
			p.reportf(CodeSlimLTO, nil, "GCC LTO object (gcc -flto): section %s, but no machine code", clip(p.sectionName(i)))
			return
		}
	}
}
