package dwarfline

// Opcodes of line number programs, DWARF 5, section 7.22.
const (
	opExtended     = 0
	opCopy         = 1
	opAdvancePC    = 2
	opAdvanceLine  = 3
	opSetFile      = 4
	opSetColumn    = 5
	opConstAddPC   = 8
	opFixedAdvance = 9

	extEndSequence = 1
	extSetAddress  = 2
)

// first is the state at the start of a sequence, DWARF 5, section 6.2.2.
var first = row{file: 1, line: 1}

// run carries a program out. A sequence that it breaks off ends there.
func (m *matcher) run(h *header, r *reader) {
	m.open = false
	state, special := first, len(h.lengths)+1 // the first special opcode
	for len(r.left) > 0 {
		op := int(r.byte())
		switch {
		case op >= special:
			h.advance(&state, uint64(op-special))
			state.line += uint64(h.lineBase + int64(uint64(op-special)%h.lineRange))
			m.add(state, false)
		case op == opExtended:
			m.extended(&state, &reader{left: r.take(r.uleb())})
		default:
			m.standard(h, r, &state, op)
		}
	}
}

// advance moves the address as a special opcode does.
func (h *header) advance(state *row, adjusted uint64) {
	state.address += adjusted / h.lineRange * h.minInst
}

// standard carries out an opcode of DWARF 5, section 6.2.5.2. The header tells how many operands an opcode has that
// this code does not know.
func (m *matcher) standard(h *header, r *reader, state *row, op int) {
	switch op {
	case opCopy:
		m.add(*state, false)
	case opAdvancePC:
		state.address += r.uleb() * h.minInst
	case opAdvanceLine:
		state.line += uint64(r.sleb())
	case opSetFile:
		state.file = r.uleb()
	case opSetColumn:
		state.column = r.uleb()
	case opConstAddPC:
		h.advance(state, uint64(255-len(h.lengths)-1))
	case opFixedAdvance:
		state.address += r.uint(2)
	default: // flags that do not matter here, or opcodes of other standards
		for range h.lengths[op-1] {
			r.uleb()
		}
	}
}

// extended carries out an opcode of DWARF 5, section 6.2.5.3. Its length comes first, so unknown ones can be skipped.
func (m *matcher) extended(state *row, r *reader) {
	switch r.byte() {
	case extEndSequence:
		m.add(*state, true)
		*state = first
	case extSetAddress:
		state.address = r.uint(uint64(len(r.left)))
	}
}
