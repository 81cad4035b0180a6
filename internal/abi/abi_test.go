package abi_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/stage"
)

// same is one number of Go's and the C expression that has to have the same value.
type same struct {
	c     string
	value int64
}

func size(typ string, v int64) same { return same{"sizeof(struct " + typ + ")", v} }
func off(typ, member string, v int64) same {
	return same{"offsetof(struct " + typ + ", " + member + ")", v}
}

func pluginNumbers() []same {
	rows := []same{
		{"CRPIE_ABI_VERSION", abi.Version},
		{"CRPIE_HOOK_INIT", int64(stage.Init)}, {"CRPIE_HOOK_EXIT", int64(stage.Exit)},
		{"CRPIE_NAME_MAX", abi.NameMax},
		{"CRPIE_LOG_LINE_MAX", abi.LogLineMax},
		size("crpie_plugin_record", abi.PluginRecordSize),
		off("crpie_plugin_record", "abi", abi.PluginRecordABIOff),
		off("crpie_plugin_record", "name", abi.PluginRecordNameOff),
		off("crpie_plugin_record", "init", abi.PluginRecordInitOff),
		off("crpie_plugin_record", "exit", abi.PluginRecordExitOff),
		size("crpie_plugin_record_ctx", abi.PluginRecordSize),
		off("crpie_plugin_record_ctx", "abi", abi.PluginRecordABIOff),
		off("crpie_plugin_record_ctx", "name", abi.PluginRecordNameOff),
		off("crpie_plugin_record_ctx", "init", abi.PluginRecordInitOff),
		off("crpie_plugin_record_ctx", "exit", abi.PluginRecordExitOff),
		{"sizeof(CRPIE_PARAMS_SECTION) - 1", int64(len(abi.ParamsSection))},
		size("crpie_param_record", abi.ParamRecordSize),
		off("crpie_param_record", "kind", abi.ParamRecordKindOff),
		off("crpie_param_record", "flags", abi.ParamRecordFlagsOff),
		off("crpie_param_record", "min", abi.ParamRecordMinOff),
		off("crpie_param_record", "max", abi.ParamRecordMaxOff),
		off("crpie_param_record", "name", abi.ParamRecordNameOff),
		off("crpie_param_record", "values", abi.ParamRecordValuesOff),
		off("crpie_param_record", "help", abi.ParamRecordHelpOff),
		{"CRPIE_REQUIRED", abi.ParamRequired},
		{"CRPIE_PARAM_KIND_NONE", int64(abi.ParamNone)}, {"CRPIE_PARAM_KIND_STRING", int64(abi.ParamString)},
		{"CRPIE_PARAM_KIND_INT", int64(abi.ParamInt)}, {"CRPIE_PARAM_KIND_BOOL", int64(abi.ParamBool)},
		{"CRPIE_PARAM_KIND_ENUM", int64(abi.ParamEnum)}, {"CRPIE_PARAM_KIND_SIZE", int64(abi.ParamSize)},
		{"CRPIE_PARAM_KIND_ONE_OF", int64(abi.ParamOneOf)},
		size("crpie_hook_record", abi.HookRecordSize),
		off("crpie_hook_record", "abi", abi.HookRecordABIOff),
		off("crpie_hook_record", "hook", abi.HookRecordHookOff),
		off("crpie_hook_record", "priority", abi.HookRecordPriorityOff),
		off("crpie_hook_record", "fn", abi.HookRecordFnOff),
		size("crpie_param", abi.ParamPairSize),
		size("crpie_vma", abi.VMASize),
		{"sizeof(*((struct crpie_ctx *)0)->vma_madv)", abi.MadvSize},
		size("crpie_mm", abi.MMSize),
		{"sizeof(CRPIE_PLUGIN_SECTION) - 1", int64(len(abi.PluginSection))},
		{"sizeof(CRPIE_HOOKS_SECTION) - 1", int64(len(abi.HooksSection))},
	}
	for _, h := range stage.All() {
		rows = append(rows, same{"CR_PLUGIN_HOOK__" + h.String(), int64(h)})
	}
	return append(rows, same{"CR_PLUGIN_HOOK__PIE_RST_MAX - CR_PLUGIN_HOOK__PIE_RST_TASK_CREATED", int64(len(stage.All()))})
}

