package plan

import (
	"fmt"
	"strconv"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/stage"
)

// String reads like a line of strace(1), and says what for.
func (op *Op) String() string {
	info := op.describe()
	return info.text()
}

func (op *Op) describe() OperationInfo {
	name, args := op.words()
	return OperationInfo{Call: name, Args: list(args), Result: op.result(), For: op.What, Phase: op.Phase}
}

// result prints the result that the operation must have: a value, the number that the new descriptor gets, or ? if any
// will do.
func (op *Op) result() string {
	switch {
	case op.Flags&abi.OpMayFail != 0:
		return "?"
	case op.Flags&(abi.OpFD|abi.OpCloexec) == abi.OpFD|abi.OpCloexec:
		return fmt.Sprintf("%d, FD_CLOEXEC", op.Want)
	case op.Flags&abi.OpFD != 0:
		return strconv.FormatInt(op.Want, 10)
	case op.Flags&abi.OpWant != 0:
		return resultValue(op.Want)
	}
	return ""
}

// resultValue prints addresses in hexadecimal, and counts and ids, which are smaller, in decimal.
func resultValue(v int64) string {
	const largestID = 1 << 22 // PID_MAX_LIMIT, include/linux/threads.h
	if v < 0 || v > largestID {
		return fmt.Sprintf("%#x", uint64(v))
	}
	return strconv.FormatInt(v, 10)
}

// words prints name and arguments. Operations of the core, which have no man page, name their arguments.
func (op *Op) words() (name string, args []string) {
	var mem uapi.Memory
	if op.arena != nil {
		mem = op.arena
	}
	if op.Code == abi.OpSyscall {
		return uapi.FormatCall(op.Nr, op.Args[:], mem)
	}
	info := &abi.Ops[op.Code]
	for i, arg := range info.Args {
		if arg.Kind != abi.ArgHidden {
			args = append(args, arg.Name+"="+formatArg(arg.Kind, op.Args[i:], mem))
		}
	}
	return info.Name, args
}

// formatArg prints the first argument of the core's.
func formatArg(kind abi.ArgKind, args []uint64, mem uapi.Memory) string {
	v := args[0]
	if name := kind.ValueName(v); name != "" {
		return name
	}
	if kind == abi.ArgStage {
		return stage.Stage(v).String()
	}
	return uapi.Format([]uapi.Arg{kinds[kind]}, args, mem)[0]
}

// kinds says what arguments of the core's have in common with those of system calls.
var kinds = [...]uapi.Arg{
	abi.ArgInt:        {Kind: uapi.Int},
	abi.ArgHex:        {Kind: uapi.Hex},
	abi.ArgFD:         {Kind: uapi.FD},
	abi.ArgString:     {Kind: uapi.String},
	abi.ArgBytes:      {Kind: uapi.Bytes},
	abi.ArgSigevent:   {Kind: uapi.Pointer, Of: &uapi.Sigevent},
	abi.ArgItimerspec: {Kind: uapi.Pointer, Of: &uapi.Itimerspec},
	abi.ArgMode:       {Kind: uapi.Mode},
	abi.ArgOpenFlags:  {Kind: uapi.Words, Set: &uapi.OpenFlags},
	abi.ArgPipeFlags:  {Kind: uapi.Words, Set: &uapi.StatusFlags},
	abi.ArgSockType:   {Kind: uapi.Words, Set: &uapi.SockTypes},
	abi.ArgCloneFlags: {Kind: uapi.Words, Set: &uapi.CloneFlags},
	abi.ArgClock:      {Kind: uapi.Words, Set: &uapi.Clocks},
	abi.ArgMark:       {Kind: uapi.Int},
}
