package sdktest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
)

const orderC = `
#include <crpie/plugin.h>
static int PREFIX_first(struct crpie_ctx *c) { return c->pid < 1; }
static int PREFIX_second(struct crpie_ctx *c) { return c->pid < 2; }
static int PREFIX_third(struct crpie_ctx *c) { return c->pid < 3; }
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, PREFIX_first)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, PREFIX_second)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, PREFIX_third)
`

const orderS = `
#include <crpie/asm.h>
	crpie_hook CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, PREFIX_first
	crpie_hook CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, PREFIX_second
	crpie_hook CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, PREFIX_third
PREFIX_third: ret
PREFIX_second: ret
PREFIX_first: ret
`

// rustc writes statics in the order of their mangled names: what has an order is an array.
const orderRust = `
#![no_std]
#[repr(C)]
pub struct Record { size: u32, abi: u32, hook: u32, priority: i32, hook_fn: extern "C" fn(*mut u8) -> i32 }
#[inline]
const fn record(hook_fn: extern "C" fn(*mut u8) -> i32) -> Record {
    Record { size: 24, abi: 1, hook: 0x106, priority: 0, hook_fn }
}
extern "C" fn PREFIX_third(_: *mut u8) -> i32 { 3 }
extern "C" fn PREFIX_second(_: *mut u8) -> i32 { 2 }
extern "C" fn PREFIX_first(_: *mut u8) -> i32 { 1 }
#[used]
#[link_section = "crpie_hooks"]
static HOOKS: [Record; 3] = [record(PREFIX_first), record(PREFIX_second), record(PREFIX_third)];
`

// orderTools are the compilers with the language that each is for.
func orderTools() (tools [][2]string) {
	for _, level := range strings.Fields("-O0 -O1 -O2 -O3 -Os") {
		for _, cc := range compilers {
			tools = append(tools, [2]string{cc + " " + level + " " + pluginFlags, ".c"})
		}
		for _, cc := range []string{"g++", "clang-14", "clang-19",
			"aarch64-linux-gnu-g++ -mno-outline-atomics"} {
			tools = append(tools, [2]string{cc + " " + level + " " + pluginFlags + " " + cxxFlags, ".cc"})
		}
	}
	for _, cc := range compilers {
		tools = append(tools, [2]string{cc, ".S"})
	}
	for _, level := range []string{"0", "1", "2", "3", "s", "z"} {
		tools = append(tools, [2]string{"rustc --edition=2021 -C panic=abort -C codegen-units=1 -C relocation-model=pic -C opt-level=" + level, ".rs"})
	}
	return tools
}

// order compiles three hooks whose names begin with prefix.
func order(t *testing.T, tool [2]string, prefix string) string {
	t.Helper()
	source := map[string]string{".c": orderC, ".cc": orderC, ".S": orderS, ".rs": orderRust}[tool[1]]
	if tool[1] == ".rs" {
		tool[0] += " --crate-name " + prefix // a part of every symbol
	}
	return loadertest.Compile(t, tool[0], tool[1], strings.ReplaceAll(source, "PREFIX", prefix))
}

// inOrder wants the three hooks of each prefix, the prefixes in their order.
func inOrder(t *testing.T, what string, object []byte, prefixes ...string) {
	t.Helper()
	p, err := loader.Parse(object, "order.o", loader.Options{})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	var got, want []string
	for _, h := range p.Hooks {
		name := loader.Demangle(h.Fn.Symbol)
		name = name[max(0, strings.LastIndex(name, ":")+1):]
		got = append(got, strings.TrimSuffix(name, "(crpie_ctx*)"))
	}
	for _, prefix := range prefixes {
		want = append(want, prefix+"_first", prefix+"_second", prefix+"_third")
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: the hooks are %v, want %v", what, got, want)
	}
}

// Hooks of one stage run in the order in which the source registers them, whatever compiled it.
func TestHooksKeepTheirOrder(t *testing.T) {
	for _, tool := range orderTools() {
		t.Run(tool[0]+tool[1], func(t *testing.T) {
			t.Parallel()
			object, err := os.ReadFile(order(t, tool, "a"))
			if err != nil {
				t.Fatal(err)
			}
			inOrder(t, tool[0], object, "a")
		})
	}
}

// ld -r keeps the order of its arguments, and within each that of the source, in every pair of languages.
func TestHooksKeepTheirOrderThroughLd(t *testing.T) {
	t.Parallel()
	tools := [][2]string{
		{"gcc -O2 " + pluginFlags, ".c"}, {"clang-19 -O2 " + pluginFlags, ".c"},
		{"g++ -O3 " + pluginFlags + " " + cxxFlags, ".cc"}, {"gcc", ".S"},
		{"rustc --edition=2021 -O -C panic=abort -C codegen-units=1 -C relocation-model=pic", ".rs"},
	}
	for _, first := range tools {
		a := order(t, first, "a")
		for _, second := range tools {
			what := filepath.Ext(first[1]) + " and " + second[1]
			inOrder(t, what, loadertest.Merge(t, a, order(t, second, "b")), "a", "b")
		}
	}
}