func coreNumbers() []same {
	return []same{
		size("crpie_table", abi.TableSize), size("crpie_table_plugin", abi.TablePluginSize),
		size("crpie_table_hook", abi.TableHookSize),
		size("crpie_op", abi.OpSize), size("crpie_run", abi.RunSize), size("crpie_thread", abi.ThreadSize),
		size("crpie_task", abi.TaskSize), size("crpie_plan", abi.PlanSize), size("crpie_log_record", abi.LogRecordSize),
		size("crpie_status", abi.StatusSize), size("crpie_bell", abi.BellSize), size("crpie_call", abi.CallSize),
		off("crpie_shared", "status", abi.SharedSize), off("crpie_control", "traced", abi.ControlSize),
		{"CRPIE_STATE_NEW", int64(abi.StateNew)}, {"CRPIE_STATE_RUNNING", int64(abi.StateRunning)},
		{"CRPIE_STATE_FAILED", int64(abi.StateFailed)}, {"CRPIE_STATE_PARKED", int64(abi.StateParked)},
		{"CRPIE_STATE_LEFT", int64(abi.StateLeft)}, {"CRPIE_OP_LEAVE", int64(abi.OpLeave)},
		{"CRPIE_OP_SYSCALL", int64(abi.OpSyscall)}, {"CRPIE_OP_PIPE", int64(abi.OpPipe)},
		{"CRPIE_OP_READ", int64(abi.OpRead)}, {"CRPIE_OP_CLONE", int64(abi.OpClone)},
		{"CRPIE_OP_THREAD", int64(abi.OpThread)}, {"CRPIE_OP_HOOK", int64(abi.OpHook)},
		{"CRPIE_OP_GATE", int64(abi.OpGate)}, {"CRPIE_OP_ARRIVE", int64(abi.OpArrive)},
		{"CRPIE_OP_AWAIT", int64(abi.OpAwait)}, {"CRPIE_OP_REPORT", int64(abi.OpReport)},
		{"CRPIE_OP_TIMER", int64(abi.OpTimer)}, {"CRPIE_OP_PARK", int64(abi.OpPark)},
		{"CRPIE_OP_EXIT", int64(abi.OpExit)}, {"CRPIE_OP_TRACED", int64(abi.OpTraced)},
		{"CRPIE_OP_UPDATE", int64(abi.OpUpdate)}, {"CRPIE_OP_NAMELESS", int64(abi.OpNameless)},
		{"CRPIE_OP_MARK", int64(abi.OpMark)}, {"CRPIE_OP_FOLLOW", int64(abi.OpFollow)},
		{"CRPIE_OP_PTY", int64(abi.OpPty)}, {"CRPIE_OP_TYPE", int64(abi.OpType)},
		{"CRPIE_OP_FORGET", int64(abi.OpForget)}, {"CRPIE_OP_GONE", int64(abi.OpGone)},
		{"CRPIE_OP_ENDED", int64(abi.OpEnded)}, {"CRPIE_OP_EXPIRE", int64(abi.OpExpire)},
		{"CRPIE_OP_AIO", int64(abi.OpAio)}, {"CRPIE_OP_COPY", int64(abi.OpCopy)},
		{"CRPIE_OP_BECOME", int64(abi.OpBecome)}, {"CRPIE_OP_MARK", int64(abi.OpMark)}, {"CRPIE_OP_FOLLOW", int64(abi.OpFollow)},
		{"CRPIE_OP_PARENT", int64(abi.OpParent)}, {"CRPIE_OP_BECOME", int64(abi.OpBecome)}, {"CRPIE_OP_MARK", int64(abi.OpMark)}, {"CRPIE_OP_FOLLOW", int64(abi.OpFollow)},
		{"CRPIE_OPF_MAY_FAIL", int64(abi.OpMayFail)}, {"CRPIE_OPF_WANT", int64(abi.OpWant)},
		{"CRPIE_OPF_FD", int64(abi.OpFD)}, {"CRPIE_OPF_CLOEXEC", int64(abi.OpCloexec)},
		{"CRPIE_OPF_INJECT", int64(abi.OpInject)},
		{"CRPIE_NR_BARRIERS", abi.NrBarriers}, {"CRPIE_MAX_PLUGINS", abi.MaxPlugins},
		{"CRPIE_STACK_GUARD", abi.StackGuard}, {"CRPIE_STACK_SLOT", abi.StackSlot},
	}
}

type member struct {
	name string // in C
	off  int64
}

