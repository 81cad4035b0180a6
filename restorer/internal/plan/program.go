package plan

import (
	"encoding/binary"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/uapi"
)

// Words32 lays out 32-bit values.
func Words32(w []uint32) []byte {
	b := make([]byte, 4*len(w))
	for i, v := range w {
		binary.LittleEndian.PutUint32(b[4*i:], v)
	}
	return b
}

// Words64 lays out 64-bit values.
func Words64(w []uint64) []byte {
	b := make([]byte, 8*len(w))
	for i, v := range w {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	return b
}

// SetOption adds setsockopt(2) with an int.
func (p *Program) SetOption(number int, what string, level, option, value uint64) {
	v := p.Arena.Bytes(binary.LittleEndian.AppendUint32(nil, uint32(value)))
	p.Sys(what, uapi.SysSetsockopt, uint64(number), level, option, v, 4)
}

// Op is one operation of a restore program; the core carries it out (restorer/core/src/program.c).
type Op struct {
	Code  abi.OpCode
	Flags abi.OpFlags
	Nr    uint64 // system call number of x86-64, for OpSyscall
	Args  [abi.OpArgs]uint64
	Want  int64  // with OpWant: the only good result; with OpFD: the descriptor number to give the result
	What  string // for people: what this operation restores
	Phase string // in which it is carried out; empty: none that has a name

	arena *memory.Arena // to which its arguments point
}

// Program collects the operations of one thread.
type Program struct {
	Ops   []Op
	Arena *memory.Arena
	Phase string // of what is added
}

// usualOps is how many operations the program of a task without many files or mappings has.
const usualOps = 128

// NewTaskProgram begins the program of a task's first thread.
func NewTaskProgram(a *memory.Arena) *Program {
	return &Program{Ops: make([]Op, 0, usualOps), Arena: a}
}

func (p *Program) add(op Op) *Op {
	op.Phase, op.arena = p.Phase, p.Arena
	p.Ops = append(p.Ops, op)
	return &p.Ops[len(p.Ops)-1]
}

// Sys adds a system call that must not fail.
func (p *Program) Sys(what string, nr uint64, args ...uint64) *Op {
	op := Op{Code: abi.OpSyscall, Nr: nr, What: what}
	copy(op.Args[:], args)
	return p.add(op)
}

// Try adds a system call whose failure does not matter.
func (p *Program) Try(what string, nr uint64, args ...uint64) {
	p.Sys(what, nr, args...).Flags |= abi.OpMayFail
}

// Want adds a system call that must give result.
func (p *Program) Want(result int64, what string, nr uint64, args ...uint64) {
	op := p.Sys(what, nr, args...)
	op.Flags |= abi.OpWant
	op.Want = result
}

// Open adds a system call that gives a descriptor, which becomes number fd.
func (p *Program) Open(fd int, cloexec bool, what string, nr uint64, args ...uint64) {
	op := p.Sys(what, nr, args...)
	op.Flags |= abi.OpFD
	op.Want = int64(fd)
	if cloexec {
		op.Flags |= abi.OpCloexec
	}
}

// Core adds an operation that is not a plain system call.
func (p *Program) Core(what string, do abi.Operation) {
	op := Op{What: what}
	op.Code, op.Args = do.Encode()
	p.add(op)
}

// layOps lays out a program for the core and gives its address.
func layOps(a *memory.Arena, ops []Op) uint64 {
	addr := a.Reserve(len(ops) * abi.OpRecordSize)
	records := a.At(addr)
	for i := range ops {
		op := &ops[i]
		record := abi.OpRecord{Code: uint32(op.Code), Flags: uint32(op.Flags), Nr: op.Nr, Arg: op.Args,
			Want: op.Want}
		record.Put(records[i*abi.OpRecordSize:])
	}
	return addr
}
