package loader

import (
	"debug/elf"
	"fmt"
	"strings"
)

// checkUndefined reports each symbol that relocations need and no section defines, once, with the places that need it.
func (p *parser) checkUndefined() bool {
	for _, i := range p.refOrder {
		if p.full() {
			continue
		}
		sym, ref := &p.plugin.Symbols[i], p.refs[i]
		v := Violation{Symbol: sym.Name, Count: ref.count}
		for _, r := range ref.places {
			v.Places = append(v.Places, p.plugin.placeOf(r.section, r.off))
		}
		p.explainUndefined(&v, i, sym)
		p.report(v)
	}
	return true
}

// explainUndefined chooses code, message and fix.
func (p *parser) explainUndefined(v *Violation, i uint32, sym *Symbol) {
	name := Demangle(sym.Name)
	switch {
	case p.state[i] == symTLS:
		v.Code, v.Message = CodeTLSSymbol, fmt.Sprintf("thread-local variable `%s`", name)
		if sym.Name == "errno" {
			v.Fix = "a raw system call returns -errno; use that"
		}
	case strings.HasPrefix(sym.Name, "__start_") || strings.HasPrefix(sym.Name, "__stop_"):
		v.Code = CodeStartStop
		v.Message, v.Fix = p.whyNoBounds(sym.Name)
	case p.state[i] == symWeak:
		v.Code, v.Message = CodeWeakUndefined,
			fmt.Sprintf("weak symbol `%s` is not defined and would be 0", name)
	default:
		v.Code, v.Message = CodeUndefined, fmt.Sprintf("undefined symbol `%s`", name)
		v.Fix = p.fixUndefined(sym.Name)
	}
}

// whyNoBounds returns the reason at the section, and a better fix than the rule's if there is one.
func (p *parser) whyNoBounds(name string) (message, fix string) {
	_, section, _ := strings.Cut(strings.TrimPrefix(name, "__"), "_")
	if p.bounds[section].mixed {
		return fmt.Sprintf("`%s`: the sections %s cannot lie side by side: they differ in w, x or @nobits",
				clip(name), clip(section)),
			"make all variables of the section const, or none"
	}
	return fmt.Sprintf("`%s`: there is not a section %s in memory", clip(name), clip(section)), ""
}

// fixUndefined knows where well-known names come from, and which names are probably misspelt or mangled; "" if neither.
func (p *parser) fixUndefined(name string) string {
	if fix := knownFix(name, p.plugin.Machine); fix != "" {
		return fix
	}
	return p.nearest(name)
}

// maxNear bounds the bytes of names that are compared for one object, for objects that are nothing but undefined names.
const maxNear = 32 << 20

// nearest looks for a defined symbol that was probably meant.
func (p *parser) nearest(name string) string {
	best, limit := "", min(len(name)/3, 2)+1
	for i := range p.plugin.Symbols {
		s := &p.plugin.Symbols[i]
		if s.Section < 0 || s.Name == "" || s.Type == elf.STT_SECTION || s.Type == elf.STT_FILE {
			continue
		}
		if p.compared += 16 + len(s.Name); p.compared > maxNear {
			return ""
		}
		if strings.HasPrefix(s.Name, "_Z") && strings.Contains(s.Name, name) && p.demangles(s.Name, name+"(") {
			return fmt.Sprintf("`%s` is defined as a C++ function: declare it extern \"C\" on both sides",
				Demangle(s.Name))
		}
		if d := distance(name, s.Name, limit); d < limit {
			best, limit = s.Name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean `%s`?", Demangle(best))
}

// demangles reports whether the source form of a name begins so. To demangle costs far more than to compare.
func (p *parser) demangles(name, prefix string) bool {
	p.compared += 1 << 10
	return strings.HasPrefix(Demangle(name), prefix)
}

// distance counts the edits between two names, giving up at limit.
func distance(a, b string, limit int) int {
	var row [64]int
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(b) >= len(row) {
		return limit
	}
	for j := range len(b) + 1 {
		row[j] = j
	}
	for i := range len(a) {
		diagonal, least := row[0], limit
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
			least = min(least, row[j+1])
		}
		if least >= limit {
			return limit
		}
	}
	return row[len(b)]
}