// layouts are the structs whose members Go writes or reads.
var layouts = map[string][]member{
	"crpie_table": {
		{"size", abi.TableSizeOff}, {"abi", abi.TableABIOff}, {"plugins", abi.TablePluginsOff},
		{"nr_plugins", abi.TableNrPluginsOff}, {"hooks", abi.TableHooksOff}, {"nr_hooks", abi.TableNrHooksOff},
		{"reserved", abi.TableReservedOff},
	},
	"crpie_table_plugin": {
		{"name", abi.TablePluginNameOff}, {"params", abi.TablePluginParamsOff},
		{"nr_params", abi.TablePluginNrParamsOff}, {"init", abi.TablePluginInitOff},
		{"exit", abi.TablePluginExitOff},
	},
	"crpie_table_hook": {
		{"hook", abi.TableHookHookOff}, {"priority", abi.TableHookPriorityOff}, {"plugin", abi.TableHookPluginOff},
		{"reserved", abi.TableHookReservedOff}, {"fn", abi.TableHookFnOff},
	},
	"crpie_op": {
		{"code", abi.OpCodeOff}, {"flags", abi.OpFlagsOff}, {"nr", abi.OpNrOff}, {"arg", abi.OpArgOff},
		{"want", abi.OpWantOff},
	},
	"crpie_run": {
		{"addr", abi.RunAddrOff}, {"len", abi.RunLenOff}, {"off", abi.RunOffOff}, {"fd", abi.RunFDOff},
	},
	"crpie_thread": {
		{"tid", abi.ThreadTidOff}, {"status", abi.ThreadStatusOff}, {"ops", abi.ThreadOpsOff},
		{"nr_ops", abi.ThreadNrOpsOff}, {"stack", abi.ThreadStackOff}, {"stack_size", abi.ThreadStackSizeOff},
	},
	"crpie_task": {
		{"pid", abi.TaskPidOff}, {"nr_threads", abi.TaskNrThreadsOff}, {"threads", abi.TaskThreadsOff},
		{"comm", abi.TaskCommOff}, {"vmas", abi.TaskVMAsOff}, {"nr_vmas", abi.TaskNrVMAsOff}, {"mm", abi.TaskMMOff},
		{"reader_stack", abi.TaskReaderStackOff}, {"reader_stack_size", abi.TaskReaderStackSizeOff},
		{"runs", abi.TaskRunsOff},
	},
	"crpie_plan": {
		{"size", abi.PlanSizeOff}, {"abi", abi.PlanABIOff}, {"table", abi.PlanTableOff},
		{"shared", abi.PlanSharedOff}, {"shared_size", abi.PlanSharedSizeOff}, {"control", abi.PlanControlOff},
		{"bell", abi.PlanBellOff}, {"log_off", abi.PlanLogOffOff}, {"log_size", abi.PlanLogSizeOff},
		{"region_start", abi.PlanRegionStartOff}, {"region_end", abi.PlanRegionEndOff}, {"tasks", abi.PlanTasksOff},
		{"nr_tasks", abi.PlanNrTasksOff}, {"zygote", abi.PlanZygoteOff}, {"dump_time_ns", abi.PlanDumpTimeNsOff},
		{"restore_time_ns", abi.PlanRestoreTimeNsOff}, {"log_level", abi.PlanLogLevelOff},
		{"nr_parking", abi.PlanNrParkingOff},
	},
	"crpie_status": {
		{"state", abi.StatusStateOff}, {"op", abi.StatusOpOff}, {"result", abi.StatusResultOff},
		{"hook", abi.StatusHookOff}, {"plugin", abi.StatusPluginOff}, {"fn", abi.StatusFnOff},
		{"hook_seq", abi.StatusHookSeqOff}, {"mark", abi.StatusMarkOff}, {"detail", abi.StatusDetailOff},
	},
	"crpie_shared": {
		{"log_head", abi.SharedLogHeadOff}, {"log_tail", abi.SharedLogTailOff}, {"status", abi.SharedStatusOff},
	},
	"crpie_control": {
		{"gate", abi.ControlGateOff}, {"controller", abi.ControlControllerOff}, {"traced", abi.ControlTracedOff},
	},
	"crpie_bell": {
		{"rung", abi.BellRungOff}, {"news", abi.BellNewsOff}, {"ready", abi.BellReadyOff},
		{"parked", abi.BellParkedOff}, {"call", abi.BellCallOff},
	},
	"crpie_call": {
		{"hook", abi.CallHookOff}, {"plugin", abi.CallPluginOff}, {"fn", abi.CallFnOff},
	},
	"crpie_log_record": {
		{"len", abi.LogRecordLenOff}, {"level", abi.LogRecordLevelOff}, {"pid", abi.LogRecordPidOff},
		{"tid", abi.LogRecordTidOff}, {"hook", abi.LogRecordHookOff}, {"plugin", abi.LogRecordPluginOff},
		{"text_len", abi.LogRecordTextLenOff}, {"pad", abi.LogRecordPadOff},
	},
	"crpie_vma": {
		{"start", abi.VMAStartOff}, {"end", abi.VMAEndOff}, {"prot", abi.VMAProtOff}, {"flags", abi.VMAFlagsOff},
		{"pgoff", abi.VMAPgoffOff}, {"name", abi.VMANameOff},
	},
}

