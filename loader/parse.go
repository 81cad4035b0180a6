package loader

import (
	"debug/elf"
	"fmt"
	"path"
	"strings"
)

// Parse validates an object in memory. It is Load without the reading; the Plugin refers to data.
func Parse(data []byte, name string, opts Options) (*Plugin, error) {
	p := &parser{data: data, file: name, opts: opts.withDefaults()}
	p.plugin = &Plugin{File: name, Name: baseName(name), data: data, lazy: &lazy{}}
	// Each step relies on the ones before it; one that finds the file unreadable ends the reading.
	for _, step := range []func() bool{
		p.readHeader, p.readSectionTable, p.checkSections, p.readSymbols, p.checkConstructors, p.checkGroups,
		p.checkRelocations, p.checkUndefined, p.readRecords, p.checkNotes, p.checkFrames,
	} {
		if !step() {
			break
		}
	}
	if len(p.violations) > 0 {
		return nil, p.fail()
	}
	return p.plugin, nil
}

// parser carries what the steps of Parse hand on.
type parser struct {
	data   []byte
	file   string
	opts   Options
	plugin *Plugin

	hdr          elf.Header64
	shdrs        []elf.Section64
	shstrtab     string
	symtab       int // section index, 0 for none
	xindex       []byte
	rawSyms      []byte
	strtab       string
	roles        []role // per section
	constructors []int  // sections put aside by refuseConstructor
	bounds       map[string]joined
	state        []symbolState // per symbol
	refs         map[uint32]*references
	refOrder     []uint32
	codeSeen     bool // some laid-out section has instructions
	overlap      bool // sections share bytes of the file

	violations []Violation
	omitted    int
	compared   int            // bytes of names, by nearest
	params     map[string]int // index into Plugin.Params by name
	slots      map[slot]bool  // of imports
}

// role is what becomes of a section.
type role uint8

const (
	roleOther  role = iota // not in memory: debug information, comments, tables of the ELF file itself
	roleLayout             // becomes part of the image
	roleUnwind             // in memory, but unused there: .eh_frame, .gcc_except_table
	roleNote
	roleRecord // consumed here: crpie_plugin, crpie_hooks, crpie_params, crpie_syscalls, crpie_imports
	roleRefused
)

// report records one violation. The fix is the rule's unless v has its own.
func (p *parser) report(v Violation) {
	if rule := Rule(v.Code); v.Fix == "" {
		v.Fix = rule.Fix
	}
	if v.Count == 0 {
		v.Count = len(v.Places)
	}
	if Rule(v.Code).Note {
		if len(p.plugin.Notes) < p.opts.MaxViolations {
			p.plugin.Notes = append(p.plugin.Notes, v)
		}
		return
	}
	if len(p.violations) >= p.opts.MaxViolations {
		p.omitted++
		return
	}
	p.violations = append(p.violations, v)
}

// full counts a violation that would be beyond the limit, before anything is spent on its words.
func (p *parser) full() bool {
	if len(p.violations) < p.opts.MaxViolations {
		return false
	}
	p.omitted++
	return true
}

// reportf is report for violations that need no more than a message and places.
func (p *parser) reportf(code Code, at []Place, format string, args ...any) {
	if Rule(code).Note || !p.full() {
		p.report(Violation{Code: code, Places: at, Message: fmt.Sprintf(format, args...)})
	}
}

// stop is reportf for steps that cannot go on.
func (p *parser) stop(code Code, format string, args ...any) bool {
	p.reportf(code, nil, format, args...)
	return false
}

// fail completes the violations with places and source lines; only objects that are refused pay for it.
func (p *parser) fail() *Error {
	p.addTrampolines()
	if !p.opts.NoLines {
		p.addLines()
	}
	return &Error{File: p.file, Violations: p.violations, Omitted: p.omitted}
}

func (p *parser) sectionName(i int) string {
	name, _ := nameAt(p.shstrtab, p.shdrs[i].Name)
	return name
}

// baseName names a plugin after its file.
func baseName(file string) string {
	file = path.Base(strings.ReplaceAll(file, `\`, "/"))
	return strings.TrimSuffix(file, ".o")
}
