package loader

import (
	"debug/elf"
	"fmt"
	"slices"
	"strings"
)

// Program properties, "Linux Extensions to gABI" and the processor supplements.
const (
	ntGNUProperty     = 5
	propAArch64And    = 0xc0000000
	propX86And        = 0xc0000002
	propX86ISANeeded  = 0xc0008002
	propBranchTargets = 1 // IBT or BTI in both
)

// checkNotes looks at what an object claims about its code in .note.gnu.property, and at functions that call
// themselves.
func (p *parser) checkNotes() bool {
	known := []uint32{propAArch64And, propX86And, propX86ISANeeded}
	claims := map[uint32]uint32{} // each property counts once, however often an object repeats it
	for i := range p.shdrs {
		if p.roles[i] == roleNote {
			for kind, value := range properties(p.bytesOf(i)) {
				if slices.Contains(known, kind) {
					claims[kind] |= value
				}
			}
		}
	}
	for _, kind := range known {
		p.checkProperty(kind, claims[kind])
	}
	p.checkRecursion()
	p.checkSignals()
	return true
}

// properties yields the 4-byte program properties of a note section; whatever is malformed ends it.
func properties(raw []byte) func(yield func(kind, value uint32) bool) {
	return func(yield func(kind, value uint32) bool) {
		const header = 12
		for len(raw) >= header {
			nameSize, descSize, kind := uint64(le32(raw)), uint64(le32(raw[4:])), le32(raw[8:])
			end := header + (nameSize+3)&^3 + descSize
			if nameSize > uint64(len(raw)) || end > uint64(len(raw)) {
				return
			}
			if kind == ntGNUProperty && nameSize == 4 && string(raw[header:header+3]) == "GNU" {
				if !yieldProperties(raw[header+4:end], yield) {
					return
				}
			}
			raw = raw[min(uint64(len(raw)), (end+7)&^7):]
		}
	}
}

// yieldProperties goes through the properties of a note: type, size, data, padded to eight bytes (Linux gABI
// extensions, "Program Property").
func yieldProperties(desc []byte, yield func(kind, value uint32) bool) bool {
	for len(desc) >= 8 {
		size := uint64(le32(desc[4:]))
		if size > uint64(len(desc))-8 {
			return true
		}
		if size == 4 && !yield(le32(desc), le32(desc[8:])) {
			return false
		}
		desc = desc[min(uint64(len(desc)), 8+(size+7)&^7):]
	}
	return true
}

// checkProperty checks what a property promises: landing pads, which then every hook has to begin with, and the
// processor.
func (p *parser) checkProperty(kind, value uint32) {
	amd64 := p.plugin.Machine == elf.EM_X86_64
	switch {
	case amd64 && kind == propX86And && value&propBranchTargets != 0:
		p.checkBranchTargets("IBT", "endbr64", func(word uint32) bool { return word == 0xfa1e0ff3 })
	case !amd64 && kind == propAArch64And && value&propBranchTargets != 0:
		p.checkBranchTargets("BTI", "bti c", func(word uint32) bool {
			// bti, paciasp, pacibsp
			return word&^0xc0 == 0xd503241f || word == 0xd503233f || word == 0xd503237f
		})
	case amd64 && kind == propX86ISANeeded && value&^1 != 0:
		p.reportf(CodeISA, nil, "the code needs a processor of x86-64-v%d", isaLevel(value))
	}
}

// isaLevel is the highest micro-architecture level among the bits of GNU_PROPERTY_X86_ISA_1_NEEDED.
func isaLevel(value uint32) (level int) {
	for i := range 4 {
		if value&(1<<i) != 0 {
			level = i + 1
		}
	}
	return level
}

// checkBranchTargets holds every function of a record to what the object claims about all of its code.
func (p *parser) checkBranchTargets(feature, insn string, lands func(word uint32) bool) {
	check := func(what string, f Func) {
		if !f.set {
			return
		}
		sec := &p.plugin.Sections[f.Section]
		if code := sec.Data[min(uint64(f.Offset), uint64(len(sec.Data))):]; len(code) < 4 ||
			!lands(le32(code)) {
			p.reportf(CodeBranchTarget, []Place{p.plugin.placeOf(sec.Index, f.Offset)},
				"the object claims %s, but %s `%s` does not begin with %s", feature, what,
				Demangle(f.Symbol), insn)
		}
	}
	for _, h := range p.plugin.Hooks {
		check(h.ID.String(), h.Fn)
	}
	check("init", p.plugin.Init)
	check("exit", p.plugin.Exit)
}

// loops are the functions that compilers recognise in a loop and then call, even inside themselves.
var loops = []string{"memcpy", "memmove", "memset", "memcmp", "strlen"}

// checkRecursion refuses a memcpy that was compiled into a call of memcpy.
func (p *parser) checkRecursion() {
	suspects, sections := map[uint32]bool{}, map[int32]bool{}
	first := int(min(p.shdrs[p.symtab].Info, uint32(len(p.plugin.Symbols))))
	for i := first; i < len(p.plugin.Symbols); i++ {
		if s := &p.plugin.Symbols[i]; s.Type == elf.STT_FUNC && s.Section >= 0 &&
			slices.Contains(loops, s.Name) {
			suspects[uint32(i)], sections[s.Section] = true, true
		}
	}
	for i := range p.plugin.Sections {
		if sections[int32(i)] {
			p.checkSelfCalls(i, suspects)
		}
	}
}

// checkSelfCalls looks at the calls in one section; the first of a function by itself is reported.
func (p *parser) checkSelfCalls(section int, suspects map[uint32]bool) {
	sec := &p.plugin.Sections[section]
	for r := range sec.Relocs.All() {
		if !suspects[r.Symbol] {
			continue
		}
		s := &p.plugin.Symbols[r.Symbol]
		inside := int(s.Section) == section && uint64(r.Offset)-s.Value < s.Size
		name := LookupReloc(p.plugin.Machine, r.Type).Name
		if call := strings.HasSuffix(name, "_PLT32") || strings.HasSuffix(name, "26"); inside && call {
			delete(suspects, r.Symbol)
			p.report(Violation{
				Code: CodeRecursion, Symbol: s.Name,
				Places:  []Place{p.plugin.placeOf(sec.Index, r.Offset)},
				Message: fmt.Sprintf("`%s` calls itself: the compiler made a call of its loop", s.Name),
			})
		}
	}
}
