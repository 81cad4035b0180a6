package loader_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
)

// TestWhatLooksWrongButIsRight has what other loaders refuse, or get wrong, without need.
func TestWhatLooksWrongButIsRight(t *testing.T) {
	for _, c := range []struct{ what, tool, suffix, source string }{
		{"EI_OSABI of GNU, for STB_GNU_UNIQUE", "g++ -O0 -fPIC -fno-exceptions" + quiet, ".cc",
			"template <class T> int *f() { static int x; return &x; } int *g() { return f<int>(); }"},
		{"COMDAT groups", "g++ -O0 -fPIC" + quiet, ".cc",
			"inline int f() { return 1; } int g() { return f(); }"},
		{"COMDAT retpolines", "gcc -O2 -fPIC -mindirect-branch=thunk" + quiet, ".c",
			"void f(void (**p)(void)) { p[1](); p[2](); }"},
		{"clang retpolines", "clang-19 -O2 -fPIC -mretpoline" + quiet, ".c",
			"void f(void (**p)(void)) { p[1](); p[2](); }"},
		{"an undefined symbol that nobody refers to", "gcc", ".s", ".text\n.globl nowhere\nf: ret" + stack},
		{"_GLOBAL_OFFSET_TABLE_", "gcc -O1 -fPIC" + quiet, ".c",
			"extern int x; int *f(void) { return &x; } int x;"},
		{"a GOT access with addend -5", "gcc", ".s",
			".text\ncmpb $0, x@GOTPCREL(%rip)\n.data\n.globl x\nx: .quad 0" + stack},
		{"a GOT access with addend -8", "gcc", ".s",
			".text\ncmpl $0x12345, x@GOTPCREL(%rip)\n.data\n.globl x\nx: .quad 0" + stack},
		{"relocations out of order", "gcc", ".s",
			".text\n.globl x\n.quad 0, 0, 0\n.reloc 16, R_X86_64_64, x\n.reloc 0, R_X86_64_64, x\n.data\nx: .quad 0" + stack},
		{"a section of its own for each function and variable", cc + " -ffunction-sections -fdata-sections",
			".c",
			"int a = 1, b; static int f(int x) { return x + a; } int g(void) { return f(b); }"},
		{"sections to keep", "clang-19 -O1 -fPIC" + quiet, ".c",
			"__attribute__((used, retain, section(\"kept\"))) static int x = 1;"},
		{"patchable functions", cc + " -fpatchable-function-entry=4", ".c", "int f(void) { return 1; }"},
		{"debug information", cc + " -g3", ".c", "int f(int x) { return x; }"},
		{"compressed debug information", cc + " -g -gz", ".c", "int f(int x) { return x; }"},
		{"fat LTO", cc + " -flto -ffat-lto-objects", ".c", "int f(int x) { return x; }"},
		{"embedded bitcode", "clang-14 -O1 -fPIC -fembed-bitcode" + quiet, ".c", "int f(int x) { return x; }"},
		{"an absolute symbol", "gcc", ".s", ".text\n.globl K\nK = 1\nmovl $K, %eax\n" + stack},
		{"the large code model", cc + " -mcmodel=large", ".c",
			"static int x[9]; extern int y; int f(int i) { return x[i] + y; } int y;"},
		{"weak definitions", cc, ".c",
			"__attribute__((weak)) int f(void) { return 1; } int g(void) { return f(); }"},
		{"outline atomics turned off", arm, ".c", "int f(int *p) { return __atomic_fetch_add(p, 1, 4); }"},
		{"a variant calling convention", "aarch64-linux-gnu-gcc -O1 -fPIC -march=armv8-a+sve" + quiet, ".c",
			"#include <arm_sve.h>\nsvint32_t f(svint32_t x) { return x; }"},
		{"BTI", "aarch64-linux-gnu-gcc -O1 -fPIC -mbranch-protection=standard" + quiet, ".c",
			"int f(void) { return 1; }"},
		{"Rust without std", rust, ".rs",
			"#![no_std]\n#[no_mangle] pub extern \"C\" fn f(a: u32) -> u32 { a.wrapping_mul(3) }"},
	} {
		if _, err := loadertest.Load(t, c.tool, c.suffix, c.source, loader.Options{Core: true}); err != nil {
			t.Errorf("%s (%s): %v", c.what, c.tool, err)
		}
	}
}

// manyFunctions make debug information that is worth compressing: small sections are left as they are.
var manyFunctions = func() (s string) {
	for i := range 60 {
		s += fmt.Sprintf("int function_%d(int argument_%d) { return argument_%d / %d; }\n", i, i, i, i+2)
	}
	return s
}()

// TestViolationsHaveTheirSourceLine compiles with every form of debug information.
func TestViolationsHaveTheirSourceLine(t *testing.T) {
	source := "extern int helper(int);\nint first(int x)\n{\n\treturn x;\n}\nint hook(int x)\n{\n\treturn helper(x) + 1;\n}\n" + manyFunctions
	for _, tool := range []string{cc + " -g", cc + " -gdwarf-4", cc + " -g -gz", cc + " -g -ffunction-sections",
		clang14 + " -g",
		clang19 + " -g", clang19 + " -gdwarf-4 -ffunction-sections", clang19 + " -g -gz=zlib",
		clang19 + " -g -gz=zstd", cc + " -g -Wa,--compress-debug-sections=zstd", arm + " -g",
		"clang-19 -O1 -fPIC --target=aarch64-linux-gnu -ffreestanding -g"} {
		_, err := loadertest.Load(t, tool, ".c", source, loader.Options{Core: true})
		var v loader.Violation
		if !errors.As(err, &v) || len(v.Places) == 0 {
			t.Errorf("%s: got %v", tool, err)
			continue
		}
		if at := v.Places[0]; !strings.HasSuffix(at.File, "plugin.c") || at.Line != 8 || at.Function != "hook" {
			t.Errorf("%s: place is %+v", tool, at)
		}
	}
}

func TestLinkedObjectsAreAccepted(t *testing.T) {
	a := loadertest.Compile(t, cc, ".c", "int helper(int); int hook(int x) { return helper(x); }")
	b := loadertest.Compile(t, cc, ".c", "static int seen; int helper(int x) { return seen += x; }")
	if _, err := loader.Parse(loadertest.Merge(t, a, b), "merged.o", loader.Options{Core: true}); err != nil {
		t.Error(err)
	}
}
