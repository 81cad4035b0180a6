package loader

import (
	"debug/elf"
	"slices"
	"strings"
)

// known says where an undefined name comes from. Each entry was seen in the output of a compiler, and its fix removes
// the name from that output.
type known struct {
	names   []string // exact names; a trailing * matches any rest
	machine elf.Machine
	fix     string
}

const (
	fixHost = "there is no libc in a hook: use the functions of <crpie/>, or raw system calls"
	fixCXX  = "there is no libstdc++ in a hook: use what its headers have entirely (std::array, std::string_view, <algorithm>), " +
		"pr_info in the place of std::cout, and arrays in that of std::string"
)

var knownNames = []known{
	{names: []string{"__stack_chk_fail", "__stack_chk_guard"}, fix: "compile with -fno-stack-protector"},
	{names: []string{"memcpy", "memmove", "memset", "memcmp"},
		fix: "compilers call it on their own: include <crpie/string.h>, or define it in the plugin"},
	{names: []string{"bcmp"}, fix: "clang makes it of memcmp: compile with -fno-builtin-bcmp"},
	{names: []string{"__memcpy_chk", "__memmove_chk", "__memset_chk", "__str*_chk", "__*printf_chk"},
		fix: "compile with -U_FORTIFY_SOURCE"},
	{names: []string{"__errno_location"}, fix: "a raw system call returns -errno; use that"},
	{names: []string{"__popcountdi2", "__popcountsi2"}, machine: elf.EM_X86_64,
		fix: "compile with -mpopcnt, or add libgcc: ld -r -o plugin.o a.o $(gcc -print-libgcc-file-name)"},
	{names: []string{"__atomic_*_16"}, machine: elf.EM_X86_64, // gcc calls it with -mcx16, too
		fix: "use 8-byte atomics, or __sync_val_compare_and_swap with -mcx16"},
	{names: []string{"__atomic_load", "__atomic_store", "__atomic_exchange", "__atomic_compare_exchange",
		"__atomic_is_lock_free"},
		fix: "there is no libatomic in a hook: use aligned types of 1, 2, 4 or 8 bytes"},
	{names: []string{"__aarch64_ldadd*", "__aarch64_ldclr*", "__aarch64_ldeor*", "__aarch64_ldset*",
		"__aarch64_cas*",
		"__aarch64_swp*"}, fix: "compile with -mno-outline-atomics"},
	{names: []string{"__clear_cache"}, fix: "use no nested functions whose address is taken"},
	{names: []string{"mcount", "_mcount", "__fentry__"}, fix: "compile without -pg"},
	{names: []string{"__cyg_profile_func_enter", "__cyg_profile_func_exit"},
		fix: "compile without -finstrument-functions"},
	{names: []string{"__gcov_*", "llvm_gcda_*", "llvm_gcov_*", "__llvm_profile_*"},
		fix: "compile without --coverage"},
	{names: []string{"__asan_*", "__ubsan_*", "__tsan_*", "__msan_*", "__hwasan_*", "__sanitizer_*",
		"__safestack_unsafe_stack_ptr"}, fix: "compile without -fsanitize and -fsanitize-coverage"},
	{names: []string{"__morestack*"}, fix: "compile without -fsplit-stack"},
	{names: []string{"__x86_indirect_thunk_*"},
		fix: "compile with -mindirect-branch=thunk or keep (clang: -mretpoline without -mretpoline-external-thunk)"},
	{names: []string{"__x86_return_thunk"}, fix: "compile with -mfunction-return=thunk or keep"},
	{names: []string{"__tls_get_addr", "__emutls_get_address", "__emutls_v.*"},
		fix: "remove __thread, _Thread_local or thread_local"},
	{names: []string{"__cxa_atexit", "__dso_handle", "atexit"}, fix: "have no static object with a destructor"},
	{names: []string{"__cxa_guard_acquire", "__cxa_guard_release", "__cxa_guard_abort"},
		fix: "compile with -fno-threadsafe-statics"},
	{names: []string{"_Znwm", "_Znam", "_ZdlPv", "_ZdaPv", "_ZdlPvm", "_ZdaPvm", "_ZnwmSt*", "_ZnamSt*"},
		fix: "there is no heap in a hook: use mmap, or placement new"},
	{names: []string{"__cxa_pure_virtual"}, fix: "define extern \"C\" void __cxa_pure_virtual() in the plugin"},
	{names: []string{"_ZTVN10__cxxabiv1*", "_ZTIN10__cxxabiv1*", "__dynamic_cast", "__cxa_bad_typeid",
		"__cxa_bad_cast",
		"__cxa_throw*", "__cxa_begin_catch", "__cxa_end_catch", "__cxa_rethrow", "__cxa_allocate_exception",
		"__cxa_free_exception", "_Unwind_*", "__gxx_personality_v0", "__gcc_personality_v0", "_ZSt9terminatev"},
		fix: "compile with -fno-exceptions -fno-rtti"},
	{names: []string{"rust_eh_personality"}, fix: "compile with -C panic=abort"},
	{names: []string{"__rust_alloc", "__rust_dealloc", "__rust_realloc", "__rust_alloc_zeroed",
		"__rust_no_alloc_shim_is_unstable"},
		fix: "use #![no_std] without alloc"},
	{names: []string{"__fixunsdfti", "__*ti3", "__*tf3", "__*tf2", "__*tfsi", "__*tfdi", "__float*tf", "__fix*ti",
		"__float*ti*",
		"__*ti2", "__mul?c3", "__div?c3", "__powidf2", "__popcount*"},
		fix: "add libgcc: ld -r -o plugin.o a.o $(gcc -print-libgcc-file-name)"},
	{names: []string{"environ", "__environ", "stdin", "stdout", "stderr", "main", "_start", "_DYNAMIC",
		"__ehdr_start", "_end",
		"end", "_edata", "edata", "_etext", "etext", "__bss_start", "__executable_start", "__libc_start_main"},
		fix: "only a linked program has it; what a hook needs is in struct crpie_ctx"},
	{names: []string{"_ZNSt*", "_ZNKSt*", "_ZSt*", "_ZNSs*", "_ZNKSs*", "_ZNSo*", "_ZNSi*", "_ZTVSt*", "_ZTVNSt*",
		"_ZTISt*"},
		fix: fixCXX},
	{names: libcNames, fix: fixHost},
}

