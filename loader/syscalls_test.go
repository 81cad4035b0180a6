package loader_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
)

const calling = sdkHook + `#include <crpie/syscall.h>
__attribute__((used)) static long calls(struct crpie_ctx *ctx)
{
	struct __kernel_timespec ts;
	unsigned char seed;
	%s
	return sys_getrandom(&seed, 1, 0) + sys_clock_gettime(1, &ts) + CRPIE_SYS1(__NR_getrandom, ctx);
}
`

// A plugin declares the calls that its code makes, not those of the headers, optimised or not.
func TestSyscalls(t *testing.T) {
	for _, tool := range []string{cc, cc + " -O0", clang19, clang19 + " -O0"} {
		for _, c := range []struct{ code, want string }{
			{"", "{true [228 318] false}"},
			{"CRPIE_SYS0(ctx->tid);", "{true [228 318] true}"},
			{"CRPIE_MAKES(39);", "{true [39 228 318] false}"},
			{"for (volatile int i = 0; i < 3; i++) sys_getpid();", "{true [39 228 318] false}"},
		} {
			p := loadertest.MustLoad(t, tool, ".c", fmt.Sprintf(calling, c.code), loader.Options{})
			if got := fmt.Sprint(p.Syscalls); got != c.want {
				t.Errorf("%s: %q: %s, want %s", tool, c.code, got, c.want)
			}
		}
	}
	if p := loadertest.MustLoad(t, cc, ".c", sdkHook, loader.Options{}); p.Syscalls.Declared {
		t.Error("a plugin that makes no calls declares some")
	}
}

// So it does on aarch64, in C++ and in assembly.
func TestSyscallsElsewhere(t *testing.T) {
	hook := "#include <crpie/plugin.h>\n" + strings.TrimSpace(sdkHook) + "\n"
	for _, c := range []struct{ tool, suffix, source, want string }{
		{"aarch64-linux-gnu-gcc -O1 -fPIC -ffreestanding -mno-outline-atomics", ".c", fmt.Sprintf(calling, ""),
			"{true [113 278] false}"},
		{"g++ -O1 -fPIC -ffreestanding -fno-exceptions -fno-rtti -fcf-protection=none", ".cc",
			hook + "#include <crpie/syscall.h>\nint called() { return sys_getpid(); }\n", "{true [39] false}"},
		{"gcc", ".S", "#include <asm/unistd.h>\n#include <crpie/asm.h>\n" +
			"crpie_hook CR_PLUGIN_HOOK__PIE_RST_POST_MEMORY, f\ncrpie_syscall __NR_getpid\n" +
			"f: mov $39, %eax\nsyscall\nxor %eax, %eax\nret\n", "{true [39] false}"},
	} {
		p := loadertest.MustLoad(t, c.tool, c.suffix, c.source, loader.Options{})
		if got := fmt.Sprint(p.Syscalls); got != c.want {
			t.Errorf("%s: %s, want %s", c.tool, got, c.want)
		}
		if slices.ContainsFunc(p.Sections, func(s loader.Section) bool { return s.Name == "crpie_syscalls" }) {
			t.Errorf("%s: the declarations are laid out", c.tool)
		}
	}
}
