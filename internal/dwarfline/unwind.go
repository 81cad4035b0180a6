package dwarfline

// Entry is a frame description entry: it tells of the frame at each instruction of a stretch of code.
type Entry struct {
	At            uint64 // where in the section the address of the code stands
	Start, Length uint64 // of the code; Start only in a linked file
	common        *common
	program       reader
}

// Rule says where the caller's value of a register is.
type Rule struct {
	Kind   RuleKind
	Offset int64 // from the frame address
}

// RuleKind is the kind of a Rule.
type RuleKind byte

// The rules. What an expression or another register would give is Lost.
const (
	Same  RuleKind = iota // the register still has it
	Lost                  // nobody knows it
	Saved                 // in memory, at the frame address plus Offset
	Value                 // it is the frame address plus Offset
)

// Registers is how many registers a Row tells of: those of x86-64 up to the return address, psABI, 3.6.2.
const Registers = 17

// Row is what is true of a frame at one instruction: the frame address is Register's value plus Offset.
type Row struct {
	Register uint64
	Offset   int64
	Rules    [Registers]Rule
	Returns  uint64 // the register whose rule gives the return address
}

// Caller gives the registers of the caller: r are those of the function at the row's instruction, word reads memory. It
// is false if the return address is not known.
func (row *Row) Caller(r *[Registers]uint64, word func(addr uint64) (uint64, bool)) (next [Registers]uint64, ok bool) {
	const stackPointer, returns = 7, Registers - 1
	next = *r
	address := r[row.Register] + uint64(row.Offset)
	for i, rule := range row.Rules {
		switch rule.Kind {
		case Saved:
			if next[i], ok = word(address + uint64(rule.Offset)); !ok {
				return next, false
			}
		case Value:
			next[i] = address + uint64(rule.Offset)
		case Lost:
			next[i] = 0
		}
	}
	next[returns], next[stackPointer] = next[row.Returns], address
	return next, row.Rules[row.Returns].Kind == Saved
}

// maxProgram bounds the instructions of an entry, bytes: each look for a row carries them out again.
const maxProgram = 64 << 10

// Row gives the row that holds at an offset into the code; false if the frame address takes an expression, or the
// instructions are too many.
func (e *Entry) Row(offset uint64) (Row, bool) {
	if len(e.program.left) > maxProgram || len(e.common.program.left) > maxProgram {
		return Row{}, false
	}
	m := unwinder{common: e.common, end: offset, started: true}
	if !m.run(e.common.program) {
		return Row{}, false
	}
	m.initial, m.at, m.started = m.now, 0, false
	if !m.run(e.program) || !m.now.known {
		return Row{}, false
	}
	row := Row{Register: m.now.register, Offset: int64(m.now.offset), Rules: m.now.rules, Returns: e.common.returns}
	return row, row.Register < Registers && row.Returns < Registers
}

// state is a row that is being computed.
type state struct {
	cfa
	rules [Registers]Rule
}

// unwinder carries instructions out, DWARF 5, section 6.4.2.
type unwinder struct {
	common  *common
	at, end uint64 // of the code
	started bool   // the instructions are the common ones, which have no place
	initial state
	now     state
	saved   []state
}

// run reports whether all instructions up to the place that is asked for could be read.
func (m *unwinder) run(r reader) bool {
	for len(r.left) > 0 && !r.bad && (m.started || m.at <= m.end) {
		before := m.now
		m.step(&r)
		if !m.started && m.at > m.end {
			m.now = before
		}
	}
	return !r.bad
}

func (m *unwinder) advance(by uint64) { m.at += by * m.common.codeAlign }

func (m *unwinder) set(register uint64, rule Rule) {
	if register < Registers {
		m.now.rules[register] = rule
	}
}

func (m *unwinder) restore(register uint64) {
	if register < Registers {
		m.now.rules[register] = m.initial.rules[register]
	}
}

// step carries out one instruction.
func (m *unwinder) step(r *reader) {
	op := r.byte()
	low := uint64(op & 0x3f)
	switch op & 0xc0 {
	case cfaAdvance:
		m.advance(low)
		return
	case cfaOffset:
		m.set(low, Rule{Saved, int64(r.uleb()) * m.common.dataAlign})
		return
	case cfaRestore:
		m.restore(low)
		return
	}
	switch op {
	case cfaSetLoc:
		r.bad = true // no compiler for x86-64 writes it
	case cfaAdvance1, cfaAdvance2, cfaAdvance4:
		m.advance(r.uint(1 << (op - cfaAdvance1)))
	case cfaRemember:
		if r.bad = len(m.saved) == maxSaved; !r.bad {
			m.saved = append(m.saved, m.now)
		}
	case cfaRestoreState:
		if r.bad = len(m.saved) == 0; !r.bad {
			m.now, m.saved = m.saved[len(m.saved)-1], m.saved[:len(m.saved)-1]
		}
	default:
		m.rule(op, r)
	}
}

// rule carries out an instruction that is about a register or the frame address.
func (m *unwinder) rule(op byte, r *reader) {
	switch op {
	case cfaOffsetExtended:
		m.set(r.uleb(), Rule{Saved, int64(r.uleb()) * m.common.dataAlign})
	case cfaOffsetSf:
		m.set(r.uleb(), Rule{Saved, r.sleb() * m.common.dataAlign})
	case cfaNegative:
		m.set(r.uleb(), Rule{Saved, -int64(r.uleb()) * m.common.dataAlign})
	case cfaValOffset:
		m.set(r.uleb(), Rule{Value, int64(r.uleb()) * m.common.dataAlign})
	case cfaValOffsetSf:
		m.set(r.uleb(), Rule{Value, r.sleb() * m.common.dataAlign})
	case cfaRestoreExt:
		m.restore(r.uleb())
	case cfaSameValue:
		m.set(r.uleb(), Rule{Kind: Same})
	case cfaUndefined:
		m.set(r.uleb(), Rule{Kind: Lost})
	case cfaRegister:
		m.set(r.uleb(), Rule{Kind: Lost})
		r.uleb()
	case cfaExpression, cfaValExpression:
		m.set(r.uleb(), Rule{Kind: Lost})
		r.take(r.uleb())
	default:
		m.frameAddress(op, r)
	}
}

// frameAddress carries out what the sizes of frames take, too.
func (m *unwinder) frameAddress(op byte, r *reader) {
	rules := cfaRules{now: m.now.cfa}
	switch op {
	case 0, cfaNegateState:
	case cfaArgsSize:
		r.uleb()
	default:
		rules.define(op, r, m.common)
	}
	m.now.cfa = rules.now
}