// libcNames are functions that hooks are tempted to call, from issues of other loaders.
var libcNames = []string{"abort", "access", "asprintf", "atoi", "atol", "bsearch", "calloc", "chdir", "clock_gettime",
	"close",
	"connect", "cos", "dlopen", "dlsym", "dprintf", "dup", "dup2", "exit", "_exit", "exp", "fclose", "fgets",
	"fopen",
	"fork", "fprintf", "fputc", "fputs", "fread", "free", "fseek", "fwrite", "getenv", "getpid", "getrandom",
	"gettimeofday",
	"ioctl", "kill", "log", "lseek", "madvise", "malloc", "mmap", "mprotect", "munmap", "nanosleep", "open",
	"openat", "perror",
	"pow", "prctl", "printf", "pthread_*", "putchar", "puts", "qsort", "raise", "rand", "read", "realloc", "setenv",
	"setsockopt", "sigaction", "signal", "sin", "sleep", "snprintf", "socket", "sprintf", "sqrt", "srand",
	"sscanf", "strcat",
	"strchr", "strcmp", "strcpy", "strdup", "strerror", "strlen", "strncmp", "strncpy", "strrchr", "strstr",
	"strtol", "strtoul",
	"syscall", "time", "unlink", "usleep", "vfprintf", "vprintf", "vsnprintf", "write"}

// knownFix gives the remedy for a well-known undefined name, or "".
func knownFix(name string, machine elf.Machine) string {
	for _, k := range knownNames {
		if k.machine != 0 && k.machine != machine {
			continue
		}
		if slices.ContainsFunc(k.names, func(pattern string) bool { return matches(pattern, name) }) {
			return k.fix
		}
	}
	return rustFix(name)
}

// rustFixes are by where names of Rust's runtime begin. The code of core is not in the object, of std it cannot be.
var rustFixes = [][2]string{
	{"std::io::", "there is no std in a hook: use #![no_std], and ctx.log in the place of println!"},
	{"std::", "there is no std in a hook: use #![no_std]"},
	{"alloc::", "there is no heap in a hook: use #![no_std] without alloc"},
	{"core::panicking::panic_bounds_check",
		"the index can panic: use get(), or get_unchecked() where it is surely inside"},
	{"core::panicking::panic_const::panic_const_div", "the division can panic: use checked_div()"},
	{"core::panicking::panic_const::panic_const_rem", "the division can panic: use checked_rem()"},
	{"core::fmt::", "formatting is a call into core, which is not in the object: log a text that is ready"},
	{"core::", "compile with -O -C panic=abort; use get_unchecked and wrapping operations where a check can panic"},
}

// rustFix recognises names of core, alloc and std in both of Rust's manglings, also of their traits: <i32 as
// core::…>::f.
func rustFix(name string) string {
	plain := Demangle(name)
	if _, trait, found := strings.Cut(plain, " as "); found && strings.HasPrefix(plain, "<") {
		plain = trait
	}
	plain = strings.TrimLeft(plain, "<")
	if plain == name || strings.HasPrefix(name, "_Z") && !strings.HasPrefix(name, "_ZN") {
		return ""
	}
	for _, r := range rustFixes {
		if strings.HasPrefix(plain, r[0]) {
			return r[1]
		}
	}
	return ""
}

// matches compares a name with a pattern in which * stands for any text and ? for one character.
func matches(pattern, name string) bool {
	for i := range len(pattern) {
		switch {
		case pattern[i] == '*':
			for skip := range len(name) - i + 1 {
				if matches(pattern[i+1:], name[i+skip:]) {
					return true
				}
			}
			return false
		case i >= len(name) || pattern[i] != '?' && pattern[i] != name[i]:
			return false
		}
	}
	return len(pattern) == len(name)
}
