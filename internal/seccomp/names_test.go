package seccomp

import (
	"debug/elf"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
)

// Compilers for both machines have the same numbers, as far as their headers know them.
func TestCallNames(t *testing.T) {
	for machine, gcc := range map[elf.Machine]string{
		elf.EM_X86_64: "gcc", elf.EM_AARCH64: "aarch64-linux-gnu-gcc",
	} {
		cmd := exec.Command(loadertest.Tool(t, gcc), "-E", "-dM", "-xc", "-")
		cmd.Stdin = strings.NewReader("#include <asm/unistd.h>\n")
		macros, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v", cmd, err)
		}
		known := 0
		for _, m := range regexp.MustCompile(`(?m)^#define __NR_(\w+) (\d+)$`).FindAllSubmatch(macros, -1) {
			var nr uint32
			fmt.Sscan(string(m[2]), &nr)
			if name := string(m[1]); name != "arch_specific_syscall" && name != "syscalls" && CallName(machine, nr) != name {
				t.Errorf("%v: %d is %q, in the headers %q", machine, nr, CallName(machine, nr), name)
			}
			known++
		}
		if known < 250 {
			t.Errorf("%v: only %d numbers in the headers", machine, known)
		}
		for _, none := range []uint32{1000, 0x40000000, 0xfffffffe} {
			if want := fmt.Sprintf("system call %d", none); CallName(machine, none) != want {
				t.Errorf("%v: %q, want %q", machine, CallName(machine, none), want)
			}
		}
	}
}
