package dwarfline

import (
	"slices"
	"sort"
)

// Sections are the contents of .debug_line, .debug_line_str and .debug_str, with relocations applied.
type Sections struct{ Line, LineStr, Str []byte }

// Position is a place of a source file; File is empty where none is known, Column is 0 if it is not known.
type Position struct {
	File         string
	Line, Column int
}

// Find returns the position of each address, in one pass over the table. If several sequences have an address, the
// first one counts. A unit that cannot be read is left out.
func (s *Sections) Find(addresses []uint64) []Position {
	m := matcher{found: make([]row, len(addresses)), pending: make([]query, len(addresses))}
	for i, a := range addresses {
		m.pending[i] = query{a, i}
	}
	slices.SortStableFunc(m.pending, func(a, b query) int {
		if a.address < b.address {
			return -1
		}
		return int(min(a.address-b.address, 1))
	})
	positions := make([]Position, len(addresses))
	for r := (reader{left: s.Line}); len(r.left) > 0 && len(m.pending) > 0; {
		unit, offsetSize := nextUnit(&r)
		h, ok := readHeader(&unit, offsetSize)
		if !ok {
			continue
		}
		m.hits = m.hits[:0]
		m.run(&h, &unit)
		m.name(&h, s, positions)
	}
	return positions
}

// FileName returns the path of a file by its number in the table of the unit at an offset of .debug_line; "" if it is
// not known.
func (s *Sections) FileName(unit, number uint64) string {
	if unit >= uint64(len(s.Line)) {
		return ""
	}
	r := reader{left: s.Line[unit:]}
	program, offsetSize := nextUnit(&r)
	h, ok := readHeader(&program, offsetSize)
	if !ok {
		return ""
	}
	names := map[uint64]string{number: ""}
	h.names(s, names)
	return names[number]
}

// nextUnit takes a unit off the table, and its length off the unit; DWARF 5, section 7.4.
func nextUnit(r *reader) (unit reader, offsetSize uint64) {
	length, offsetSize := r.uint(4), uint64(4)
	if length == 0xffffffff {
		length, offsetSize = r.uint(8), 8
	}
	return reader{left: r.take(length)}, offsetSize
}

// row is a row of the matrix that a program describes, as far as it is of interest.
type row struct {
	address, file uint64
	line, column  uint64
}

// query is an address that is looked for; index is its place among the answers.
type query struct {
	address uint64
	index   int
}

// matcher looks for addresses in the rows of programs. A row holds from its address to the next row's.
type matcher struct {
	pending []query // by address; without those that are found
	found   []row   // by index of the query
	hits    []int   // indexes of what the current program had
	last    row
	open    bool // last is a row of the current sequence
	next    int  // of pending, the first one not below last.address
}

// add takes the next row of a sequence.
func (m *matcher) add(r row, end bool) {
	switch {
	case !m.open || r.address < m.last.address:
		m.next = sort.Search(len(m.pending), func(i int) bool { return m.pending[i].address >= r.address })
	case m.next < len(m.pending) && m.pending[m.next].address < r.address:
		m.match(r.address)
	}
	m.last, m.open = r, !end
}

// match gives the last row to the addresses below end. They leave pending, so that each costs once.
func (m *matcher) match(end uint64) {
	stop := m.next
	for ; stop < len(m.pending) && m.pending[stop].address < end; stop++ {
		i := m.pending[stop].index
		m.found[i] = m.last
		m.hits = append(m.hits, i)
	}
	m.pending = slices.Delete(m.pending, m.next, stop)
}

// name turns the rows that a program had into positions.
func (m *matcher) name(h *header, s *Sections, positions []Position) {
	if len(m.hits) == 0 {
		return
	}
	names := map[uint64]string{}
	for _, i := range m.hits {
		names[m.found[i].file] = ""
	}
	h.names(s, names)
	for _, i := range m.hits {
		if r := m.found[i]; names[r.file] != "" {
			positions[i] = Position{names[r.file], int(uint32(r.line)), int(uint32(r.column))}
		}
	}
}
