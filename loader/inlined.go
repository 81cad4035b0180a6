package loader

import (
	"debug/dwarf"
	"slices"
)

// SourceLine is a line of a source file.
type SourceLine struct {
	File string
	Line int
}

// InlinedAt tells where a function was called whose code the compiler has put into its caller, and where that one was,
// if it was put into another, and so on. It is empty for code that is its own function's, and without debug information.
// debug/dwarf reads that: it is for objects that have been run, which are trusted.
func (p *Plugin) InlinedAt(sec *Section, off Offset) []SourceLine {
	p.lazy.linesOnce.Do(func() { p.lazy.lines = newLineTable(p) })
	t := p.lazy.lines
	at, ok := t.address(p, &Place{Offset: off, index: sec.Index})
	if !ok {
		return nil
	}
	data, err := p.dwarf(t.base)
	if err != nil {
		return nil
	}
	r := data.Reader()
	unit, err := r.SeekPC(at)
	if err != nil {
		return nil
	}
	program, _ := unit.Val(dwarf.AttrStmtList).(int64)
	calls := callsAround(data, r, at)
	lines := make([]SourceLine, len(calls))
	for i, c := range calls {
		lines[i] = SourceLine{clip(t.sections.FileName(uint64(program), uint64(c.file))), int(c.line)}
	}
	return lines
}

// dwarf gives debug/dwarf what it needs, relocated. The line tables are not among it: package dwarfline reads those.
func (p *Plugin) dwarf(base []uint64) (*dwarf.Data, error) {
	left := maxDebug
	section := func(name string) []byte {
		b, _ := p.debugSection(name, base, left)
		left -= len(b)
		return b
	}
	data, err := dwarf.New(section(".debug_abbrev"), nil, nil, section(".debug_info"), nil, nil,
		section(".debug_ranges"), section(".debug_str"))
	for _, name := range []string{".debug_addr", ".debug_line_str", ".debug_rnglists", ".debug_str_offsets"} {
		if err == nil {
			err = data.AddSection(name, section(name))
		}
	}
	return data, err
}

// inlinedCall is where a function was called that has no code of its own.
type inlinedCall struct{ file, line int64 }

// callsAround walks the entries of a unit that have an address, from the outermost on; DWARF 5, section 3.3.8.
func callsAround(data *dwarf.Data, r *dwarf.Reader, at uint64) (calls []inlinedCall) {
	for depth := 0; depth >= 0; {
		e, err := r.Next()
		switch {
		case err != nil || e == nil:
			return nil
		case e.Tag == 0:
			depth--
			continue
		case !mayHaveCode(data, e, at):
			r.SkipChildren()
			continue
		case e.Tag == dwarf.TagInlinedSubroutine:
			file, _ := e.Val(dwarf.AttrCallFile).(int64)
			line, _ := e.Val(dwarf.AttrCallLine).(int64)
			calls = append(calls, inlinedCall{file, line})
		}
		if e.Children {
			depth++
		}
	}
	slices.Reverse(calls)
	return calls
}

// mayHaveCode reports whether an entry, or one below it, has an address.
func mayHaveCode(data *dwarf.Data, e *dwarf.Entry, at uint64) bool {
	switch e.Tag {
	case dwarf.TagNamespace, dwarf.TagStructType, dwarf.TagClassType:
		return true
	case dwarf.TagSubprogram, dwarf.TagInlinedSubroutine, dwarf.TagLexDwarfBlock:
		ranges, _ := data.Ranges(e)
		return slices.ContainsFunc(ranges, func(r [2]uint64) bool { return r[0] <= at && at < r[1] })
	}
	return false
}
