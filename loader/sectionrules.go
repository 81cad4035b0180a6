package loader

import (
	"bytes"
	"cmp"
	"debug/elf"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/sizes"
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

// refuseConstructor puts a section aside until the symbols are known: checkConstructors names the functions.
func (p *parser) refuseConstructor(i int) role {
	if p.shdrs[i].Size == 0 {
		return roleOther
	}
	p.constructors = append(p.constructors, i)
	return roleRefused
}

// checkConstructors refuses the sections that refuseConstructor put aside.
func (p *parser) checkConstructors() bool {
	for _, i := range p.constructors {
		if p.full() {
			continue
		}
		name := p.sectionName(i)
		what := "code"
		if name != ".init" && name != ".fini" {
			what = p.constructorNames(i, strings.Contains(name, "fini") || strings.Contains(name, "dtors"))
		}
		v := Violation{Code: CodeConstructor, Places: []Place{{Section: clip(name)}},
			Message: fmt.Sprintf("section %s: %s would never run", clip(name), what)}
		if strings.Contains(what, "`_GLOBAL__sub_") { // gcc's and clang's name for what constructs the objects of a file
			v.Fix = "make global objects constexpr, or construct them in a hook; <iostream> has one"
		}
		p.report(v)
	}
	return true
}

// constructorNames lists the functions of a table of pointers, "constructors `a`, `b`"; long lists are cut.
func (p *parser) constructorNames(section int, destructors bool) string {
	const most = 4
	var names []string
	count := p.shdrs[section].Size / 8
	pointers := p.recordPointers(section)
	for _, at := range slices.Sorted(maps.Keys(pointers)) {
		r := pointers[at]
		if uint64(r.Symbol) < uint64(len(p.plugin.Symbols)) && len(names) < most {
			if fn, why := p.functionAt(r); why == "" && fn.Symbol != "" {
				names = append(names, "`"+Demangle(fn.Symbol)+"`")
			}
		}
	}
	list := strings.Join(names, ", ")
	if more := count - min(count, uint64(len(names))); len(names) == 0 {
		list = fmt.Sprintf("%d unnamed", count)
	} else if more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	kind := "constructor"
	if destructors {
		kind = "destructor"
	}
	if count > 1 {
		kind += "s"
	}
	return kind + " " + list
}

func (p *parser) refuseTLS(i int) role {
	if p.shdrs[i].Size == 0 {
		return roleOther
	}
	return p.refuse(CodeTLSSection, i, "section %s: %d bytes of thread-local variables", clip(p.sectionName(i)),
		p.shdrs[i].Size)
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

// refuseInstrumented refuses a section that sanitizers and profilers leave, with the flag that makes it.
func (p *parser) refuseInstrumented(i int, name string) role {
	p.report(Violation{
		Code:    CodeInstrumented,
		Message: "section " + clip(name) + " needs a run-time library",
		Places:  []Place{{Section: clip(name)}},
		Fix:     "compile without " + instrumentationFlag(name),
	})
	return roleRefused
}

// checkOverlap refuses sections that share bytes of the file, with which a small file describes a huge image, or makes
// crpie read the same bytes for every section. So all sections together have no more bytes than the file.
func (p *parser) checkOverlap() {
	var kept []int
	sorted := true
	for i := range p.shdrs {
		if i > 0 && len(p.bytesOf(i)) > 0 { // what section 0 has are counts
			sorted = sorted && (len(kept) == 0 || p.shdrs[kept[len(kept)-1]].Off <= p.shdrs[i].Off)
			kept = append(kept, i)
		}
	}
	if !sorted {
		slices.SortStableFunc(kept, func(a, b int) int { return cmp.Compare(p.shdrs[a].Off, p.shdrs[b].Off) })
	}
	for k := 1; k < len(kept); k++ {
		a, b := kept[k-1], kept[k]
		if p.shdrs[b].Off-p.shdrs[a].Off < p.shdrs[a].Size {
			p.overlap = true
			p.reportf(CodeOverlap, nil, "sections %s and %s share bytes of the file at 0x%x",
				clip(p.sectionName(a)),
				clip(p.sectionName(b)), p.shdrs[b].Off)
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
		if total = sizes.Add(total, s.Size); total > p.opts.MaxMemory {
			break
		}
	}
	if largest == nil || total <= p.opts.MaxMemory {
		return
	}
	p.reportf(CodeMemory, []Place{{Section: clip(largest.Name)}},
		"%d bytes of memory exceed the limit of %d; section %s has %d%s",
		total, p.opts.MaxMemory, clip(largest.Name), largest.Size, p.largestSymbol(largest.Index))
}

// largestSymbol names the variable that takes most of a section. The symbol table has not been judged yet.
func (p *parser) largestSymbol(section int) string {
	if p.symtab == 0 {
		p.symtab = slices.IndexFunc(p.shdrs, func(s elf.Section64) bool {
			return elf.SectionType(s.Type) == elf.SHT_SYMTAB
		})
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

// trampoline is what gcc stores last of a trampoline on the stack, jmp *%r11 and nop, on x86-64: at every level of
// optimisation as the immediate operand of one mov.
var trampoline = []byte{0x49, 0xff, 0xe3, 0x90}

// addTrampolines says which functions need the executable stack: those that write a trampoline or, on aarch64 where its
// code is copied, that flush the instruction cache for it. Other reasons for the flag cannot be told.
func (p *parser) addTrampolines() {
	v := slices.IndexFunc(p.violations, func(v Violation) bool { return v.Code == CodeExecStack })
	if v < 0 || p.plugin.shdrs == nil {
		return
	}
	for i := range p.plugin.Sections {
		sec := &p.plugin.Sections[i]
		if sec.Flags&elf.SHF_EXECINSTR == 0 {
			continue
		}
		p.addStores(&p.violations[v], sec)
		for r := range sec.Relocs.All() {
			if uint64(r.Symbol) < uint64(len(p.plugin.Symbols)) &&
				p.plugin.Symbols[r.Symbol].Name == "__clear_cache" {
				p.addPlace(&p.violations[v], sec, r.Offset)
			}
		}
	}
	if p.violations[v].Count > 0 {
		p.violations[v].Message += ": trampoline of a nested function"
	}
}

// addStores adds the places in a section of x86-64 code where a trampoline is written.
func (p *parser) addStores(v *Violation, sec *Section) {
	if p.plugin.Machine != elf.EM_X86_64 {
		return
	}
	for at := 0; ; at += len(trampoline) {
		next := bytes.Index(sec.Data[at:], trampoline)
		if next < 0 {
			return
		}
		at += next
		p.addPlace(v, sec, Offset(at))
	}
}

func (p *parser) addPlace(v *Violation, sec *Section, off Offset) {
	if v.Count++; len(v.Places) < maxPlaces {
		v.Places = append(v.Places, p.plugin.placeOf(sec.Index, off))
	}
}

// checkLTO recognises objects whose code is in a form for the link-time optimiser only.
func (p *parser) checkLTO() {
	if p.codeSeen {
		return
	}
	for i := range p.shdrs {
		if strings.HasPrefix(p.sectionName(i), ".gnu.lto_") {
			p.reportf(CodeSlimLTO, nil, "GCC LTO object (gcc -flto): section %s, but no machine code",
				clip(p.sectionName(i)))
			return
		}
	}
}
