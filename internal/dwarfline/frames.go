package dwarfline

import "bytes"

// Frame is a function's frame as call frame information has it, DWARF 5, section 6.4.
type Frame struct {
	At   uint64 // where in the section the function's address stands
	Size uint64 // bytes between the caller's frame and the lowest stack pointer
}

// Frames are the contents of a section .debug_frame, or .eh_frame of the Linux Standard Base, with references within
// the section applied.
type Frames struct {
	Data         []byte
	Unwind       bool   // .eh_frame
	Address      uint64 // of the section in a linked file
	StackPointer uint64 // its number in the psABI
}

// maxCommon bounds the common entries that one section may have: compilers write one for each object that ld -r joins.
const maxCommon = 4096

// common is a common information entry (CIE).
type common struct {
	augmented   bool // entries have the length of their augmentation data
	addressSize uint64
	encoding    byte // DW_EH_PE of addresses
	codeAlign   uint64
	dataAlign   int64
	returns     uint64   // the register that has the return address
	program     reader   // its instructions
	rules       cfaRules // what they set
}

// Visit calls visit with each frame whose size the section says: those that are described by the stack pointer. The
// frame of a function that keeps a frame pointer is not known. What cannot be read is left out.
func (f *Frames) Visit(visit func(Frame)) {
	f.Entries(func(e *Entry) bool {
		rules := e.common.rules
		if rules.run(e.program, e.common) {
			visit(Frame{At: e.At, Size: rules.deepest})
		}
		return true
	})
}

// Entries calls visit with each entry that describes code, until it returns false. What cannot be read is left out.
func (f *Frames) Entries(visit func(*Entry) bool) {
	entries := map[uint64]*common{}
	for r := (reader{left: f.Data}); len(r.left) > 0 && !r.bad; {
		start := f.offset(&r)
		unit, offsetSize := nextUnit(&r)
		if len(unit.left) == 0 {
			continue
		}
		field := f.offset(&r) - uint64(len(unit.left))
		if id := unit.uint(offsetSize); f.isCommon(id, offsetSize) {
			if len(entries) < maxCommon {
				c := f.readCommon(unit)
				entries[start] = &c
			}
		} else if c := entries[f.pointer(id, field)]; c != nil && c.addressSize != 0 {
			if !visit(f.readEntry(c, unit, field+offsetSize)) {
				return
			}
		}
	}
}

// readEntry reads an entry from its address on, which stands at a place of the section.
func (f *Frames) readEntry(c *common, r reader, at uint64) *Entry {
	e := &Entry{At: at, Start: f.address(c, r.uint(c.addressSize), at), Length: r.uint(c.addressSize), common: c}
	if c.augmented {
		r.take(r.uleb())
	}
	e.program = r
	return e
}

// address decodes the address of code of a linked file, LSB Core, section 10.5.
func (f *Frames) address(c *common, value, at uint64) uint64 {
	const signed, relative = 0x08, 0x70
	if c.encoding&signed != 0 {
		shift := 64 - 8*c.addressSize
		value = uint64(int64(value<<shift) >> shift)
	}
	if c.encoding&relative == 0x10 { // DW_EH_PE_pcrel
		value += f.Address + at
	}
	return value
}

// offset is the place of a reader in the section.
func (f *Frames) offset(r *reader) uint64 { return uint64(len(f.Data) - len(r.left)) }

// isCommon reports whether an entry is a CIE by its id: all ones, 0 in .eh_frame.
func (f *Frames) isCommon(id, size uint64) bool {
	return f.Unwind && id == 0 || !f.Unwind && id == ^uint64(0)>>(64-8*size)
}

// pointer gives the offset of an entry's CIE; in .eh_frame it counts backwards from where it stands.
func (f *Frames) pointer(id, field uint64) uint64 {
	if f.Unwind {
		return field - id
	}
	return id
}

// readCommon reads a CIE behind its id; the zero common if it cannot.
func (f *Frames) readCommon(r reader) (c common) {
	version := r.byte()
	augmentation := r.text()
	c.addressSize = 8
	if version == 4 {
		r.take(2) // sizes of addresses and of segment selectors
	}
	c.codeAlign = r.uleb()
	c.dataAlign = r.sleb()
	if version == 1 {
		c.returns = uint64(r.byte())
	} else {
		c.returns = r.uleb()
	}
	switch {
	case bytes.HasPrefix(augmentation, []byte("z")):
		c.augmented = true
		data := reader{left: r.take(r.uleb())}
		if !c.readAugmentation(augmentation[1:], data) {
			return common{}
		}
	case len(augmentation) > 0:
		return common{}
	}
	c.program = r
	c.rules = cfaRules{pointer: f.StackPointer}
	if !c.rules.run(r, &c) {
		return common{}
	}
	return c
}

// readAugmentation looks for the encoding of addresses, LSB Core, section 10.6: 8 bytes, or 4.
func (c *common) readAugmentation(letters []byte, data reader) bool {
	for _, letter := range letters {
		switch letter {
		case 'R':
			c.encoding = data.byte()
			c.addressSize = encodedSize(c.encoding)
		case 'L':
			data.byte()
		case 'P':
			data.take(encodedSize(data.byte()))
		case 'S', 'B': // a signal frame, pointer authentication
		default:
			return false
		}
	}
	return !data.bad && c.addressSize != 0
}

