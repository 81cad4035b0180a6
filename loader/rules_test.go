package loader_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
)

// ruleCase breaks one rule with a real compiler and then applies the fix to the same source.
type ruleCase struct {
	code   loader.Code
	tool   string // compiler and flags that break the rule
	suffix string
	source string
	want   string // one of the violations or notes, exactly
	fixed  string // compiler and flags of the fix; empty: the same
	repair func(source string) string
	plugin bool // needs hooks; the others are checked as a core would be
}

// Flags that leave nothing to complain about.
const (
	quiet   = " -fno-stack-protector -fno-asynchronous-unwind-tables"
	cc      = "gcc -O2 -fPIC -ffreestanding" + quiet
	clang14 = "clang-14 -O2 -fPIC -ffreestanding" + quiet
	clang19 = "clang-19 -O2 -fPIC -ffreestanding" + quiet
	cxx     = "g++ -O2 -fPIC -ffreestanding -fno-exceptions -fno-rtti" + quiet
	arm     = "aarch64-linux-gnu-gcc -O2 -fPIC -ffreestanding -mno-outline-atomics" + quiet
	as      = "gcc"
	stack   = "\n.section .note.GNU-stack,\"\",@progbits\n"
	rust    = "rustc --edition=2021 -O -C panic=abort -C codegen-units=1 -C relocation-model=pic"
)

func replace(old, new string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, new, 1) }
}

const bigFrame = "int f(int i) { volatile char big[199999]; big[i] = 1; return big[i + 1]; }"

