package abi

// Layout of the structs of abi.h that a plan holds, in bytes.
const (
	VMASize  = 40
	MadvSize = 8 // of crpie_ctx.vma_madv, which lies behind the mappings
	MMSize   = 104
)

// Offsets within struct crpie_vma.
const (
	VMAStartOff = 0
	VMAEndOff   = 8
	VMAProtOff  = 16
	VMAFlagsOff = 20
	VMAPgoffOff = 24
	VMANameOff  = 32
)

// States of a thread: CRPIE_STATE_*.
const (
	StateNew uint32 = iota
	StateRunning
	StateFailed
	StateParked
	StateLeft
)

// OpCode is CRPIE_OP_*.
type OpCode uint32

// Operations of a restore program.
const (
	OpSyscall OpCode = iota
	OpPipe
	OpRead
	OpClone
	OpThread
	OpHook
	OpGate
	OpArrive
	OpAwait
	OpReport
	OpTimer
	OpPark
	OpExit
	OpTraced
	OpUpdate
	OpNameless
	OpSocketpair
	OpPty
	OpType
	OpLeave
)

// Operations by which tasks wait for each other, the zygote becomes the root task, and a task dies with its parent.
const (
	OpMark   OpCode = 20
	OpFollow OpCode = 21
	OpBecome OpCode = 30
	OpParent OpCode = 31
)

// OpForget empties a queue of events.
const OpForget OpCode = 40

// OpGone makes pidfds of a process that is gone.
const OpGone OpCode = 41

// OpEnded makes a process that has ended.
const OpEnded OpCode = 42

// OpAio makes an AIO context, OpCopy writes to memory.
const (
	OpAio  OpCode = 22
	OpCopy OpCode = 23
)

// OpExpire lets a posix timer expire.
const OpExpire OpCode = 50

// OpFlags is CRPIE_OPF_*.
type OpFlags uint32

// Flags of an operation.
const (
	OpMayFail OpFlags = 1 << iota
	OpWant
	OpFD
	OpCloexec
	OpInject
)

// NrBarriers is CRPIE_NR_BARRIERS.
const NrBarriers = 64

// StackGuard and StackSlot are CRPIE_STACK_GUARD and CRPIE_STACK_SLOT, in bytes.
const (
	StackGuard = 1 << 20
	StackSlot  = StackGuard + 124<<10
)

// LogLineMax is CRPIE_LOG_LINE_MAX, in bytes.
const LogLineMax = 1024
