// Package abi holds the numbers that Go and the C that runs inside a restored process agree on.
//
// Each constant and layout exists three times: here, in plugin-sdk/include/crpie/abi.h (plugins) or
// restorer/core/src/core.h (the restorer core), and in the test that compiles those headers and compares. What lives
// here never depends on another package of this module.
package abi

// Version is CRPIE_ABI_VERSION: the plugin interface this tree implements.
const Version = 2

// MaxPlugins is CRPIE_MAX_PLUGINS: so many the cores can keep apart.
const MaxPlugins = 1024

// Names of the sections in which a plugin object describes itself.
const (
	PluginSection = "crpie_plugin"
	HooksSection  = "crpie_hooks"
	ParamsSection = "crpie_params"
)

// Layout of struct crpie_plugin_record, in bytes.
const (
	NameMax             = 48
	PluginRecordSize    = 72
	PluginRecordABIOff  = 4
	PluginRecordNameOff = 8
	PluginRecordInitOff = 56
	PluginRecordExitOff = 64
)

// Layout of struct crpie_hook_record, in bytes.
const (
	HookRecordSize        = 24
	HookRecordABIOff      = 4
	HookRecordHookOff     = 8
	HookRecordPriorityOff = 12
	HookRecordFnOff       = 16
)

// Layout of struct crpie_param_record, in bytes, and its flag.
const (
	ParamRecordSize      = 288
	ParamRecordKindOff   = 8
	ParamRecordFlagsOff  = 12
	ParamRecordMinOff    = 16
	ParamRecordMaxOff    = 24
	ParamRecordNameOff   = 32
	ParamRecordValuesOff = 64
	ParamRecordHelpOff   = 160
	ParamRequired        = 1
)

// ParamKind is CRPIE_PARAM_KIND_*: what the value of a parameter is.
type ParamKind uint32

// The kinds.
const (
	ParamNone ParamKind = iota
	ParamString
	ParamInt
	ParamBool
	ParamEnum
	ParamSize
	ParamOneOf
	paramKindEnd
)

var paramKindNames = [...]string{"none", "string", "int", "bool", "enum", "size", "one of"}

// Known reports whether k is a kind of this ABI version.
func (k ParamKind) Known() bool { return k < paramKindEnd }

// String names a kind that is known.
func (k ParamKind) String() string { return paramKindNames[k] }
