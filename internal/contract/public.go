package contract

import "slices"

const (
	nameMax, paramNameMax, paramValuesMax, paramHelpMax, paramDefaultMax = 48, 32, 96, 128, 64
	importSymbolMax, importLibraryMax                                    = 192, 64

	firstHook, firstDumpHook = 0x100, 0x180
)

// Public is the contract with plugins: plugin-sdk/include/crpie/abi.h, which is written by hand, because plugin authors
// read it.
func Public() *Group {
	return &Group{Name: "plugins", Prefix: "crpie_", Structs: publicStructs(), Enums: publicEnums(),
		Numbers: publicNumbers()}
}

// publicNumbers repeats the macros of abi.h, which tests compare with this list.
func publicNumbers() []Number {
	return []Number{
		{C: "CRPIE_ABI_VERSION", Go: "Version", Value: 5,
			About: "the plugin interface that this tree implements"},
		{C: "CRPIE_NAME_MAX", Go: "NameMax", Value: nameMax,
			About: "a plugin's name with its terminating NUL, bytes"},
		{C: "CRPIE_LOG_LINE_MAX", Go: "LogLineMax", Value: 1024, About: "longer log messages are cut, bytes"},
		{C: "CRPIE_SYSCALL_COMPUTED", Go: "SyscallComputed", Value: 0xffffffff,
			About: "the plugin computes the number of the call"},
		{C: "CRPIE_PARAM_NAME_MAX", Value: paramNameMax},
		{C: "CRPIE_PARAM_VALUES_MAX", Value: paramValuesMax},
		{C: "CRPIE_PARAM_HELP_MAX", Value: paramHelpMax},
		{C: "CRPIE_PARAM_DEFAULT_MAX", Value: paramDefaultMax},
		{C: "CRPIE_IMPORT_SYMBOL_MAX", Value: importSymbolMax},
		{C: "CRPIE_IMPORT_LIBRARY_MAX", Value: importLibraryMax},
	}
}

// stages are the hooks in the order of their numbers.
var stages = []string{"TASK_CREATED", "POST_MEMORY", "POST_FILES", "POST_THREADS", "PRE_CREDS",
	"PRE_SIGRETURN_THREAD", "PRE_SIGRETURN", "MAX"}

// dumpStages are those around a dump.
var dumpStages = []string{"PRE_DUMP", "RESUMED", "MAX"}

// hooks are numbers that follow each other.
func hooks(prefix string, first int, names []string) (all []Enumerator) {
	for i, name := range names {
		all = append(all, Enumerator{C: prefix + name, Value: first + i})
	}
	return all
}

// publicEnums has CRIU's values where CRIU has the same thing: the stages of init and exit (criu-plugin.h), log levels
// (criu-log.h). CRIU's own hooks count up from 0, so the ones here begin at 0x100.
func publicEnums() []Enum {
	return []Enum{
		{Members: append(hooks("CR_PLUGIN_HOOK__PIE_RST_", firstHook, stages),
			hooks("CR_PLUGIN_HOOK__PIE_DMP_", firstDumpHook, dumpStages)...)},
		{Members: []Enumerator{{C: "CRPIE_HOOK_INIT", Value: 0xf0}, {C: "CRPIE_HOOK_EXIT", Value: 0xf1}}},
		{Members: []Enumerator{
			{C: "CR_PLUGIN_STAGE__DUMP", Value: 0}, {C: "CR_PLUGIN_STAGE__PRE_DUMP", Value: 1},
			{C: "CR_PLUGIN_STAGE__RESTORE", Value: 2},
		}},
		{Members: []Enumerator{
			{C: "CRPIE_LOG_ERROR", Value: 1}, {C: "CRPIE_LOG_WARN", Value: 2},
			{C: "CRPIE_LOG_INFO", Value: 3},
			{C: "CRPIE_LOG_DEBUG", Value: 4},
		}},
		{
			Go: "ParamKind", GoBase: "uint32", About: "What the value of a parameter is.",
			Members: []Enumerator{
				{"CRPIE_PARAM_KIND_NONE", "ParamNone", 0, ""},
				{"CRPIE_PARAM_KIND_STRING", "ParamString", 1, ""},
				{"CRPIE_PARAM_KIND_INT", "ParamInt", 2, ""},
				{"CRPIE_PARAM_KIND_BOOL", "ParamBool", 3, ""},
				{"CRPIE_PARAM_KIND_ENUM", "ParamEnum", 4, ""},
				{"CRPIE_PARAM_KIND_SIZE", "ParamSize", 5, ""},
				{"CRPIE_PARAM_KIND_ONE_OF", "ParamOneOf", 6, ""},
			},
		},
		{About: "What a timer is.", Members: []Enumerator{
			{"CRPIE_TIMER_REAL", "TimerReal", 0, ""}, {"CRPIE_TIMER_VIRTUAL", "TimerVirtual", 1, ""},
			{"CRPIE_TIMER_PROF", "TimerProf", 2, ""}, {"CRPIE_TIMER_POSIX", "TimerPosix", 3, ""}}},
		{About: "Flags of a parameter.", Members: []Enumerator{{C: "CRPIE_OPTIONAL", Value: 0},
			{"CRPIE_REQUIRED", "ParamRequired", 1, ""}, {"CRPIE_DEFAULTED", "ParamDefaulted", 2, ""},
			{"CRPIE_IN_TASK", "ParamInTask", 4, ""}}},
	}
}

