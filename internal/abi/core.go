package abi

// Layout of the restorer core's structs (restorer/core/src/core.h), in bytes, and its numbers.
const (
	OpSize     = 72
	RunSize    = 32
	ThreadSize = 40
	TaskSize   = 72
	PlanSize   = 120
	VMASize    = 40
	MadvSize   = 8 // of crpie_ctx.vma_madv, which lies behind the mappings
	MMSize     = 104

	StatusSize = 56
	SharedSize = 48 // before the statuses

	LogRecordSize = 32
)

// Offsets within struct crpie_shared.
const (
	SharedBell    = 0
	SharedGate    = 4
	SharedReady   = 8
	SharedParked  = 12
	SharedLogHead = 16
	SharedLogTail = 24
	SharedLogOff  = 32
	SharedLogSize = 40
)

// Offsets within struct crpie_status.
const (
	StatusState   = 0
	StatusOp      = 4
	StatusResult  = 8
	StatusHook    = 16
	StatusPlugin  = 20
	StatusFn      = 24
	StatusHookSeq = 32
	StatusTraced  = 36
	StatusDetail  = 40
)

// States of a thread: CRPIE_STATE_*.
const (
	StateNew uint32 = iota
	StateRunning
	StateFailed
	StateParked
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

// LogLineMax is CRPIE_LOG_LINE_MAX, in bytes.
const LogLineMax = 1024
