package abi

// Layout of the structs that Go and the restorer core share (restorer/core/src/core.h), in bytes: sizes, and every member's
// offset by its name in C.

// Sizes. SharedSize and ControlSize come before the arrays that end those structs.
const (
	OpSize        = 72
	RunSize       = 32
	ThreadSize    = 40
	TaskSize      = 72
	PlanSize      = 160
	StatusSize    = 48
	SharedSize    = 16
	ControlSize   = 8
	BellSize      = 16
	CallSize      = 16
	LogRecordSize = 32
)

// Offsets within struct crpie_table.
const (
	TableSizeOff      = 0
	TableABIOff       = 4
	TablePluginsOff   = 8
	TableNrPluginsOff = 16
	TableHooksOff     = 24
	TableNrHooksOff   = 32
	TableReservedOff  = 40
)

// Offsets within struct crpie_table_plugin.
const (
	TablePluginNameOff     = 0
	TablePluginParamsOff   = 8
	TablePluginNrParamsOff = 16
	TablePluginInitOff     = 24
	TablePluginExitOff     = 32
)

// Offsets within struct crpie_table_hook.
const (
	TableHookHookOff     = 0
	TableHookPriorityOff = 4
	TableHookPluginOff   = 8
	TableHookReservedOff = 12
	TableHookFnOff       = 16
)

// Offsets within struct crpie_op.
const (
	OpCodeOff  = 0
	OpFlagsOff = 4
	OpNrOff    = 8
	OpArgOff   = 16
	OpWantOff  = 64
)

// Offsets within struct crpie_run.
const (
	RunAddrOff = 0
	RunLenOff  = 8
	RunOffOff  = 16
	RunFDOff   = 24
)

// Offsets within struct crpie_thread.
const (
	ThreadTidOff       = 0
	ThreadStatusOff    = 4
	ThreadOpsOff       = 8
	ThreadNrOpsOff     = 16
	ThreadStackOff     = 24
	ThreadStackSizeOff = 32
)

// Offsets within struct crpie_task.
const (
	TaskPidOff             = 0
	TaskNrThreadsOff       = 4
	TaskThreadsOff         = 8
	TaskCommOff            = 16
	TaskVMAsOff            = 24
	TaskNrVMAsOff          = 32
	TaskMMOff              = 40
	TaskReaderStackOff     = 48
	TaskReaderStackSizeOff = 56
	TaskRunsOff            = 64
)

// Offsets within struct crpie_plan.
const (
	PlanSizeOff          = 0
	PlanABIOff           = 4
	PlanTableOff         = 8
	PlanSharedOff        = 16
	PlanSharedSizeOff    = 24
	PlanControlOff       = 32
	PlanBellOff          = 40
	PlanLogOffOff        = 48
	PlanLogSizeOff       = 56
	PlanRegionStartOff   = 64
	PlanRegionEndOff     = 72
	PlanTasksOff         = 80
	PlanNrTasksOff       = 88
	PlanZygoteOff        = 96
	PlanDumpTimeNsOff    = 136
	PlanRestoreTimeNsOff = 144
	PlanLogLevelOff      = 152
	PlanNrParkingOff     = 156
)

// Offsets within struct crpie_status.
const (
	StatusStateOff   = 0
	StatusOpOff      = 4
	StatusResultOff  = 8
	StatusHookOff    = 16
	StatusPluginOff  = 20
	StatusFnOff      = 24
	StatusHookSeqOff = 32
	StatusMarkOff    = 36
	StatusDetailOff  = 40
)

// Offsets within struct crpie_shared.
const (
	SharedLogHeadOff = 0
	SharedLogTailOff = 8
	SharedStatusOff  = 16
)

// Offsets within struct crpie_control.
const (
	ControlGateOff       = 0
	ControlControllerOff = 4
	ControlTracedOff     = 8
)

// Offsets within struct crpie_bell.
const (
	BellRungOff   = 0
	BellNewsOff   = 4
	BellReadyOff  = 8
	BellParkedOff = 12
	BellCallOff   = 16
)

// Offsets within struct crpie_call.
const (
	CallHookOff   = 0
	CallPluginOff = 4
	CallFnOff     = 8
)

// Offsets within struct crpie_log_record.
const (
	LogRecordLenOff     = 0
	LogRecordLevelOff   = 4
	LogRecordPidOff     = 8
	LogRecordTidOff     = 12
	LogRecordHookOff    = 16
	LogRecordPluginOff  = 20
	LogRecordTextLenOff = 24
	LogRecordPadOff     = 28
)