var ruleCases = []ruleCase{
	{code: "PIE002", tool: clang19 + " -flto", suffix: ".c", source: "int x;", fixed: clang19,
		want: "PIE002 LLVM bitcode (clang -flto), not machine code"},
	{code: "PIE002", tool: clang14 + " -flto=thin", suffix: ".c", source: "int x;", fixed: clang14 + " -fno-lto",
		want: "PIE002 LLVM bitcode (clang -flto), not machine code"},
	{code: "PIE003", tool: cc + " -flto", suffix: ".c", source: "int f(void) { return 1; }",
		fixed: cc + " -flto -ffat-lto-objects",
		want:  "PIE003 GCC LTO object (gcc -flto): symbol __gnu_lto_slim"},
	{code: "PIE005", tool: "gcc -shared -fPIC -nostdlib", suffix: ".link.c", source: "int x;",
		want: "PIE005 shared object or executable (ET_DYN), not a relocatable object"},
	{code: "PIE005", tool: "gcc -static -nostdlib -Wl,-e,0", suffix: ".link.c", source: "int x;",
		want: "PIE005 linked executable (ET_EXEC), not a relocatable object"},
	{code: "PIE006", tool: "gcc -mx32 -ffreestanding", suffix: ".c", source: "int x;", fixed: cc,
		want: "PIE006 32-bit object for x86-64 (-mx32)"},
	{code: "PIE006", tool: "gcc -m32 -ffreestanding", suffix: ".c", source: "int x;", fixed: cc,
		want: "PIE006 32-bit object for 80386 (-m32)"},
	{code: "PIE007", tool: "clang-19 --target=aarch64_be-linux-gnu -ffreestanding", suffix: ".c", source: "int x;",
		fixed: "clang-19 --target=aarch64-linux-gnu -ffreestanding",
		want:  "PIE007 big-endian object (aarch64_be)"},
	{code: "PIE008", tool: "clang-19 --target=riscv64-linux-gnu -ffreestanding", suffix: ".c", source: "int x;",
		fixed: clang19,
		want:  "PIE008 object for EM_RISCV; supported are EM_X86_64 and EM_AARCH64"},
	{code: "PIE012", tool: cc + " -s", suffix: ".strip.c", source: "int x;",
		want: "PIE012 no symbol table (stripped)"},

	{code: "PIE101", tool: clang19 + " -Wa,--crel,--allow-experimental-crel", suffix: ".c", fixed: clang19,
		source: "static int y; int *x = &y; int f(void) { return *x; }",
		want:   "PIE101 section .crel.text holds compact relocations (CREL), which would be lost at .text+0x0"},
	{code: "PIE101", tool: as, suffix: ".s", source: ".section odd,\"a\",@0x12345\nx:.quad 1\n" + stack,
		repair: replace("@0x12345", "@progbits"),
		want:   "PIE101 section odd has type 0x12345, which is not understood at odd+0x0"},
	{code: "PIE104", tool: cc, suffix: ".c",
		source: "int n; __attribute__((constructor)) void c(void) { n = __builtin_ia32_rdtsc(); }",
		repair: replace("__attribute__((constructor)) ", ""),
		want:   "PIE104 section .init_array: constructor `c` would never run at .init_array+0x0"},
	{code: "PIE104", tool: cxx, suffix: ".cc",
		source: "extern \"C\" int g() { return 3; } int f(int); int v = f(1); int f(int x) { return x + *(volatile int *)&v; }",
		repair: replace("int v = f(1)", "int v = 1"),
		want:   "PIE104 section .init_array: constructor `_GLOBAL__sub_I_plugin.cc` would never run at .init_array+0x0"},
	{code: "PIE104", tool: as, suffix: ".s", source: ".section .ctors,\"aw\"\n.quad f\n.text\nf: ret" + stack,
		repair: replace(".ctors", ".data"),
		want:   "PIE104 section .ctors: constructor `f` would never run at .ctors+0x0"},
	{code: "PIE105", tool: cc, suffix: ".c", source: "__thread int t = 1; int f(void) { return t; }",
		repair: replace("__thread ", ""),
		want:   "PIE105 section .tdata: 4 bytes of thread-local variables at .tdata+0x0"},
	{code: "PIE105", tool: clang14, suffix: ".c", source: "_Thread_local int t; int f(void) { return t; }",
		repair: replace("_Thread_local ", ""),
		want:   "PIE105 section .tbss: 4 bytes of thread-local variables at .tbss+0x0"},
	{code: "PIE106", tool: as, suffix: ".s", source: ".section .plugin,\"awx\",@progbits\nf: ret" + stack,
		repair: replace("awx", "ax"),
		want:   "PIE106 section .plugin is writable and executable at .plugin+0x0"},
	{code: "PIE107", tool: "gcc -O0 -fPIC -ffreestanding" + quiet, suffix: ".c",
		source: "int call(int (*)(void)); int hook(int x) { int nested(void) { return x; } return call(nested); } int call(int (*f)(void)) { return f(); }",
		repair: replace("call(nested)", "nested()"),
		want:   "PIE107 needs an executable stack: section .note.GNU-stack has the flag x: trampoline of a nested function at hook+0x42, .text+0x51"},
	{code: "PIE107", tool: arm, suffix: ".c", repair: replace("call(nested)", "nested()"),
		source: "int call(int (*)(void)); int hook(int x) { int nested(void) { return x; } return call(nested); } __attribute__((noinline)) int call(int (*f)(void)) { return f(); }",
		want:   "PIE107 needs an executable stack: section .note.GNU-stack has the flag x: trampoline of a nested function at hook+0x4c, .text+0x8c"},
	{code: "PIE107", tool: as, suffix: ".s", source: ".text\nf: ret\n.section .note.GNU-stack,\"x\",@progbits\n",
		repair: replace(",\"x\"", ",\"\""),
		want:   "PIE107 needs an executable stack: section .note.GNU-stack has the flag x"},
	{code: "PIE107", tool: as, suffix: ".s", source: ".text\nf: ret\n", repair: func(s string) string {
		return s + stack
	},
		want: "PIE107 has code but no section .note.GNU-stack, which means that it needs an executable stack"},
	{code: "PIE110", tool: as, suffix: ".s", source: ".section x,\"ae\",@progbits\ny: .quad 1" + stack,
		repair: replace("ae", "a"),
		want:   "PIE110 section x has both SHF_ALLOC and SHF_EXCLUDE at x+0x0"},
	{code: "PIE112", tool: cc, suffix: ".c", source: "int v __attribute__((aligned(65536))) = 1;",
		repair: replace("65536", "4096"),
		want:   "PIE112 section .data wants an alignment of 65536 bytes, more than a page (4096) at .data+0x0"},
	{code: "PIE113", tool: cc, suffix: ".c", source: "char v[3L<<30]; char *f(void) { return v; }",
		repair: replace("3L<<30", "3L<<20"),
		want:   "PIE113 3221225480 bytes of memory exceed the limit of 268435456; section .bss has 3221225472, of which `v` takes 3221225472 at .bss+0x0"},
	{code: "PIE114", tool: "gcc -O2 -fPIC", suffix: ".c", source: "int f(void) { return 1; }",
		want: "PIE114 section .eh_frame (48 bytes) is not laid out: nothing unwinds in a restorer"},
	{code: "PIE115", tool: clang19 + " -fprofile-instr-generate", suffix: ".c",
		source: "int f(void) { return 1; }", fixed: clang19,
		want: "PIE115 section __llvm_prf_cnts needs a run-time library at __llvm_prf_cnts+0x0"},
	{code: "PIE115", tool: clang14 + " -fxray-instrument -fxray-instruction-threshold=1", suffix: ".c",
		fixed:  clang14,
		source: "int f(void) { return 1; }",
		want:   "PIE115 section xray_instr_map needs a run-time library at xray_instr_map+0x0"},
	{code: "PIE116", tool: cc + " -fcf-protection=full", suffix: ".c", plugin: true,
		source: strings.Replace(records,
			"static int early", "__attribute__((nocf_check)) static int early",
			1), repair: replace("__attribute__((nocf_check)) ", ""),
		want: "PIE116 the object claims IBT, but PIE_RST_POST_MEMORY `early` does not begin with endbr64 at early+0x0, .text+0x0"},
	{code: "PIE120", tool: as, suffix: ".s", source: ".section .text.f,\"ax\",@nobits\nf: .skip 8\n" + stack,
		repair: replace("nobits", "progbits"),
		want:   "PIE120 section .text.f: 0x8 bytes of code, but none of them in the file at .text.f+0x0"},
	{code: "PIE119", tool: cc + " -march=x86-64-v3 -mneeded", suffix: ".c", source: "int x;",
		want: "PIE119 the code needs a processor of x86-64-v3"},

	{code: "PIE121", tool: as, suffix: ".s", source: ".text\n.cfi_startproc\nf: sub $199992, %rsp\n" +
		".cfi_def_cfa_offset 200000\nret\n.cfi_endproc\n" + stack,
		repair: strings.NewReplacer("199992", "9992", "200000", "10000").Replace,
		want:   "PIE121 the frame of f has 200000 bytes, the stack of a hook 126976 at f+0x0, .text+0x0"},
	{code: "PIE121", tool: clang19 + " -fstack-size-section", suffix: ".c", source: bigFrame,
		repair: replace("volatile", "static volatile"),
		want:   "PIE121 the frame of f has 199880 bytes, the stack of a hook 126976 at f+0x0, .text+0x0"},
	{code: "PIE121", tool: clang14 + " -g -gz", suffix: ".c", source: strings.Replace(bigFrame, "199", "1999", 1),
		repair: replace("volatile", "static volatile"),
		want: "PIE121 the frame of f has 1999888 bytes, the stack of a hook 126976; " +
			"it can reach over the guard of 1048576 bytes below at f+0x0, .text+0x0"},
	{code: "PIE409", tool: cc, suffix: ".c", plugin: true, source: makes("13 /* rt_sigaction */"),
		repair: replace("CRPIE_MAKES(13", "CRPIE_MAKES(14"),
		want: "PIE409 system call rt_sigaction: a handler in the plugin is unmapped before the program goes on, " +
			"and the signal then crashes it: install a function of the program, SIG_DFL or SIG_IGN"},
	{code: "PIE410", tool: cc, suffix: ".c", plugin: true, source: makes("234"),
		repair: replace("CRPIE_MAKES(234", "CRPIE_MAKES(39"),
		want: "PIE410 system call tgkill: a signal to the restored process waits until it goes on, " +
			"and may end it then: return a negative errno to undo the restore"},
	{code: "PIE201", tool: cc, suffix: ".c", source: "int ext(int); int hook(void) { return ext(3); }",
		repair: func(s string) string { return s + "int ext(int x) { return x; }" },
		want:   "PIE201 undefined symbol `ext` at hook+0x6, .text+0x6"},
	{code: "PIE201", tool: cxx, suffix: ".cc",
		source: "namespace a { int ext(int, char *); } int hook() { return a::ext(3, 0); }",
		repair: replace("ext(int, char *);", "ext(int x, char *) { return x; }"),
		want:   "PIE201 undefined symbol `a::ext(int, char*)` at hook()+0x8, .text+0x8"},
	{code: "PIE202", tool: cc, suffix: ".c",
		source: "__attribute__((weak)) extern int opt; int *hook(void) { return &opt; }",
		repair: replace("extern int opt", "int opt"),
		want:   "PIE202 weak symbol `opt` is not defined and would be 0 at hook+0x3, .text+0x3"},
	{code: "PIE203", tool: cc + " -fcommon", suffix: ".c", source: "int counter; int f(void) { return counter; }",
		fixed: cc + " -fno-common",
		want:  "PIE203 tentative definition `counter` of 4 bytes (SHN_COMMON)"},
	{code: "PIE203", tool: cc + " -fcommon -mcmodel=medium", suffix: ".c",
		source: "char big[1<<20]; char f(void) { return big[3]; }",
		repair: replace("[1<<20]", "[1<<20] = {0}"),
		want:   "PIE203 tentative definition `big` of 1048576 bytes (SHN_COMMON)"},
	{code: "PIE204", tool: cc, suffix: ".c",
		source: "static int one(void) { return 1; } static void *pick(void) { return one; } int fn(void) __attribute__((ifunc(\"pick\")));",
		repair: replace("int fn(void) __attribute__((ifunc(\"pick\")));", "int fn(void) { return one(); }"),
		want:   "PIE204 indirect function `fn` needs a resolver to run at .text+0x10"},
	{code: "PIE205", tool: cc, suffix: ".c", source: "extern __thread int errno; int f(void) { return errno; }",
		repair: replace("extern __thread int", "static int"),
		want:   "PIE205 thread-local variable `errno` at f+0x8, .text+0x8"},
	{code: "PIE209", tool: as, suffix: ".s", source: ".text\n.globl f\n.internal f\nf: ret" + stack,
		repair: replace("internal", "hidden"),
		want:   "PIE209 symbol `f` has internal visibility at .text+0x0"},
	{code: "PIE210", tool: cc, suffix: ".c",
		source: "extern int __start_nums[]; int f(void) { return __start_nums[0]; }",
		repair: func(s string) string { return s + "int n __attribute__((section(\"nums\"), used)) = 1;" },
		want:   "PIE210 `__start_nums`: there is not a section nums in memory at f+0x3, .text+0x3"},
	{code: "PIE210", tool: as, suffix: ".s", repair: replace("\"a\"", "\"aw\""),
		source: ".section nums,\"a\"\n.long 1\n.section nums,\"awG\",@progbits,g,comdat\n.long 2\n.data\n.quad __start_nums\n" + stack,
		want:   "PIE210 `__start_nums`: the sections nums cannot lie side by side: they differ in w, x or @nobits at .data+0x0"},
	{code: "PIE211", tool: "gcc -O0 -fPIC" + quiet, suffix: ".c",
		source: "void *memset(void *p, int c, unsigned long n) { char *q = p; return n ? __builtin_memset(q, c, n) : p; }",
		repair: replace("return n ? __builtin_memset(q, c, n) : p;", "while (n--) *q++ = c; return p;"),
		want:   "PIE211 `memset` calls itself: the compiler made a call of its loop at memset+0x33, .text+0x33"},

	{code: "PIE301", tool: as, suffix: ".s",
		source: ".data\nx: .quad 0\n.vtable_entry x, 4\n.vtable_inherit x, 0\n" + stack,
		repair: replace(".vtable_entry x, 4\n.vtable_inherit x, 0\n", ""),
		want:   "PIE301 EM_X86_64 relocation 251 is not understood at .data+0x8"},
	{code: "PIE302", tool: "gcc -O2 -fno-pic -no-pie -mcmodel=kernel" + quiet, suffix: ".c", fixed: cc,
		source: "int t[4]; int f(long i) { return t[i]; }",
		want:   "PIE302 relocation R_X86_64_32S against `t`: 4 bytes cannot hold an address at f+0x3, .text+0x3"},
	{code: "PIE302", tool: as, suffix: ".s", source: ".text\nmovl $x, %eax\n.data\nx: .quad 0" + stack,
		repair: replace("movl $x, %eax", "leaq x(%rip), %rax"),
		want:   "PIE302 relocation R_X86_64_32 against `.data`: 4 bytes cannot hold an address at .text+0x1"},
	{code: "PIE303", tool: as, suffix: ".s", source: ".text\n.long 0\n.reloc 0, R_X86_64_TPOFF32, .data\n" + stack,
		repair: replace("TPOFF32", "PC32"),
		want:   "PIE303 relocation R_X86_64_TPOFF32 accesses a thread-local variable at .text+0x0"},
	{code: "PIE304", tool: as, suffix: ".s",
		source: ".text\n.quad 0\n.reloc 0, R_X86_64_RELATIVE, .data\n" + stack,
		repair: replace("RELATIVE", "64"),
		want:   "PIE304 relocation R_X86_64_RELATIVE is for dynamic linkers at .text+0x0"},
	{code: "PIE305", tool: "clang-19 --target=aarch64-linux-gnu", suffix: ".s",
		source: ".data\nx: .quad x@AUTH(ia,42)\n" + stack, repair: replace("@AUTH(ia,42)", ""),
		want: "PIE305 R_AARCH64_AUTH relocation 580 signs a pointer at .data+0x0"},
	{code: "PIE306", tool: as, suffix: ".s", source: ".text\n.quad 7\n.reloc 0, R_X86_64_64, .data\n" + stack,
		repair: replace(".quad 7", ".quad 0"),
		want:   "PIE306 relocation R_X86_64_64 against `.data`: the place already holds 07 00 00 00 00 00 00 00 at .text+0x0"},
	{code: "PIE307", tool: "aarch64-linux-gnu-gcc", suffix: ".s",
		source: ".text\n.byte 0\n.reloc 1, R_AARCH64_CALL26, f\n.globl f\n.byte 0,0,0x94,0,0,0,0\nf: ret\n" +
			stack,
		repair: replace(".byte 0\n.reloc 1, R_AARCH64_CALL26, f\n.globl f\n.byte 0,0,0x94,0,0,0,0", "bl f"),
		want:   "PIE307 relocation R_AARCH64_CALL26 at an offset that is not a multiple of 4 at .text+0x1"},
	{code: "PIE308", tool: "aarch64-linux-gnu-gcc", suffix: ".s",
		source: ".text\nnop\n.reloc 0, R_AARCH64_CALL26, f\n.globl f\nf: ret\n" + stack,
		repair: replace("nop\n.reloc 0, R_AARCH64_CALL26, f", "bl f"),
		want:   "PIE308 relocation R_AARCH64_CALL26 on 0xd503201f, which is not B or BL at .text+0x0"},
	{code: "PIE308", tool: as, suffix: ".s",
		source: ".text\n.byte 0x48, 0x8d, 0x05\n.long 0\n.reloc 3, R_X86_64_REX_GOTPCRELX, x-4\n.data\n.globl x\nx: .quad 0" + stack,
		repair: replace("0x8d", "0x8b"),
		want:   "PIE308 relocation R_X86_64_REX_GOTPCRELX on an instruction that it is not for at .text+0x3"},
	{code: "PIE309", tool: as, suffix: ".s",
		source: ".text\nmovq x@GOTPCREL+16(%rip), %rax\n.data\n.globl x\nx: .quad 0" + stack,
		repair: replace("+16", ""),
		want:   "PIE309 relocation R_X86_64_REX_GOTPCRELX against `x` has the addend 12 at .text+0x3"},
	{code: "PIE310", tool: as, suffix: ".s",
		source: ".text\nleaq s(%rip), %rax\n.section .info,\"\",@progbits\ns: .quad 0" + stack,
		repair: replace("\"\"", "\"a\""),
		want:   "PIE310 relocation R_X86_64_PC32 refers to `.info`, whose section is not laid out at .text+0x3"},
	{code: "PIE312", tool: as, suffix: ".s",
		source: ".text\n.quad 0\n.reloc 0, R_X86_64_64, .data\n.reloc 4, R_X86_64_32, 5\n" + stack,
		repair: replace(".reloc 4, R_X86_64_32, 5\n", ""),
		want:   "PIE312 relocation R_X86_64_32 overlaps the one at 0x0 (R_X86_64_64) at .text+0x4"},

	{code: "PIE401", tool: cc, suffix: ".c", plugin: true, source: "int x;", repair: func(string) string {
		return records
	},
		want: "PIE401 no hook is registered (section crpie_hooks is missing or empty)"},
	{code: "PIE402", tool: cc, suffix: ".c", plugin: true,
		source: strings.Replace(records, "a = {sizeof a", "a = {16", 1), repair: replace("{16", "{sizeof a"),
		want: "PIE402 record of 16 bytes with 24 left in section crpie_hooks, expected 24 at crpie_hooks+0x18"},
	{code: "PIE403", tool: cc, suffix: ".c", plugin: true,
		source: strings.Replace(records, "{sizeof plugin, 1", "{sizeof plugin, 9", 1),
		repair: replace("9", "1"),
		want:   "PIE403 record needs plugin ABI version 9; this crpie has version 5 at crpie_plugin+0x0"},
	{code: "PIE404", tool: cc, suffix: ".c", plugin: true,
		source: strings.Replace(records, "CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN", "5", 1),
		repair: replace(" 5,", " 0x106,"),
		want:   "PIE404 hook 0x5 does not exist; known are 0x100 to 0x106, and around a dump 0x180 and 0x181 at crpie_hooks+0x18"},
	{code: "PIE405", tool: cc, suffix: ".c", plugin: true,
		source: strings.Replace(records, "7, late", "7, (void *)&plugin", 1),
		repair: replace("(void *)&plugin", "late"),
		want:   "PIE405 PIE_RST_PRE_SIGRETURN does not point at a function: `crpie_plugin` is not part of the image at crpie_hooks+0x28"},
	{code: "PIE405", tool: cc, suffix: ".c", plugin: true, source: strings.Replace(records, "7, late", "7, 0", 1),
		repair: replace("7, 0", "7, late"),
		want:   "PIE405 hook PIE_RST_PRE_SIGRETURN has no function at crpie_hooks+0x18"},
	{code: "PIE406", tool: cc, suffix: ".c", plugin: true, source: strings.Replace(records, `"demo"`, `""`, 1),
		repair: replace(`""`, `"demo"`),
		want:   "PIE406 plugin name \"\" is not 1 to 47 printable characters without space and comma at crpie_plugin+0x8"},
	{code: "PIE407", tool: cc, suffix: ".c", plugin: true,
		source: sdkHook + "CRPIE_PARAM_STR(\"select\", CRPIE_OPTIONAL, \"\")",
		repair: replace("select", "tasks"),
		want:   "PIE407 parameter \"select\" is crpie's own: it says in which tasks a plugin runs at crpie_params+0x0"},
	{code: "PIE407", tool: cc, suffix: ".c", plugin: true,
		source: sdkHook + "CRPIE_PARAM_STR(\"a b\", CRPIE_OPTIONAL, \"\")", repair: replace("a b", "ab"),
		want: "PIE407 parameter \"a b\": a name has no space, comma, = or @ at crpie_params+0x0"},
	{code: "PIE407", tool: cc, suffix: ".c", plugin: true,
		source: sdkHook + "CRPIE_PARAM_STR(\"id@\", CRPIE_OPTIONAL, \"\")", repair: replace("id@", "id"),
		want: "PIE407 parameter \"id@\": a name has no space, comma, = or @ at crpie_params+0x0"},
	{code: "PIE407", tool: cc, suffix: ".c", plugin: true,
		source: sdkHook + "CRPIE_PARAM_INT(\"n\", CRPIE_OPTIONAL, 9, 8, \"\")", repair: replace("9, 8", "7, 8"),
		want: "PIE407 parameter \"n\" is in [9, 8], which is empty at crpie_params+0x0"},
	{code: "PIE407", tool: cc, suffix: ".c", plugin: true,
		source: sdkHook + "CRPIE_PARAM_STR(\"n\", CRPIE_OPTIONAL, \"\") CRPIE_PARAM_BOOL(\"n\", CRPIE_OPTIONAL, \"\")",
		repair: replace("BOOL", "STR"),
		want:   "PIE407 parameter \"n\" is declared twice, as different things at crpie_params+0x160"},
	{code: "PIE407", tool: cc, suffix: ".c", plugin: true,
		source: sdkHook + "CRPIE_PARAM_ENUM(\"n\", CRPIE_OPTIONAL, \" \", \"\")",
		repair: replace("\" \"", "\"one\""),
		want:   "PIE407 parameter \"n\": its list of words is too short at crpie_params+0x0"},
	{code: "PIE407", tool: cc, suffix: ".c", plugin: true,
		source: sdkHook + "CRPIE_PARAM_STR(\"n\", CRPIE_OPTIONAL, \"\") CRPIE_PARAM_ONE_OF(\"n m\", CRPIE_REQUIRED)",
		repair: replace("STR(\"n\"", "STR(\"m\", CRPIE_OPTIONAL, \"\") CRPIE_PARAM_STR(\"n\""),
		want:   "PIE407 CRPIE_PARAM_ONE_OF names \"m\", which is not a parameter"},
	{code: "PIE407", tool: cc, suffix: ".c", plugin: true,
		source: sdkHook + "CRPIE_PARAM_(77, \"n\", 0, 0, \"\", \"\", CRPIE_OPTIONAL)",
		repair: replace("77", "1"),
		want:   "PIE407 parameter \"n\" is of kind 77; known are 0 to 6 at crpie_params+0x0"},
	{code: "PIE407", tool: cc, suffix: ".c", plugin: true,
		source: sdkHook + "CRPIE_PARAM_STR(\"n\", CRPIE_OPTIONAL, \"\\033[2J\")",
		repair: replace("\\033[2J", ""),
		want:   "PIE407 parameter \"n\": its texts are not ended, or have characters that cannot be printed at crpie_params+0x0"},
	{code: "PIE407", tool: cc, suffix: ".c", plugin: true,
		source: sdkHook + "CRPIE_PARAM_INT(\"n\", CRPIE_DEFAULT(\"9\"), 1, 8, \"\")",
		repair: replace("\"9\"", "\"8\""),
		want:   "PIE407 parameter \"n\": its default \"9\" is not in [1, 8] at crpie_params+0x0"},
	{code: "PIE407", tool: cc, suffix: ".c", plugin: true,
		source: sdkHook + "CRPIE_PARAM_(1, \"n\", 0, 0, \"\", \"\", CRPIE_REQUIRED | CRPIE_DEFAULTED, \"x\")",
		repair: replace("CRPIE_REQUIRED | ", ""),
		want:   "PIE407 parameter \"n\" is required and has a default: it can be one of these at crpie_params+0x0"},
	{code: "PIE407", tool: cc, suffix: ".c", plugin: true,
		source: sdkHook + "CRPIE_PARAM_STR(\"n\", CRPIE_DEFAULT(\"\"), \"\") " +
			"CRPIE_PARAM_STR(\"m\", CRPIE_OPTIONAL, \"\") " +
			"CRPIE_PARAM_ONE_OF(\"n m\", CRPIE_OPTIONAL)",
		repair: replace("CRPIE_DEFAULT(\"\")", "CRPIE_OPTIONAL"),
		want:   "PIE407 CRPIE_PARAM_ONE_OF names \"n\", which has a default"},
	{code: "PIE407", tool: cc, suffix: ".c", plugin: true,
		source: sdkHook + "CRPIE_PARAM_STR(\"n\", CRPIE_OPTIONAL, \"\") " +
			"CRPIE_PARAM_STR(\"m\", CRPIE_OPTIONAL, \"\") " +
			"CRPIE_PARAM_ONE_OF(\"n m\", CRPIE_DEFAULT(\"n\"))",
		repair: replace("CRPIE_DEFAULT(\"n\")", "CRPIE_OPTIONAL"),
		want:   "PIE407 a record of kind \"one of\" has no default at crpie_params+0x2c0"},
	{code: "PIE411", tool: cc, suffix: ".c", plugin: true,
		source: sdkHook + "CRPIE_IMPORT_AS(f, int(void), \"f@\", \"l.so\", CRPIE_REQUIRED)",
		repair: replace("f@", "f@V"),
		want:   "PIE411 import \"f@\": that is not SYMBOL or SYMBOL@VERSION at crpie_imports+0x0"},
}

