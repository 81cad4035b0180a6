package uapi

import (
	"fmt"
	"testing"
)

// Each call has the number of the headers, as far as they know it.
func TestCallsAgreeWithTheHeaders(t *testing.T) {
	source := "#include <sys/syscall.h>\n"
	calls := describedCalls()
	for nr, call := range calls {
		source += fmt.Sprintf("#ifdef __NR_%s\n_Static_assert(__NR_%[1]s == %d, \"%[1]s\");\n#endif\n", call.Name, nr)
		if nr < uint64(len(Syscalls)) && Syscalls[nr].Name != "" && Syscalls[nr].Name != call.Name {
			t.Errorf("%d is %s and %s", nr, Syscalls[nr].Name, call.Name)
		}
		if len(call.Args) > 6 {
			t.Errorf("%s has %d arguments", call.Name, len(call.Args))
		}
	}
	compile(t, source)
	if len(calls) < 370 {
		t.Errorf("%d calls", len(calls))
	}
}

// memoryAt has one text.
type memoryAt map[uint64]string

func (m memoryAt) Lookup(addr uint64) []byte { return []byte(m[addr]) }

// Any call prints, whatever its number.
func TestFormatAnyCall(t *testing.T) {
	f := NewCallFormatter()
	mem := memoryAt{0x1000: "/etc/passwd\x00", 0x2000: "hello"}
	for want, nr := range map[string]uint64{
		"getpid []": 39, `write [1 "hello" 5]`: 1, `unlink ["/etc/passwd"]`: 87,
		"syscall [500 1 0x2000 5 0 0 0]": 500, "syscall [-1 1 0x2000 5 0 0 0]": ^uint64(0),
	} {
		args := []uint64{1, 0x2000, 5, 0, 0, 0}
		if nr == 87 {
			args[0] = 0x1000
		}
		name, words := f.Format(nr, args, mem)
		if got := fmt.Sprintf("%s %v", name, words); got != want {
			t.Errorf("%d: %s, want %s", nr, got, want)
		}
	}
}