// membersOf lists the members of a struct in a header's text, in their order.
func membersOf(header, name string) (members []string) {
	header = regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(header, "")
	_, body, _ := strings.Cut(header, "\nstruct "+name+" {")
	body, _, _ = strings.Cut(body, "\n};")
	declaration := regexp.MustCompile(`(?s)^\s*(?:const )?(?:struct )?\w+\s+(.*)$`)
	for _, d := range strings.Split(body, ";") {
		if m := declaration.FindStringSubmatch(d); m != nil {
			for _, declarator := range strings.Split(m[1], ",") {
				members = append(members, regexp.MustCompile(`\w+`).FindString(declarator))
			}
		}
	}
	return members
}

// Go knows every member of these structs, so that none can move unnoticed.
func TestEveryMemberHasAnOffset(t *testing.T) {
	include := loadertest.Include(t)
	var headers string
	for _, path := range []string{filepath.Join(include, "crpie", "abi.h"), filepath.Join(include, "..", "..", "restorer", "core", "src", "core.h")} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		headers += string(text)
	}
	for name, known := range layouts {
		var names []string
		for _, m := range known {
			names = append(names, m.name)
		}
		if members := membersOf(headers, name); !slices.Equal(members, names) {
			t.Errorf("struct %s: C has %v, Go %v", name, members, names)
		}
	}
}

// The C compiler judges: one static assertion for each row, on both machines.
func TestHeadersHaveGosNumbers(t *testing.T) {
	source := "#include <stddef.h>\n#include <crpie/abi.h>\n#include \"core.h\"\n"
	for _, r := range append(pluginNumbers(), coreNumbers()...) {
		source += fmt.Sprintf("_Static_assert(%s == %d, \"Go has %d\");\n", r.c, r.value, r.value)
	}
	for name, members := range layouts {
		for _, m := range members {
			r := off(name, m.name, m.off)
			source += fmt.Sprintf("_Static_assert(%s == %d, \"Go has %d\");\n", r.c, r.value, r.value)
		}
	}
	for _, cc := range []string{"gcc", "clang-14", "aarch64-linux-gnu-gcc"} {
		if out := syntaxErrors(t, cc, source); out != "" {
			t.Errorf("%s: C and Go disagree:\n%s", cc, out)
		}
	}
}

// asm.h repeats numbers of abi.h as macros. Included second, its macros win over the enumerators of the same name.
func TestAssemblyHeaderHasTheSameNumbers(t *testing.T) {
	source := "#include <stddef.h>\n#include <crpie/abi.h>\n#include <crpie/asm.h>\n"
	for _, h := range stage.All() {
		source += assertEqual("CR_PLUGIN_HOOK__"+h.String(), int64(h))
	}
	source += assertEqual("CRPIE_ABI_VERSION", abi.Version) + assertEqual("CRPIE_HOOK_INIT", int64(stage.Init)) +
		assertEqual("CRPIE_HOOK_EXIT", int64(stage.Exit))
	for k := range abi.ParamOneOf + 1 {
		name := strings.ToUpper(strings.ReplaceAll(k.String(), " ", "_"))
		source += assertEqual("CRPIE_PARAM_KIND_"+name, int64(k))
	}
	for i, level := range []string{"ERROR", "WARN", "INFO", "DEBUG"} {
		source += assertEqual("CRPIE_LOG_"+level, int64(i+1))
	}
	for _, member := range strings.Fields("size abi hook pid tid nr_threads dump_time_ns restore_time_ns comm plugin " +
		"params nr_params vmas nr_vmas mm log") {
		source += fmt.Sprintf("_Static_assert(CRPIE_CTX_%s == offsetof(struct crpie_ctx, %s), \"\");\n",
			strings.ToUpper(member), member)
	}
	if out := syntaxErrors(t, "gcc", source); out != "" {
		t.Errorf("asm.h and abi.h disagree:\n%s", out)
	}
}

func TestAWrongNumberIsNoticed(t *testing.T) {
	out := syntaxErrors(t, "gcc", "#include <crpie/abi.h>\n_Static_assert(sizeof(struct crpie_param) == 17, \"Go has 17\");\n")
	if !strings.Contains(out, "Go has 17") {
		t.Errorf("the compiler accepted a wrong size: %q", out)
	}
}

func assertEqual(name string, v int64) string {
	return fmt.Sprintf("_Static_assert(%s == %d, \"Go has %d\");\n", name, v, v)
}

// syntaxErrors returns what cc says about source, "" if it is content.
func syntaxErrors(t *testing.T, cc, source string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "numbers.c")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	include := loadertest.Include(t)
	core := filepath.Join(include, "..", "..", "restorer", "core", "src")
	out, err := exec.Command(loadertest.Tool(t, cc), "-fsyntax-only", "-ffreestanding", "-I", include, "-I", core, file).CombinedOutput()
	if err == nil && len(out) == 0 {
		return ""
	}
	return fmt.Sprintf("%s(%v)", out, err)
}