// sdkHook is a plugin that the SDK's macros make.
const sdkHook = `#include <crpie/plugin.h>
static int hook(struct crpie_ctx *ctx) { return ctx->pid < 0; }
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)
`

func TestEveryRuleIsBrokenAndFixed(t *testing.T) {
	for _, c := range ruleCases {
		t.Run(string(c.code)+" "+strings.Fields(c.tool)[0], func(t *testing.T) {
			opts := loader.Options{Core: !c.plugin}
			p, err := c.load(t, c.tool, c.source, opts)
			if got := complaints(p, err); !slices.Contains(got, c.want) {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), c.want)
			}
			source, tool := repaired(c.source, c.tool, c.repair, c.fixed)
			if source == c.source && tool == c.tool {
				return // nothing to repair: a note, or a file that is not an object
			}
			if _, err := c.load(t, tool, source, opts); err != nil {
				t.Errorf("after the fix: %v", err)
			}
		})
	}
}

// repaired applies what a case has of the two kinds of fix: to the source, and to the flags.
func repaired(source, tool string, repair func(string) string, fixed string) (string, string) {
	if repair != nil {
		source = repair(source)
	}
	return source, cmp.Or(fixed, tool)
}

func (c ruleCase) load(t *testing.T, tool, source string, opts loader.Options) (*loader.Plugin, error) {
	if suffix, ok := strings.CutPrefix(c.suffix, ".link"); ok {
		return loader.Parse(loadertest.Link(t, tool, suffix, source), "plugin.o", opts)
	}
	if suffix, ok := strings.CutPrefix(c.suffix, ".strip"); ok {
		return loader.Parse(loadertest.Strip(t, loadertest.Compile(t, tool, suffix, source)), "plugin.o", opts)
	}
	return loadertest.Load(t, tool, c.suffix, source, opts)
}