// Resident is the contract with programs that carry hooks: plugin-sdk/include/crpie/resident.h, written by hand.
func Resident() *Group {
	return &Group{Name: "resident hooks", Prefix: "criu_", Structs: []Struct{{
		C: "criu_hook", Go: "ResidentRecord", Use: Read | Written,
		Members: []Member{{"size", u32, ""}, {"abi", u32, ""}, {"stage", u32, ""}, {"priority", i32, ""},
			{"fn", ptr, ""}, {"reserved", u64, ""}},
	}}, Numbers: []Number{
		{C: "CRIU_HOOKS_ABI_VERSION", Go: "ResidentVersion", Value: 1,
			About: "of the records in a process"},
		{C: "CRIU_HOOKS_MAX", Go: "ResidentMax", Value: 64, About: "records in an array"},
	}}
}

// publicStructs repeats the structs of abi.h. A compiled plugin keeps their offsets, so an offset changes only together
// with CRPIE_ABI_VERSION.
func publicStructs() []Struct {
	record := func(c, goName string, rest ...Member) Struct {
		return Struct{C: c, Go: goName, Members: append([]Member{{"size", u32, ""}, {"abi", u32, ""}}, rest...)}
	}
	functions := []Member{{"name", text(nameMax), ""}, {"init", ptr, ""}, {"exit", ptr, ""}}
	ctx := Struct{C: "crpie_ctx", Go: "Ctx", Use: Written, Members: []Member{
		{"size", u32, ""}, {"abi", u32, ""}, {"hook", u32, ""}, {"pid", i32, ""}, {"tid", i32, ""},
		{"nr_threads", u32, ""},
		{"dump_time_ns", i64, ""}, {"restore_time_ns", i64, ""}, {"comm", ptr, ""}, {"plugin", ptr, ""},
		{"params", ptr, ""},
		{"nr_params", u64, ""}, {"vmas", ptr, ""}, {"nr_vmas", u64, ""}, {"mm", ptr, ""}, {"log", ptr, ""},
		{"reserved", array(u64, 4), ""}, {"vma_madv", ptr, ""}, {"regs", ptr, ""}, {"timers", ptr, ""},
		{"nr_timers", u64, ""},
	}}
	mm := Struct{C: "crpie_mm", Go: "MM", Use: Written}
	for _, name := range []string{"start_code", "end_code", "start_data", "end_data", "start_brk", "brk",
		"start_stack", "arg_start", "arg_end",
		"env_start", "env_end"} {
		mm.Members = append(mm.Members, Member{name, u64, ""})
	}
	mm.Members = append(mm.Members, Member{"auxv", ptr, ""}, Member{"auxv_words", u64, ""})
	return []Struct{
		record("crpie_plugin_record", "PluginRecord", functions...),
		record("crpie_plugin_record_ctx", "", slices.Clone(functions)...),
		record("crpie_hook_record", "HookRecord", Member{"hook", u32, ""}, Member{"priority", i32, ""},
			Member{"fn", ptr, ""}),
		record("crpie_param_record", "ParamRecord", Member{"kind", u32, ""}, Member{"flags", u32, ""},
			Member{"min", u64, ""}, Member{"max", u64, ""},
			Member{"name", text(paramNameMax), ""}, Member{"values", text(paramValuesMax), ""},
			Member{"help", text(paramHelpMax), ""}, Member{"def", text(paramDefaultMax), ""}),
		record("crpie_import_record", "ImportRecord", Member{"flags", u32, ""}, Member{"reserved", u32, ""},
			Member{"slot", ptr, ""}, Member{"symbol", text(importSymbolMax), ""},
			Member{"library", text(importLibraryMax), ""}),
		record("crpie_syscall_record", "SyscallRecord", Member{"nr", u32, ""}, Member{"reserved", u32, ""}),
		{C: "crpie_param", Go: "ParamPair", Use: Written,
			Members: []Member{{"key", ptr, ""}, {"value", ptr, ""}}},
		{C: "crpie_vma", Go: "VMA", Use: Written, Members: []Member{
			{"start", u64, ""}, {"end", u64, ""}, {"prot", u32, ""}, {"flags", u32, ""}, {"pgoff", u64, ""},
			{"name", ptr, ""},
		}},
		mm, publicRegs(),
		{C: "crpie_timer", Go: "Timer", Use: Written | Read, Members: []Member{
			{"kind", u32, ""}, {"id", i32, ""}, {"clock", i32, ""}, {"reserved", u32, ""},
			{"remaining_ns", i64, ""}, {"interval_ns", i64, ""},
		}},
		ctx,
	}
}

// publicRegs are the registers that hooks see, all of 64 bits.
func publicRegs() Struct {
	regs := Struct{C: "crpie_regs", Go: "Regs", Use: Written | Read}
	for _, name := range []string{"ax", "bx", "cx", "dx", "si", "di", "bp", "sp", "r8", "r9", "r10", "r11", "r12",
		"r13", "r14", "r15", "ip", "flags", "fs_base", "gs_base", "cs", "ss", "ds", "es", "fs", "gs"} {
		regs.Members = append(regs.Members, Member{name, u64, ""})
	}
	regs.Members = append(regs.Members, Member{"syscall", i64, ""})
	return regs
}
