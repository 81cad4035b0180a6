package sdktest

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/stage"
)

const warnings = "-Wall -Wextra -Werror -pedantic"

// The flags of plugin.mk, without what one of the compilers does not know.
const pluginFlags = "-fPIC -ffreestanding -fvisibility=hidden -fno-stack-protector -fno-common " +
	"-fno-asynchronous-unwind-tables -fno-lto"

const cxxFlags = "-fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-use-cxa-atexit"

var compilers = []string{
	"gcc -fcf-protection=none",
	"clang-14 -fcf-protection=none",
	"clang-19 -fcf-protection=none",
	"aarch64-linux-gnu-gcc -mno-outline-atomics",
	"clang-14 --target=aarch64-linux-gnu -mno-outline-atomics",
	"clang-19 --target=aarch64-linux-gnu -mno-outline-atomics",
}

func root(t *testing.T) string { return filepath.Join(loadertest.Include(t), "..", "..") }

// build compiles a source file of the repository.
func build(t *testing.T, command, source string) string {
	t.Helper()
	obj := filepath.Join(t.TempDir(), "plugin.o")
	words := append(strings.Fields(command), "-I", loadertest.Include(t), "-c", "-o", obj, source)
	if out, err := exec.Command(loadertest.Tool(t, words[0]), words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
	return obj
}

// mustBePlugin loads an object as crpie does; a violation of any rule fails the test.
func mustBePlugin(t *testing.T, obj string) *loader.Plugin {
	t.Helper()
	data, err := os.ReadFile(obj)
	if err != nil {
		t.Fatal(err)
	}
	p, err := loader.Parse(data, filepath.Base(obj), loader.Options{})
	if err != nil {
		t.Fatalf("%s is no plugin: %v", obj, err)
	}
	return p
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func glob(t *testing.T, patterns ...string) []string {
	t.Helper()
	var files []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(root(t), pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("no file matches %s (%v)", pattern, err)
		}
		files = append(files, found...)
	}
	return files
}

func TestEveryCompilerMakesPluginsOfTheExamples(t *testing.T) {
	for _, file := range glob(t, "plugin-sdk/examples/*.c", "testdata/plugins/*.c") {
		if strings.HasSuffix(file, "_test.c") { // an ordinary program
			continue
		}
		for _, cc := range compilers {
			for _, mode := range []string{"-O0 -std=c99", "-O2 -std=gnu11 -g", "-O3 -std=c11"} {
				t.Run(filepath.Base(file)+" "+cc+" "+mode, func(t *testing.T) {
					t.Parallel()
					mustBePlugin(t, build(t, strings.Join(
						[]string{cc, mode, pluginFlags, warnings}, " "), file))
				})
			}
		}
	}
}

func TestEveryCompilerMakesPluginsOfCxxAndAssembly(t *testing.T) {
	t.Parallel()
	cxx := []string{"g++ -O0", "g++ -O2 -std=c++11", "g++ -O3 -std=c++20",
		"aarch64-linux-gnu-g++ -O2 -mno-outline-atomics",
		"clang-14 -O2 -std=c++11", "clang-19 -O2 -std=c++20"}
	for _, cc := range cxx {
		mustBePlugin(t, build(t, cc+" "+pluginFlags+" "+cxxFlags+" "+warnings,
			glob(t, "plugin-sdk/examples/greet.cpp")[0]))
	}
	for _, cc := range compilers {
		p := mustBePlugin(t, build(t, cc, glob(t, "plugin-sdk/examples/hello.S")[0]))
		if p.Name != "hello" || len(p.Hooks) != 1 || p.Hooks[0].ID != stage.PostMemory {
			t.Errorf("%s: hello.S is plugin %q with hooks %v", cc, p.Name, p.Hooks)
		}
	}
}

// What crpie new writes is a plugin for both machines; make builds it for this one only.
func TestEveryCompilerMakesPluginsOfTheTemplates(t *testing.T) {
	t.Parallel()
	for _, cc := range compilers {
		mustBePlugin(t, build(t, cc+" -O2 "+pluginFlags+" "+warnings, glob(t, "plugin-sdk/templates/c/hook.c")[0]))
		p := mustBePlugin(t, build(t, cc, glob(t, "plugin-sdk/templates/asm/hook.S")[0]))
		prctl := map[elf.Machine]uint32{elf.EM_X86_64: 157, elf.EM_AARCH64: 167}[p.Machine]
		if !p.Syscalls.Declared || !slices.Equal(p.Syscalls.Numbers, []uint32{prctl}) {
			t.Errorf("%s: hook.S declares %+v", cc, p.Syscalls)
		}
	}
	for _, cc := range []string{"g++ -std=c++11", "aarch64-linux-gnu-g++ -mno-outline-atomics", "clang-19 -std=c++20"} {
		mustBePlugin(t, build(t, cc+" -O2 "+pluginFlags+" "+cxxFlags+" "+warnings,
			glob(t, "plugin-sdk/templates/cxx/hook.cpp")[0]))
	}
}

func TestRustMakesAPlugin(t *testing.T) {
	t.Parallel()
	obj := filepath.Join(t.TempDir(), "greet-rust.o")
	args := append(strings.Fields(
		"--edition=2021 --emit=obj --crate-type=lib -O -C panic=abort -C codegen-units=1 -o"),
		obj, glob(t, "plugin-sdk/examples/greet-rust.rs")[0])
	if out, err := exec.Command(loadertest.Tool(t, "rustc"), args...).CombinedOutput(); err != nil {
		t.Fatalf("rustc: %v\n%s", err, out)
	}
	if p := mustBePlugin(t, obj); p.Name != "greet-rust" || len(p.Hooks) != 1 ||
		p.Hooks[0].ID != stage.PreSigreturn {
		t.Errorf("greet-rust.rs is plugin %q with hooks %v", p.Name, p.Hooks)
	}
}

// Each header stands alone, in both languages, and leaves nothing undefined, used or not.
func TestEveryHeaderStandsAlone(t *testing.T) {
	t.Parallel()
	for _, header := range glob(t, "plugin-sdk/include/crpie/*.h") {
		if filepath.Base(header) == "test.h" { // for ordinary programs
			continue
		}
		source := "#include <crpie/" + filepath.Base(header) + ">\nextern int nothing;\n"
		for _, cc := range append(compilers, "g++ -std=c++11", "clang-14 -xc++ -std=c++11",
			"clang-19 -xc++ -std=c++20") {
			suffix := ".c"
			if strings.Contains(cc, "++") {
				suffix, cc = ".cc", cc+" "+cxxFlags
			}
			for _, level := range []string{"-O0", "-O2"} {
				obj := loadertest.Compile(t, strings.Join([]string{cc, level, pluginFlags, warnings},
					" "), suffix, source)
				if undefined := undefinedSymbols(t, obj); len(undefined) > 0 {
					t.Errorf("%s %s %s: undefined %v", cc, level, filepath.Base(header), undefined)
				}
			}
		}
	}
}

// libc's and the kernel's ELF headers declare the same types differently; a plugin may have either, before or behind ours.
func TestHeadersOfELFMayBeIncluded(t *testing.T) {
	t.Parallel()
	for _, theirs := range []string{"elf.h", "link.h", "sys/auxv.h", "linux/elf.h", "linux/auxvec.h"} {
		for _, order := range []string{"#include <%[1]s>\n#include <crpie/symtab.h>\n", "#include <crpie/symtab.h>\n#include <%[1]s>\n"} {
			source := fmt.Sprintf(order+"extern int nothing;\n", theirs)
			loadertest.Compile(t, "gcc -O2 -D_GNU_SOURCE "+pluginFlags+" "+warnings, ".c", source)
			loadertest.Compile(t, "clang-19 -xc++ -O2 -D_GNU_SOURCE "+cxxFlags+" "+pluginFlags+" "+warnings, ".cc", source)
		}
	}
}

func undefinedSymbols(t *testing.T, obj string) []string {
	t.Helper()
	f, err := elf.Open(obj)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range symbols {
		if s.Section == elf.SHN_UNDEF && s.Name != "" && s.Name != "_GLOBAL_OFFSET_TABLE_" {
			names = append(names, s.Name)
		}
	}
	return names
}

// The compilers call memcpy and its kin on their own; string.h answers, and no function of it was compiled into a call
// of itself.
func TestCompilerMadeCallsAreAnswered(t *testing.T) {
	t.Parallel()
	const source = `
#include <crpie/plugin.h>
#include <crpie/string.h>
static int hook(struct crpie_ctx *ctx) { (void)ctx; return 0; }
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
struct big { char c[5000]; };
void copy(struct big *a, const struct big *b);
void copy(struct big *a, const struct big *b) { *a = *b; }
void clear(struct big *a);
void clear(struct big *a) { struct big zero = { { 0 } }; *a = zero; }
int same(const void *a, const void *b);
int same(const void *a, const void *b) { return memcmp(a, b, 5000) == 0; }
`
	for _, cc := range compilers {
		for _, level := range []string{"-O0", "-O2", "-O3"} {
			obj := loadertest.Compile(t, strings.Join([]string{cc, level, pluginFlags, warnings}, " "),
				".c", source)
			if undefined := undefinedSymbols(t, obj); len(undefined) > 0 {
				t.Errorf("%s %s: undefined %v", cc, level, undefined)
			}
			for _, name := range []string{"memcpy", "memmove", "memset", "memcmp", "bcmp", "strlen"} {
				if callsItself(t, obj, name) {
					t.Errorf("%s %s: %s calls itself", cc, level, name)
				}
			}
		}
	}
}

// callsItself looks for a relocation inside the named function, or its crpie_ namesake, that refers to the function.
func callsItself(t *testing.T, obj, name string) bool {
	t.Helper()
	data, err := os.ReadFile(obj)
	if err != nil {
		t.Fatal(err)
	}
	p, err := loader.Parse(data, obj, loader.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Sections {
		for r := range p.Sections[i].Relocs.All() {
			in := p.PlaceOf(&p.Sections[i], r.Offset).Function
			if (in == name || in == "crpie_"+name) && p.SymbolLabel(r.Symbol) == name {
				return true
			}
		}
	}
	return false
}

// Records lie at multiples of their size, also when objects were joined: gcc would align larger ones further.
func TestRecordsHaveNoHoles(t *testing.T) {
	t.Parallel()
	for _, cc := range compilers[:3] {
		trace := build(t, cc+" -O2 "+pluginFlags, glob(t, "plugin-sdk/examples/trace.c")[0])
		hello := build(t, cc, glob(t, "plugin-sdk/examples/hello.S")[0])
		joined := filepath.Join(t.TempDir(), "joined.o")
		ld := exec.Command(loadertest.Tool(t, "ld"), "-r", "-o", joined, trace, hello)
		if out, err := ld.CombinedOutput(); err != nil {
			t.Fatalf("ld -r: %v\n%s", err, out)
		}
		for obj, hooks := range map[string]uint64{trace: 7, hello: 1, joined: 8} {
			f, err := elf.Open(obj)
			if err != nil {
				t.Fatal(err)
			}
			sec := f.Section(abi.HooksSection)
			f.Close()
			if sec == nil || sec.Size != hooks*abi.HookRecordSize || sec.Addralign != 8 {
				t.Errorf("%s: %d hooks are %+v", cc, hooks, sec)
			}
		}
	}
}

func TestMistakesAreCompileErrors(t *testing.T) {
	t.Parallel()
	const prologue = "#include <crpie/plugin.h>\nstatic int f(struct crpie_ctx *c) { (void)c; return 0; }\n"
	for _, c := range []struct{ source, message string }{
		{"CR_PLUGIN_REGISTER_HOOK(9, f)", "not a PIE_RST or PIE_DMP hook"},
		{`CR_PLUGIN_REGISTER_DUMMY("")`, "the plugin needs a name"},
		{`CR_PLUGIN_REGISTER_DUMMY("` + strings.Repeat("x", abi.NameMax) + `")`, "longer than 47 bytes"},
		{`CR_PLUGIN_REGISTER_DUMMY("a") CR_PLUGIN_REGISTER_DUMMY("b")`, "redefinition"},
		{"static int g(int x);\nCR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_CREDS, g)",
			"a hook is: static int g(struct crpie_ctx *ctx)"},
		{"static int g(struct crpie_ctx *c) { (void)c; }\nint (*h)(struct crpie_ctx *) = g;", "return-type"},
		{"#include <crpie/log.h>\nvoid g(struct crpie_ctx *c, float x) { pr_info(c, \"%d %s %f\", 1, \"\", x); }",
			"there is no %f here"},
		{"#include <crpie/log.h>\nvoid g(char *b, double x) { crpie_snprintf(b, 9, \"%f\", x); }", "there is no %f here"},
	} {
		for _, cc := range []string{"gcc", "clang-14", "clang-19"} {
			cmd := exec.Command(loadertest.Tool(t, cc), "-Werror", "-fsyntax-only", "-I",
				loadertest.Include(t), "-xc", "-")
			cmd.Stdin = strings.NewReader(prologue + c.source + "\n")
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.message) {
				t.Errorf("%s: %s\ngot %v:\n%s\nwant an error with %q", cc, c.source, err, out,
					c.message)
			}
		}
	}
}

// plugin.mk builds what crpie takes, from a makefile of two lines.
func TestPluginMakefile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "Makefile"), "CRPIE_PLUGIN = hook.o\ninclude "+filepath.Join(root(t), "plugin-sdk", "plugin.mk")+"\n")
	write(t, filepath.Join(dir, "hook.c"), `#include <crpie/plugin.h>
static int hook(struct crpie_ctx *ctx) { ctx->log(ctx, CRPIE_LOG_INFO, "hi", 2); return 0; }
CR_PLUGIN_REGISTER_DUMMY("made")
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
`)
	for _, cc := range []string{"gcc", "clang-19", "aarch64-linux-gnu-gcc"} {
		// What distributions build with must not leak into a plugin.
		make := exec.Command(loadertest.Tool(t, "make"), "-B", "-C", dir, "CC="+cc,
			"CFLAGS=-O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -flto -fcommon")
		if out, err := make.CombinedOutput(); err != nil {
			t.Fatalf("make CC=%s: %v\n%s", cc, err, out)
		}
		if p := mustBePlugin(t, filepath.Join(dir, "hook.o")); p.Name != "made" {
			t.Errorf("%s: the plugin's name is %q", cc, p.Name)
		}
	}
}