// complaints gives violations and notes as lines.
func complaints(p *loader.Plugin, err error) (lines []string) {
	var all *loader.Error
	if errors.As(err, &all) {
		for _, v := range all.Violations {
			lines = append(lines, v.Error())
		}
	} else if p != nil {
		for _, v := range p.Notes {
			lines = append(lines, v.Error())
		}
	}
	return lines
}

// damage is one change to the bytes of a good object, for the rules that no compiler breaks.
type damage struct {
	code loader.Code
	want string
	harm func(o object)
}

// object is the bytes of an object whose header, sections and symbols can be changed.
type object struct{ data []byte }

func (o object) u16(at int, v uint16) { binary.LittleEndian.PutUint16(o.data[at:], v) }
func (o object) u32(at int, v uint32) { binary.LittleEndian.PutUint32(o.data[at:], v) }
func (o object) u64(at int, v uint64) { binary.LittleEndian.PutUint64(o.data[at:], v) }

// section gives the place of the section header with a name, in a section table at its offset.
func (o object) section(name string) int {
	le := binary.LittleEndian
	shoff, n := int(le.Uint64(o.data[40:])), int(le.Uint16(o.data[60:]))
	names := shoff + 64*int(le.Uint16(o.data[62:]))
	text := o.data[le.Uint64(o.data[names+24:]):]
	for i := range n {
		h := shoff + 64*i
		if s, _, _ := bytes.Cut(text[le.Uint32(o.data[h:]):], []byte{0}); string(s) == name {
			return h
		}
	}
	panic("no section " + name)
}

