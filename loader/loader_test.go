package loader_test

import (
	"debug/elf"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
)

const gcc = "gcc -O1 -fPIC -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables"

// records declares a plugin named demo with two hooks, without the macros of the SDK.
const records = `
#include <crpie/abi.h>
#define IN(s) __attribute__((section(s), used, aligned(8))) static
int late(struct crpie_ctx *ctx);
static int early(struct crpie_ctx *ctx) { return ctx->pid; }
static int start(int stage) { return stage; }
IN("crpie_plugin") struct crpie_plugin_record plugin = {sizeof plugin, 1, "demo", start, 0};
IN("crpie_hooks") struct crpie_hook_record a = {sizeof a, 1, CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, 7, late};
IN("crpie_hooks") struct crpie_hook_record b = {sizeof b, 1, CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY, -2, early};
int late(struct crpie_ctx *ctx) { return 0; }
`

func TestPluginDescribesItself(t *testing.T) {
	p := loadertest.MustLoad(t, gcc, ".c", records, loader.Options{})
	if p.Name != "demo" || p.Machine != elf.EM_X86_64 || p.Init.Symbol != "start" || p.Exit.Exists() {
		t.Errorf("got name %q, machine %v, init %+v, exit %+v", p.Name, p.Machine, p.Init, p.Exit)
	}
	var got []string
	for _, h := range p.Hooks { // gcc writes the last variable of a file first
		got = append(got, fmt.Sprintf("%v %s %d", h.ID, h.Fn.Symbol, h.Priority))
	}
	if want := "PIE_RST_POST_MEMORY early -2, PIE_RST_PRE_SIGRETURN late 7"; strings.Join(got, ", ") != want {
		t.Errorf("hooks are %v, want %v", got, want)
	}
	for _, s := range p.Sections {
		if s.Name == abi.HooksSection || s.Name == abi.PluginSection || s.Flags&elf.SHF_ALLOC == 0 {
			t.Errorf("section %s is laid out", s.Name)
		}
	}
}

func TestPluginWithoutRecordIsNamedAfterItsFile(t *testing.T) {
	data, err := os.ReadFile(loadertest.Compile(t, gcc, ".c", "int x = 1;"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := loader.Parse(data, "some/dir/reseed.o", loader.Options{Core: true})
	if err != nil || p.Name != "reseed" {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestAllViolationsAreReportedTogether(t *testing.T) {
	source := `
extern int foo_bar(int);
int foo_baz(int x) { return x; }
int common;
__thread int local = 1;
__attribute__((constructor)) void early(void) { common = local; }
void *memcpy(void *, const void *, unsigned long);
int hook(char *p) { memcpy(p, p + 1, common); return foo_bar(3) + foo_bar(4); }
`
	_, err := loadertest.Load(t, "gcc -g -O1 -fcommon -fPIC -ffreestanding -fno-asynchronous-unwind-tables", ".c",
		source,
		loader.Options{})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"PIE104 section .init_array: constructor `early` would never run",
		"PIE105 section .tdata: 4 bytes of thread-local variables",
		"PIE203 tentative definition `common` of 4 bytes (SHN_COMMON)",
		"PIE205 thread-local variable `local`",
		"PIE201 undefined symbol `memcpy`",
		"PIE201 undefined symbol `foo_bar`",
		"plugin.c:8 (hook+0x",
		" and 1 more\n\tfix: did you mean `foo_baz`?",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

func TestMoreThan65279SectionsKeepTheirSymbols(t *testing.T) {
	source := ".macro one n\n.section .text.f\\n,\"ax\",@progbits\n.globl f\\n\nf\\n: ret\n.endm\n" +
		".altmacro\n.set i,0\n.rept 70000\none %i\n.set i,i+1\n.endr\n.section .note.GNU-stack,\"\",@progbits\n"
	p := loadertest.MustLoad(t, "gcc", ".s", source, loader.Options{Core: true})
	s, ok := p.Lookup("f69999")
	if !ok || s.Section < 0 || p.Sections[s.Section].Name != ".text.f69999" {
		t.Errorf("f69999 is %+v, %v", s, ok)
	}
}

func TestStartAndStopOfASectionAreProvided(t *testing.T) {
	source := `
extern const int __start_nums[], __stop_nums[];
__attribute__((section("nums"), used)) static const int a = 1, b = 2;
int count(void) { return __stop_nums - __start_nums; }`
	p := loadertest.MustLoad(t, gcc, ".c", source, loader.Options{Core: true})
	start, _ := p.Lookup("__start_nums")
	stop, ok := p.Lookup("__stop_nums")
	if !ok || start.Section != stop.Section || start.Value != 0 || stop.Value != 8 {
		t.Errorf("start is %+v, stop is %+v", start, stop)
	}
}

// TestStartAndStopEncloseAllSections: clang gives each inline variable a COMDAT group, with a section nums of its own.
func TestStartAndStopEncloseAllSections(t *testing.T) {
	source := `
#define NUM __attribute__((section("nums"))) inline int
extern "C" int __start_nums[], __stop_nums[];
NUM a = 1; inline int between = 7; NUM b = 2; NUM c = 3;
int sum() { int n = a + b + c + between; for (int *p = __start_nums; p < __stop_nums; p++) n += *p; return n; }`
	p := loadertest.MustLoad(t, clang19+" -std=c++17", ".cc", source, loader.Options{Core: true})
	start, _ := p.Lookup("__start_nums")
	stop, _ := p.Lookup("__stop_nums")
	var names []string
	for i := start.Section; i <= stop.Section; i++ {
		names = append(names, p.Sections[i].Name)
	}
	if got := strings.Join(names, " "); got != "nums nums nums" || start.Value != 0 || stop.Value != 4 {
		t.Errorf("between start %+v and stop %+v: %s", start, stop, got)
	}
	for _, name := range []string{"a", "b", "c", "between"} {
		s, _ := p.Lookup(name)
		want := map[bool]string{true: ".data.between", false: "nums"}[name == "between"]
		if s.Section < 0 || p.Sections[s.Section].Name != want {
			t.Errorf("%s is %+v", name, s)
		}
	}
}

func TestDefinedSymbolsHaveTheGivenAddress(t *testing.T) {
	opts := loader.Options{Core: true, Defined: map[string]uint64{"outside": 0x1234}}
	p := loadertest.MustLoad(t, gcc, ".c", "int outside(void); int f(void) { return outside(); }", opts)
	if s, ok := p.Lookup("outside"); !ok || s.Section != loader.Absolute || s.Value != 0x1234 {
		t.Errorf("outside is %+v", s)
	}
}
