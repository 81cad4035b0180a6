package abi_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/stage"
)

// TestSections: the names of the sections are those of the header.
func TestSections(t *testing.T) {
	source := "#include <crpie/abi.h>\n"
	for name, value := range map[string]string{
		"CRPIE_PLUGIN_SECTION": abi.PluginSection, "CRPIE_HOOKS_SECTION": abi.HooksSection,
		"CRPIE_PARAMS_SECTION": abi.ParamsSection, "CRPIE_SYSCALLS_SECTION": abi.SyscallsSection,
		"CRPIE_IMPORTS_SECTION": abi.ImportsSection,
	} {
		source += fmt.Sprintf("_Static_assert(!__builtin_strcmp(%s, %q), \"Go has %s\");\n", name, value, value)
	}
	if out := syntaxErrors(t, "gcc", source); out != "" {
		t.Error(out)
	}
}

// asm.h repeats numbers of abi.h as macros. Included second, its macros win over the enumerators of the same name.
func TestAssemblyHeaderHasTheSameNumbers(t *testing.T) {
	source := "#include <stddef.h>\n#include <crpie/abi.h>\n#include <crpie/asm.h>\n"
	for _, h := range append(stage.All(), stage.Dump()...) {
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
	for _, member := range strings.Fields(
		"size abi hook pid tid nr_threads dump_time_ns restore_time_ns comm plugin " +
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
	out, err := exec.Command(loadertest.Tool(t, cc), "-fsyntax-only", "-ffreestanding", "-I",
		loadertest.Include(t), file).CombinedOutput()
	if err == nil && len(out) == 0 {
		return ""
	}
	return fmt.Sprintf("%s(%v)", out, err)
}