// contents gives the place of a section's bytes.
func (o object) contents(name string) int {
	return int(binary.LittleEndian.Uint64(o.data[o.section(name)+24:]))
}

// damaged is compiled once; every damage is done to a copy. Symbol 0 is empty, the last ones are f and g.
const damaged = ".text\n.globl f, g\nf: call g\ng: ret\n.section .text.c,\"axG\",@progbits,c,comdat\nc: ret\n" +
	".data\n.quad f\n.section x,\"a\"\n.quad 1\n" + stack

var damages = []damage{
	{"PIE009", "PIE009 EI_OSABI is ELFOSABI_FREEBSD, not ELFOSABI_NONE or ELFOSABI_LINUX", func(o object) {
		o.data[7] = 9
	}},
	{"PIE010", "PIE010 e_shentsize is 0x3f, expected 0x40", func(o object) { o.u16(58, 63) }},
	{"PIE010", "PIE010 e_entry is 0x1, expected 0x0", func(o object) { o.u64(24, 1) }},
	{"PIE010", "PIE010 e_shstrndx 1 is not a NUL-terminated string table inside the file", func(o object) {
		o.u16(62, 1)
	}},
	{"PIE011", "PIE011 e_flags is 0x5; no flag is defined for EM_X86_64", func(o object) { o.u32(48, 5) }},
	{"PIE101", "PIE101 section x needs processing of its own (SHF_OS_NONCONFORMING) at x+0x0", func(o object) {
		o.u64(o.section("x")+8, 0x102)
	}},
	{"PIE101", "PIE101 section .strtab needs processing of its own (SHF_OS_NONCONFORMING) at .strtab+0x0",
		func(o object) { o.u64(o.section(".strtab")+8, 0x100) }},
	{"PIE102", "PIE102 section .rela.text: SHT_REL relocations are not part of the EM_X86_64 ABI at .rela.text+0x0",
		func(o object) { o.u32(o.section(".rela.text")+4, 9) }},
	{"PIE103", "PIE103 section .rela.text: 24 bytes in entries of 16, expected 24 at .rela.text+0x0",
		func(o object) { o.u64(o.section(".rela.text")+56, 16) }},
	{"PIE103", "PIE103 section .rela.data is a second relocation table of .text at .rela.data+0x0",
		func(o object) {
			o.u32(o.section(".rela.data")+44,
				binary.LittleEndian.Uint32(o.data[o.section(".rela.text")+44:]))
		}},
	{"PIE108", "PIE108 section group .group has the flags 0x4, expected 0 or 1 at .group+0x0",
		func(o object) { o.u32(o.contents(".group"), 4) }},
	{"PIE108", "PIE108 section group .group has section 99 as a member, but there are 13 at .group+0x0",
		func(o object) { o.u32(o.contents(".group")+4, 99) }},
	{"PIE109", "PIE109 section x is compressed but would be in memory at x+0x0", func(o object) {
		o.u64(o.section("x")+8, 0x802)
	}},
	{"PIE111", "PIE111 section x: 0x8 bytes at 0xfffffffff are outside the file of ", func(o object) {
		o.u64(o.section("x")+24, 0xfffffffff)
	}},
	{"PIE111", "PIE111 section x: alignment 0x3 is not a power of two at x+0x0", func(o object) {
		o.u64(o.section("x")+48, 3)
	}},
	{"PIE117", "PIE117 section x: its address 0x1000 is ignored", func(o object) {
		o.u64(o.section("x")+16, 0x1000)
	}},
	{"PIE113", "PIE113 18446744073709551615 bytes of memory exceed the limit of 268435456; section .bss has 18446744073709551608 at .bss+0x0",
		func(o object) { o.u64(o.section(".bss")+32, 1<<64-8) }},
	{"PIE113", "PIE113 9223372036854775822 bytes of memory exceed the limit of 268435456; section .bss has 9223372036854775808 at .bss+0x0",
		func(o object) { o.u64(o.section(".bss")+32, 1<<63) }},
	{"PIE118", "PIE118 sections .rela.text and .rela.data share bytes of the file at 0x",
		func(o object) { o.u64(o.section(".rela.data")+24, uint64(o.contents(".rela.text"))) }},
	{"PIE118", "PIE118 sections .data and x share bytes of the file at 0x", func(o object) {
		o.u64(o.section("x")+24, uint64(o.contents(".data")))
	}},
	{"PIE206", "PIE206 symbol `f` is in section 77, but there are 13", func(o object) {
		o.u16(o.symbol("f")+6, 77)
	}},
	{"PIE206", "PIE206 symbol `f` at 0x999 with size 0x0 ends outside section .text of 0x6 bytes at .text+0x999",
		func(o object) { o.u64(o.symbol("f")+8, 0x999) }},
	{"PIE206", "PIE206 symbol 0 is not null: it has the bytes 00 00 00 00 00 00 00 00 01 00", func(o object) {
		o.data[o.contents(".symtab")+8] = 1
	}},
	{"PIE206", "PIE206 symbol `f` has the reserved section index 0xff77", func(o object) {
		o.u16(o.symbol("f")+6, 0xff77)
	}},
	{"PIE207", "PIE207 symbol table: sh_info says the first global is 99 of ", func(o object) {
		o.u32(o.section(".symtab")+44, 99)
	}},
	{"PIE208", "PIE208 symbol `f` is defined twice at .text+0x5",
		func(o object) { o.u32(o.symbol("g"), binary.LittleEndian.Uint32(o.data[o.symbol("f"):])) }},
	{"PIE313", "PIE313 relocation R_X86_64_64 refers to symbol 999, but there are ", func(o object) {
		o.u32(o.contents(".rela.data")+12, 999)
	}},
	{"PIE313", "PIE313 relocation R_X86_64_64 patches 8 bytes outside section .data of 0x8 bytes at .data+0x4",
		func(o object) { o.u64(o.contents(".rela.data"), 4) }},
}