// encodedSize is the size of a pointer of a DW_EH_PE encoding, 0 if it varies.
func encodedSize(encoding byte) uint64 {
	switch encoding & 0xf {
	case 0x00, 0x04, 0x0c:
		return 8
	case 0x03, 0x0b:
		return 4
	case 0x02, 0x0a:
		return 2
	}
	return 0
}

// cfa is how the caller's frame address is found: a register and an offset.
type cfa struct {
	register, offset uint64
	known            bool // no expression
}

// cfaRules follows the instructions of an entry as far as they are about the frame address.
type cfaRules struct {
	now     cfa
	saved   [maxSaved]cfa
	depth   int // of saved
	pointer uint64
	deepest uint64 // largest offset from the stack pointer
}

// maxSaved bounds the states that instructions may remember; compilers need one or two.
const maxSaved = 8

// Call frame instructions, DWARF 5, section 7.24, and those of GNU.
const (
	cfaAdvance = 0x40 // in the upper two bits, as the next two
	cfaOffset  = 0x80
	cfaRestore = 0xc0

	cfaSetLoc         = 0x01
	cfaAdvance1       = 0x02
	cfaAdvance2       = 0x03
	cfaAdvance4       = 0x04
	cfaOffsetExtended = 0x05
	cfaRestoreExt     = 0x06
	cfaUndefined      = 0x07
	cfaSameValue      = 0x08
	cfaRegister       = 0x09
	cfaRemember       = 0x0a
	cfaRestoreState   = 0x0b
	cfaDef            = 0x0c
	cfaDefRegister    = 0x0d
	cfaDefOffset      = 0x0e
	cfaDefExpression  = 0x0f
	cfaExpression     = 0x10
	cfaOffsetSf       = 0x11
	cfaDefSf          = 0x12
	cfaDefOffsetSf    = 0x13
	cfaValOffset      = 0x14
	cfaValOffsetSf    = 0x15
	cfaValExpression  = 0x16
	cfaNegateState    = 0x2d // also DW_CFA_GNU_window_save
	cfaArgsSize       = 0x2e
	cfaNegative       = 0x2f
)

// run reports whether all instructions could be read.
func (s *cfaRules) run(r reader, c *common) bool {
	for len(r.left) > 0 && !r.bad {
		s.step(&r, c)
		if s.now.known && s.now.register == s.pointer && int64(s.now.offset) > 0 && !r.bad {
			s.deepest = max(s.deepest, s.now.offset)
		}
	}
	return !r.bad
}

// step carries out one instruction. It reads past the rules of registers, which do not move the frame address; DWARF 5,
// section 6.4.2, gives their operands.
func (s *cfaRules) step(r *reader, c *common) {
	op := r.byte()
	switch op & 0xc0 {
	case cfaAdvance, cfaRestore:
		return
	case cfaOffset:
		r.uleb()
		return
	}
	switch op {
	case 0, cfaNegateState:
	case cfaSetLoc:
		r.take(c.addressSize)
	case cfaAdvance1, cfaAdvance2, cfaAdvance4:
		r.take(1 << (op - cfaAdvance1))
	case cfaRestoreExt, cfaUndefined, cfaSameValue, cfaArgsSize:
		r.uleb()
	case cfaOffsetExtended, cfaRegister, cfaOffsetSf, cfaValOffset, cfaValOffsetSf, cfaNegative:
		r.uleb() // the second number may have a sign: it is as long
		r.uleb()
	case cfaExpression, cfaValExpression:
		r.uleb()
		r.take(r.uleb())
	default:
		s.define(op, r, c)
	}
}

// define carries out an instruction that sets the frame address.
func (s *cfaRules) define(op byte, r *reader, c *common) {
	switch op {
	case cfaRemember:
		if r.bad = s.depth == maxSaved; !r.bad {
			s.saved[s.depth] = s.now
			s.depth++
		}
	case cfaRestoreState:
		if r.bad = s.depth == 0; !r.bad {
			s.depth--
			s.now = s.saved[s.depth]
		}
	case cfaDef:
		s.now = cfa{r.uleb(), r.uleb(), true}
	case cfaDefSf:
		s.now = cfa{r.uleb(), uint64(r.sleb() * c.dataAlign), true}
	case cfaDefRegister:
		s.now.register = r.uleb()
	case cfaDefOffset:
		s.now.offset = r.uleb()
	case cfaDefOffsetSf:
		s.now.offset = uint64(r.sleb() * c.dataAlign)
	case cfaDefExpression:
		r.take(r.uleb())
		s.now.known = false
	default:
		r.bad = true
	}
}

// StackSizes calls visit with each entry of a section .stack_sizes, which clang writes: an address and the size of the
// function's frame, https://llvm.org/docs/CodeGenerator.html#emitting-function-stack-size-information.
func StackSizes(data []byte, visit func(Frame)) {
	for r := (reader{left: data}); len(r.left) > 0; {
		at := uint64(len(data) - len(r.left))
		r.take(8)
		size := r.uleb()
		if r.bad {
			return
		}
		visit(Frame{at, size})
	}
}
