// Package abi holds the numbers that Go and the C that runs inside a restored process agree on: offsets, operations,
// structs.
//
// contract.go is generated from the tables of internal/contract, and so are the headers of the cores; plugin-sdk's
// abi.h is written by hand and compared. What lives here never depends on another package of this module.
package abi

//go:generate go run ../contract/generate ../..

// Names of the sections in which a plugin object describes itself.
const (
	PluginSection = "crpie_plugin"
	HooksSection  = "crpie_hooks"
	ParamsSection = "crpie_params"

	SyscallsSection = "crpie_syscalls"
	ImportsSection  = "crpie_imports"
)

var paramKindNames = [...]string{"none", "string", "int", "bool", "enum", "size", "one of"}

// Known reports whether k is a kind of this ABI version.
func (k ParamKind) Known() bool { return k <= ParamOneOf }

// String names a kind that is known.
func (k ParamKind) String() string { return paramKindNames[k] }

// Operation is an operation of a restore program with its arguments by name.
type Operation interface {
	Encode() (OpCode, [OpArgs]uint64)
}

// OpInfo describes an operation.
type OpInfo struct {
	Name  string
	Args  []ArgInfo
	Waits bool // for the controller, or for other threads and tasks
}

// ArgInfo describes an argument of an operation.
type ArgInfo struct {
	Name string
	Kind ArgKind
}

// ArgKind says how an argument is printed.
type ArgKind int

// The kinds.
const (
	ArgHidden ArgKind = iota // not at all
	ArgInt
	ArgHex
	ArgFD
	ArgString // the address of a string
	ArgBytes  // the address of as many bytes as the next argument says
	ArgSigevent
	ArgItimerspec
	ArgMode // octal
	ArgOpenFlags
	ArgPipeFlags
	ArgSockType
	ArgCloneFlags
	ArgClock
	ArgStage
	ArgGate
	ArgBarrier
	ArgMark
)
