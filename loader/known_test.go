package loader_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
)

// knownCase makes a compiler refer to a name of its run-time library, and removes that with the fix.
type knownCase struct {
	name   string // as the message has it
	tool   string
	suffix string
	source string
	fix    string // part of the fix that must be given
	fixed  string // the compiler with the fix applied
	repair func(string) string
}

var knownCases = []knownCase{
	{"__stack_chk_fail", "gcc -O1 -fPIC -fstack-protector-all", ".c", "int f(void) { return 1; }",
		"-fno-stack-protector", "gcc -O1 -fPIC -fno-stack-protector", nil},
	{"__stack_chk_guard", "aarch64-linux-gnu-gcc -O1 -fPIC -fstack-protector-all -mstack-protector-guard=global",
		".c", "int f(void) { return 1; }",
		"-fno-stack-protector", "aarch64-linux-gnu-gcc -O1 -fPIC", nil},
	{"memcpy", clang14, ".c", "struct s { char b[4096]; }; void f(struct s *a, struct s *b) { *a = *b; }",
		"include <crpie/string.h>, or define it", "", func(s string) string {
			return s + "void *memcpy(void *d, const void *s, unsigned long n) { char *p = d; while (n--) { *p++ = *(const volatile char *)s; s = (const char *)s + 1; } return d; }"
		}},
	{"bcmp", "clang-19 -O2 -fPIC", ".c",
		"int memcmp(const void *, const void *, unsigned long); int f(char *a, char *b, long n) { return memcmp(a, b, n) == 0; }",
		"-fno-builtin-bcmp", "", nil},
	{"__memcpy_chk", "gcc -O2 -fPIC -fno-stack-protector -D_FORTIFY_SOURCE=2", ".c",
		"#include <string.h>\nchar b[9]; void f(char *s, int n) { memcpy(b, s, n); }", "-U_FORTIFY_SOURCE", "",
		nil},
	{"__divti3", cc, ".c", "__int128 f(__int128 a, __int128 b) { return a / b; }", "libgcc", "", nil},
	{"__popcountdi2", cc, ".c", "int f(long a) { return __builtin_popcountl(a); }", "-mpopcnt", cc + " -mpopcnt",
		nil},
	{"__atomic_load_16", "gcc -O1 -fPIC", ".c", "__int128 f(__int128 *a) { return __atomic_load_n(a, 0); }",
		"__sync_val_compare_and_swap with -mcx16", "gcc -O1 -fPIC -mcx16" + quiet,
		replace("__atomic_load_n(a, 0)", "__sync_val_compare_and_swap(a, 0, 0)")},
	{"__atomic_load", "gcc -O1 -fPIC" + quiet, ".c",
		"struct s { char b[3]; }; void f(struct s *a, struct s *b) { __atomic_load(a, b, 0); }",
		"aligned types of 1, 2, 4 or 8 bytes", "", replace("char b[3]", "char b[4] __attribute__((aligned(4)))")},
	{"std::__throw_length_error(char const*)", cxx, ".cc",
		"namespace std { void __throw_length_error(char const *); } void f() { std::__throw_length_error(\"\"); }",
		"there is no libstdc++ in a hook", "", replace("std::__throw_length_error(\"\")", "")},
	{"std::ios_base::Init::Init()", cxx, ".cc",
		"namespace std { struct ios_base { struct Init { Init(); }; }; } void f() { std::ios_base::Init i; }",
		"there is no libstdc++ in a hook", "", replace("std::ios_base::Init i;", "")},
	{"core::panicking::panic_const::panic_const_div_by_zero", rust, ".rs",
		"#![no_std]\n#[no_mangle] pub extern \"C\" fn f(a: u32, b: u32) -> u32 { a / b }",
		"use checked_div()", rust, replace("a / b", "a.checked_div(b).unwrap_or(0)")},
	{"__aarch64_ldadd4_acq_rel", "aarch64-linux-gnu-gcc -O2 -fPIC" + quiet, ".c",
		"int f(int *p) { return __atomic_fetch_add(p, 1, 4); }",
		"-mno-outline-atomics", arm, nil},
	{"mcount", "gcc -O1 -fPIC -pg" + quiet, ".c", "int f(void) { return 1; }", "without -pg", cc, nil},
	{"__fentry__", "gcc -O1 -fPIC -pg -mfentry" + quiet, ".c", "int f(void) { return 1; }", "without -pg", cc, nil},
	{"__cyg_profile_func_enter", "gcc -O1 -fPIC -finstrument-functions" + quiet, ".c", "int f(void) { return 1; }",
		"without -finstrument-functions", cc, nil},
	{"__asan_report_load4", "gcc -O1 -fPIC -fsanitize=address" + quiet, ".c", "int f(int *p) { return *p; }",
		"without -fsanitize", cc, nil},
	{"__ubsan_handle_add_overflow", "clang-14 -O1 -fPIC -fsanitize=undefined" + quiet, ".c",
		"int f(int a, int b) { return a + b; }",
		"without -fsanitize", clang14, nil},
	{"__gcov_merge_add", "gcc -O1 -fPIC --coverage" + quiet, ".c", "int f(void) { return 1; }",
		"without --coverage", cc, nil},
	{"__x86_indirect_thunk_rax", "gcc -O1 -fPIC -mindirect-branch=thunk-extern" + quiet, ".c",
		"void f(void (**p)(void)) { p[1](); p[2](); }",
		"-mindirect-branch=thunk", "gcc -O1 -fPIC -mindirect-branch=thunk" + quiet, nil},
	{"__tls_get_addr", "gcc -O1 -fPIC" + quiet, ".c", "static __thread int t; int *f(void) { return &t; }",
		"remove __thread", "", replace("__thread ", "")},
	{"__cxa_atexit", "g++ -O1 -fPIC" + quiet, ".cc", "struct s { ~s(); }; s::~s() {} s x;",
		"no static object with a destructor", "", replace("s x;", "")},
	{"__cxa_guard_acquire", cxx, ".cc",
		"int g(int); int f(int a) { static int x = g(a); return x; } int g(int a) { return a; }",
		"-fno-threadsafe-statics", cxx + " -fno-threadsafe-statics", nil},
	{"operator new(unsigned long)", cxx, ".cc", "int *f() { return new int(3); }", "there is no heap in a hook",
		"", replace("new int(3)", "nullptr")},
	{"__gxx_personality_v0", "g++ -O1 -fPIC", ".cc",
		"struct s { ~s(); }; s::~s() {} void g(int *p) { *p = 1; } void f(void (*h)()) { s x; h(); }",
		"", cxx, nil},
	{"_Unwind_Resume", "g++ -O1 -fPIC", ".cc", "struct s { ~s(); }; s::~s() {} void f(void (*h)()) { s x; h(); }",
		"-fno-exceptions", cxx, nil},
	{"__cxa_throw", "g++ -O1 -fPIC", ".cc", "void f() { throw 1; }", "-fno-exceptions", cxx,
		replace("throw 1;", "")},
	{"core::panicking::panic_bounds_check", rust, ".rs",
		"#![no_std]\n#[no_mangle] pub extern \"C\" fn f(a: &[u8; 4], i: usize) -> u8 { a[i] }",
		"get_unchecked", rust, replace("a[i]", "unsafe { *a.get_unchecked(i) }")},
	{"printf", cc, ".c", "int printf(const char *, ...); int f(void) { return printf(\"%d\", 3); }",
		"there is no libc in a hook", "", replace("printf(\"%d\", 3)", "3")},
	{"environ", cc, ".c", "extern char **environ; char **f(void) { return environ; }", "struct crpie_ctx", "",
		replace("extern char **environ", "static char **environ")},
	{"memcopy", cc, ".c", "void memcopy(void); void memcpoy(void) {} void f(void) { memcopy(); }",
		"did you mean `memcpoy`?", "", replace("memcopy(); }", "memcpoy(); }")},
	{"hook", cxx, ".cc", "extern \"C\" int hook(int, int); int hook(int x) { return hook(x, 1); }",
		"`hook(int)` is defined as a C++ function: declare it extern \"C\" on both sides", "", nil},
}

func TestKnownNamesComeWithTheirFix(t *testing.T) {
	for _, c := range knownCases {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadertest.Load(t, c.tool, c.suffix, c.source, loader.Options{Core: true})
			var all *loader.Error
			if !errors.As(err, &all) && c.fix != "" {
				t.Fatalf("accepted: %v", err)
			}
			if c.fix != "" && !hasFix(all, c.name, c.fix) {
				t.Errorf("no undefined `%s` with %q in\n%v", c.name, c.fix, err)
			}
			source, tool := repaired(c.source, c.tool, c.repair, c.fixed)
			if source == c.source && tool == c.tool {
				return // the fix is another object
			}
			if _, err := loadertest.Load(t, tool, c.suffix, source,
				loader.Options{Core: true}); err != nil {
				t.Errorf("after the fix: %v", err)
			}
		})
	}
}

// hasFix looks for an undefined symbol of that name whose fix contains a text.
func hasFix(all *loader.Error, name, fix string) bool {
	for _, v := range all.Violations {
		if v.Code == loader.CodeUndefined && v.Message == "undefined symbol `"+name+"`" &&
			strings.Contains(v.Fix, fix) {
			return true
		}
	}
	return false
}
