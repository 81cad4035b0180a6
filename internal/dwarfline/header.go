package dwarfline

import (
	"bytes"
	"path"
)

// header is what precedes the opcodes of a line number program, DWARF 5, section 6.2.4.
type header struct {
	version    uint64
	offsetSize uint64 // 4, or 8 in the 64-bit format
	minInst    uint64 // length of the shortest instruction
	lineBase   int64
	lineRange  uint64
	lengths    []byte // number of operands of the standard opcodes, from opcode 1 on
	tables     []byte // directories and files, up to the program
}

// operands counts the operands of the standard opcodes 1 to 12, DWARF 5, section 6.2.5.2.
var operands = []byte{0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1}

// readHeader takes a header off a unit, whose length has been taken; r is left at the program.
func readHeader(r *reader, offsetSize uint64) (h header, ok bool) {
	h.offsetSize, h.version = offsetSize, r.uint(2)
	if h.version < 2 || h.version > 5 {
		return h, false
	}
	if h.version == 5 {
		r.take(2) // size of addresses and of segment selectors
	}
	in := reader{left: r.take(r.uint(offsetSize))}
	h.minInst = in.uint(1)
	if h.version >= 4 && in.byte() != 1 { // operations per instruction: more than one only on VLIW machines
		return h, false
	}
	in.byte() // the initial is_stmt: every row counts here
	h.lineBase, h.lineRange = int64(int8(in.byte())), in.uint(1)
	if base := in.uint(1); base > 0 {
		h.lengths = in.take(base - 1)
	}
	h.tables = in.left
	known := min(len(operands), len(h.lengths))
	return h, !in.bad && !r.bad && h.lineRange > 0 && bytes.Equal(h.lengths[:known], operands[:known])
}

// file is one entry of the file table, or of the directory table of DWARF 5.
type file struct {
	name      []byte
	directory uint64
}

// names returns the path of each wanted file.
func (h *header) names(s *Sections, wanted map[uint64]string) {
	files, directories := map[uint64]file{}, map[uint64]file{0: {}}
	for number := range wanted {
		files[number] = file{}
	}
	h.visit(s, func(uint64, file) {}, func(number uint64, f file) {
		if _, ok := files[number]; ok {
			files[number] = f
			directories[f.directory] = file{}
		}
	})
	h.visit(s, func(number uint64, f file) {
		if _, ok := directories[number]; ok {
			directories[number] = f
		}
	}, func(uint64, file) {})
	for number, f := range files {
		name, compilation := cut(f.name), ""
		if f.directory != 0 {
			compilation = cut(directories[0].name)
		}
		if name != "" {
			wanted[number] = join(compilation, join(cut(directories[f.directory].name), name))
		}
	}
}

// join makes a path of a directory and a name that may be relative to it. Before DWARF 5 only .debug_info has the
// directory of the compilation, so that paths are relative to it.
func join(directory, name string) string {
	if directory == "" || path.IsAbs(name) {
		return name
	}
	return path.Join(directory, name)
}

// maxPath is PATH_MAX of Linux.
const maxPath = 4096

// cut returns the text before the first NUL. Most entries are not wanted, so it is not looked for before.
func cut(b []byte) string {
	b, _, _ = bytes.Cut(b[:min(len(b), maxPath)], []byte{0})
	return string(b)
}

// visit calls visitDir and visitFile with every entry of the tables, up to one that cannot be read.
func (h *header) visit(s *Sections, visitDir, visitFile func(number uint64, f file)) {
	r := reader{left: h.tables}
	if h.version == 5 {
		h.visitEntries(&r, s, visitDir)
		h.visitEntries(&r, s, visitFile)
		return
	}
	for number := uint64(1); ; number++ {
		name := r.text()
		if len(name) == 0 {
			break
		}
		visitDir(number, file{name, 0})
	}
	for number := uint64(1); ; number++ {
		name := r.text()
		if len(name) == 0 {
			break
		}
		in := r.uleb()
		r.uleb() // time of modification
		r.uleb() // size
		visitFile(number, file{name, in})
	}
}

// Forms and content types of DWARF 5, sections 7.5.6 and 7.22.
const (
	formBlock   = 0x09
	formString  = 0x08
	formStrp    = 0x0e
	formUdata   = 0x0f
	formLineStr = 0x1f
	formData1   = 0x0b
	formData2   = 0x05
	formData4   = 0x06
	formData8   = 0x07
	formData16  = 0x1e

	contentPath      = 1
	contentDirectory = 2
)

// visitEntries reads one of the two tables of DWARF 5: a description of the entries, then the entries. Each has at
// least one byte for every member, so a number of entries beyond the table ends it.
func (h *header) visitEntries(r *reader, s *Sections, visit func(uint64, file)) {
	format := make([][2]uint64, r.uint(1)) // at most 255
	for i := range format {
		format[i] = [2]uint64{r.uleb(), r.uleb()}
	}
	count := r.uleb()
	if len(format) == 0 {
		r.bad = r.bad || count > 0
		return
	}
	for number := uint64(0); number < count && !r.bad; number++ {
		var f file
		for _, member := range format {
			text, value := h.form(r, s, member[1])
			switch member[0] {
			case contentPath:
				f.name = text
			case contentDirectory:
				f.directory = value
			}
		}
		if !r.bad {
			visit(number, f)
		}
	}
}

// form reads a member of an entry, a text or a number; one of a form that no compiler uses there makes r bad.
func (h *header) form(r *reader, s *Sections, form uint64) (text []byte, value uint64) {
	switch form {
	case formString:
		return r.text(), 0
	case formLineStr:
		return textAt(s.LineStr, r.uint(h.offsetSize)), 0
	case formStrp:
		return textAt(s.Str, r.uint(h.offsetSize)), 0
	case formUdata:
		return nil, r.uleb()
	case formBlock:
		r.take(r.uleb())
		return nil, 0
	case formData1:
		return nil, r.uint(1)
	case formData2:
		return nil, r.uint(2)
	case formData4:
		return nil, r.uint(4)
	case formData8:
		return nil, r.uint(8)
	case formData16:
		r.take(16) // a checksum
		return nil, 0
	}
	r.left, r.bad = nil, true
	return nil, 0
}

// textAt returns the bytes from an offset of a string section on; the text ends at a NUL.
func textAt(section []byte, off uint64) []byte { return section[min(off, uint64(len(section))):] }
