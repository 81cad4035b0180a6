package plan

import (
	"encoding/binary"
	"fmt"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/restorer/internal/uapi"
	"github.com/crpie/crpie/stage"
)

func Words32(w []uint32) []byte {
	b := make([]byte, 4*len(w))
	for i, v := range w {
		binary.LittleEndian.PutUint32(b[4*i:], v)
	}
	return b
}

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

// GateCreds is opened when every thread is traced: seccomp filters may be installed, and every process group exists.
const GateCreds = 1

// Barriers of a task, at which its other threads arrive and the leader waits; at barrierIDs all wait for all.
const (
	BarrierOwn   = iota // threads that have set themselves up
	BarrierHooks        // threads that have run their last hooks
	BarrierIDs          // threads that have changed their ids
)

// Op is one operation of a restore program; the core carries it out (restorer/core/src/program.c).
type Op struct {
	Code  abi.OpCode
	Flags abi.OpFlags
	Nr    uint64 // system call number of x86-64, for OpSyscall
	Args  [6]uint64
	Want  int64  // with OpWant: the only good result; with OpFD: the descriptor number to give the result
	What  string // for people: what this operation restores
}

// String reads like a line of strace, and says what for.
func (op *Op) String() string {
	s := op.call()
	switch {
	case op.Flags&abi.OpFD != 0:
		s += fmt.Sprintf(" as fd %d", op.Want)
	case op.Flags&abi.OpWant != 0:
		s += fmt.Sprintf(" = %#x", uint64(op.Want))
	}
	if op.What != "" {
		s += "  # " + op.What
	}
	return escape.Name(s)
}

var opNames = [...]string{
	abi.OpMark: "mark", abi.OpFollow: "follow", abi.OpBecome: "become task", abi.OpParent: "die with parent",
	abi.OpPipe: "pipe", abi.OpRead: "read memory", abi.OpClone: "clone task", abi.OpThread: "clone thread",
	abi.OpHook: "hooks", abi.OpGate: "wait for gate", abi.OpArrive: "arrive at barrier",
	abi.OpAwait: "await barrier", abi.OpReport: "report", abi.OpTimer: "timer_create", abi.OpPark: "park",
	abi.OpExit: "exit_group", abi.OpTraced: "wait to be traced", abi.OpUpdate: "update memory",
	abi.OpNameless:   "open without a name",
	abi.OpSocketpair: "socketpair",
	abi.OpPty:        "open pseudo-terminal",
	abi.OpType:       "type",
	abi.OpForget:     "forget events",
	abi.OpEnded:      "process that has ended",
	abi.OpGone:       "pidfds of a process that is gone",
	abi.OpCopy:       "copy",
	abi.OpLeave:      "leave the shared memory",
	abi.OpAio:        "make AIO context",
	abi.OpExpire:     "expire timer",
}

// call names the operation and its arguments.
func (op *Op) call() string {
	if op.Code == abi.OpSyscall {
		sc := uapi.Syscalls[op.Nr]
		return formatCall(sc.Name, op.Args[:sc.Args])
	}
	name := opNames[op.Code]
	switch op.Code {
	case abi.OpHook:
		return name + " " + stage.Stage(op.Args[0]).String()
	case abi.OpPark, abi.OpReport, abi.OpTraced, abi.OpLeave:
		return name
	case abi.OpFollow:
		return formatCall(name, op.Args[:2])
	case abi.OpMark, abi.OpBecome, abi.OpParent, abi.OpGate, abi.OpArrive, abi.OpExit, abi.OpThread, abi.OpClone:
		return formatCall(name, op.Args[:1])
	case abi.OpEnded:
		return formatCall(name, op.Args[:2])
	case abi.OpForget, abi.OpGone, abi.OpExpire:
		return formatCall(name, op.Args[:1])
	case abi.OpRead, abi.OpUpdate:
		return formatCall(name, op.Args[1:2])
	case abi.OpNameless:
		return formatCall(name, op.Args[2:5])
	case abi.OpPty:
		return formatCall(name, op.Args[1:4])
	}
	return formatCall(name, op.Args[:3])
}

func formatCall(name string, args []uint64) string {
	s := name + "("
	for i, a := range args {
		if i > 0 {
			s += ", "
		}
		if a < 10 {
			s += fmt.Sprint(a)
		} else if int64(a) < 0 && int64(a) > -4096 {
			s += fmt.Sprint(int64(a))
		} else {
			s += fmt.Sprintf("%#x", a)
		}
	}
	return s + ")"
}

// Program collects the operations of one thread.
type Program struct {
	Ops   []Op
	Arena *arena
}

func (p *Program) add(op Op) *Op {
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
func (p *Program) Core(code abi.OpCode, what string, args ...uint64) {
	op := Op{Code: code, What: what}
	copy(op.Args[:], args)
	p.add(op)
}

// arena is memory of the plan at known addresses: strings, structs and arrays that operations point to.
type arena struct {
	base uint64 // address of buf[0] in every task
	Buf  []byte
	strs map[string]uint64
}

func NewArena(base uint64) *arena { return &arena{base: base, strs: map[string]uint64{}} }

// Reserve gives the address of n zero bytes, aligned to 8.
func (a *arena) Reserve(n int) uint64 {
	for len(a.Buf)%8 != 0 {
		a.Buf = append(a.Buf, 0)
	}
	addr := a.base + uint64(len(a.Buf))
	a.Buf = append(a.Buf, make([]byte, n)...)
	return addr
}

func (a *arena) Bytes(b []byte) uint64 {
	addr := a.Reserve(len(b))
	copy(a.At(addr), b)
	return addr
}

// String gives the address of s with a terminating NUL; equal strings share one.
func (a *arena) String(s string) uint64 {
	if addr, ok := a.strs[s]; ok {
		return addr
	}
	addr := a.base + uint64(len(a.Buf))
	a.Buf = append(append(a.Buf, s...), 0)
	a.strs[s] = addr
	return addr
}

// Words lays out 64-bit values.
func (a *arena) Words(w ...uint64) uint64 {
	addr := a.Reserve(8 * len(w))
	b := a.At(addr)
	for i, v := range w {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	return addr
}

func (a *arena) At(addr uint64) []byte { return a.Buf[addr-a.base:] }

// ops lays out a program for the core and gives its address.
func (a *arena) ops(ops []Op) uint64 {
	addr := a.Reserve(len(ops) * abi.OpSize)
	b := a.At(addr)
	for i := range ops {
		encodeOp(b[i*abi.OpSize:], &ops[i])
	}
	return addr
}

func encodeOp(b []byte, op *Op) {
	le := binary.LittleEndian
	le.PutUint32(b[abi.OpCodeOff:], uint32(op.Code))
	le.PutUint32(b[abi.OpFlagsOff:], uint32(op.Flags))
	le.PutUint64(b[abi.OpNrOff:], op.Nr)
	for i, a := range op.Args {
		le.PutUint64(b[abi.OpArgOff+8*i:], a)
	}
	le.PutUint64(b[abi.OpWantOff:], uint64(op.Want))
}
