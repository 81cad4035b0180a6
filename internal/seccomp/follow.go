package seccomp

import "slices"

// state holds for all ways that lead to an instruction: the values known before it.
type state struct {
	reached bool
	a, x    word
	mem     [memWords]word
}

// meet keeps what is known on both ways.
func (s *state) meet(other *state) {
	if !s.reached {
		*s = *other
		return
	}
	s.a, s.x = both(s.a, other.a), both(s.x, other.x)
	for i := range s.mem {
		s.mem[i] = both(s.mem[i], other.mem[i])
	}
}

func both(a, b word) word {
	if a != b {
		return word{}
	}
	return a
}

// Answers lists what the filter can return for a call, each value once. Jumps go forward only, so one look at each
// instruction is enough.
func (p Program) Answers(c *Call) []Answer {
	states := make([]state, len(p))
	// the kernel clears both, and refuses memory that is read unset
	states[0] = state{reached: true, a: is(0), x: is(0)}
	var answers []Answer
	for pc := range p {
		s := &states[pc]
		if !s.reached {
			continue
		}
		switch in := p[pc]; in.class() {
		case classRet:
			answers = append(answers, in.answer(s))
		case classJmp:
			in.jump(s, states[pc+1:])
		default:
			if mayFail := in.step(s, c); mayFail {
				answers = append(answers, KillThread) // a division by X = 0 ends the program with 0
			}
			states[pc+1].meet(s)
		}
	}
	slices.Sort(answers)
	return slices.Compact(answers)
}

// answer returns what a return instruction answers; the worst if that is not known.
func (i instruction) answer(s *state) Answer {
	switch {
	case i.code&retA == 0:
		return Answer(i.k)
	case s.a.known:
		return Answer(s.a.v)
	}
	return KillProcess // or anything else: the worst
}

// step carries out an instruction that goes on to the next one.
func (i instruction) step(s *state, c *Call) (mayFail bool) {
	switch i.class() {
	case classLd:
		s.a = i.loaded(s, c)
	case classLdx:
		s.x = i.loaded(s, c)
	case classSt:
		s.mem[i.k] = s.a
	case classStx:
		s.mem[i.k] = s.x
	case classMisc:
		if i.code&miscTxa != 0 {
			s.a = s.x
		} else {
			s.x = s.a
		}
	case classALU:
		by := i.operand(s)
		s.a = compute(i.op(), s.a, by)
		return i.op() == aluDiv && (!by.known || by.v == 0)
	}
	return false
}

// loaded returns the value that a load instruction loads.
func (i instruction) loaded(s *state, c *Call) word {
	switch i.code & 0xe0 {
	case modeAbs:
		return c.load(i.k)
	case modeMem:
		return s.mem[i.k]
	case modeLen:
		return is(dataSize)
	}
	return is(i.k)
}

func (i instruction) operand(s *state) word {
	if i.fromX() {
		return s.x
	}
	return is(i.k)
}

// compute gives the result of an arithmetic instruction, if its operands decide it.
func compute(op uint16, a, by word) word {
	if op == aluNeg {
		return word{a.known, -a.v}
	}
	if (op == aluAnd || op == aluMul) && (a == is(0) || by == is(0)) {
		return is(0)
	}
	if !a.known || !by.known || op == aluDiv && by.v == 0 {
		return word{}
	}
	switch op {
	case aluAdd:
		return is(a.v + by.v)
	case aluSub:
		return is(a.v - by.v)
	case aluMul:
		return is(a.v * by.v)
	case aluDiv:
		return is(a.v / by.v)
	case aluAnd:
		return is(a.v & by.v)
	case aluOr:
		return is(a.v | by.v)
	case aluXor:
		return is(a.v ^ by.v)
	}
	return shifted(op, a.v, by.v)
}

// shifted leaves shifts by more than a word open: kernels differ.
func shifted(op uint16, a, by uint32) word {
	switch {
	case by >= 32:
		return word{}
	case op == aluLsh:
		return is(a << by)
	}
	return is(a >> by)
}

// jump goes the ways that are open; rest begins with the next instruction.
func (i instruction) jump(s *state, rest []state) {
	if i.op() == jmpJa {
		rest[i.k].meet(s)
		return
	}
	by := i.operand(s)
	if s.a.known && by.known {
		skip := i.jf
		if holds(i.op(), s.a.v, by.v) {
			skip = i.jt
		}
		rest[skip].meet(s)
		return
	}
	yes := *s
	if i.op() == jmpJeq && by.known {
		yes.a = by
	}
	rest[i.jt].meet(&yes)
	rest[i.jf].meet(s)
}

// holds reports whether the condition of a jump is true.
func holds(op uint16, a, by uint32) bool {
	switch op {
	case jmpJeq:
		return a == by
	case jmpJgt:
		return a > by
	case jmpJge:
		return a >= by
	}
	return a&by != 0 // BPF_JSET
}