func (o object) symbol(name string) int {
	names := o.data[o.contents(".strtab"):]
	for at := o.contents(".symtab"); ; at += 24 {
		if s, _, _ := bytes.Cut(names[binary.LittleEndian.Uint32(o.data[at:]):], []byte{0}); string(s) == name {
			return at
		}
	}
}

func TestDamageIsNamed(t *testing.T) {
	good, err := os.ReadFile(loadertest.Compile(t, as, ".s", damaged))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loader.Parse(good, "plugin.o", loader.Options{Core: true}); err != nil {
		t.Fatal(err)
	}
	for _, d := range damages {
		o := object{bytes.Clone(good)}
		d.harm(o)
		got := complaints(loader.Parse(o.data, "plugin.o", loader.Options{Core: true}))
		if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, d.want) }) {
			t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), d.want)
		}
	}
}

func TestFilesThatAreNoObjects(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "PIE001 empty file",
		"#include <stdio.h>":     "PIE001 not an ELF object: begins with 23 69 6e 63",
		"\x7fELF":                "PIE010 file of 4 bytes is shorter than an ELF header (64)",
		"!<arch>\nplugin.o/    ": "PIE004 archive of objects, not one object",
	} {
		if got := complaints(loader.Parse([]byte(text), "x", loader.Options{})); len(got) != 1 ||
			got[0] != want {
			t.Errorf("%q: got %v, want %s", text, got, want)
		}
	}
	_, err := loader.Load(strings.NewReader("long"), 4, "x", loader.Options{MaxFile: 3})
	if want := "PIE013 file of 4 bytes exceeds the limit of 3"; !slices.Contains(complaints(nil, err), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestEveryRuleHasATest keeps the tables above complete. PIE311 is about addresses: the relocator's tests break it;
// makes is a plugin that declares a system call.
func makes(nr string) string {
	return "#include <crpie/plugin.h>\n#include <crpie/syscall.h>\n" +
		"static int hook(struct crpie_ctx *ctx) { (void)ctx; CRPIE_MAKES(" + nr + "); return 0; }\n" +
		"CR_PLUGIN_REGISTER_DUMMY(\"p\")\n" +
		"CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook)\n"
}

// PIE408 is about values, which crpie check is given.
func TestEveryRuleHasATest(t *testing.T) {
	tested := map[loader.Code]bool{"PIE001": true, "PIE004": true, "PIE013": true, "PIE311": true,
		"PIE408": true}
	for _, c := range ruleCases {
		tested[c.code] = true
	}
	for _, d := range damages {
		tested[d.code] = true
	}
	for _, r := range loader.Rules() {
		if !tested[r.Code] {
			t.Errorf("%s (%s) has no test", r.Code, r.Title)
		}
	}
}
