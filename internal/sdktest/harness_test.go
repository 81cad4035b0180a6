package sdktest

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
)

// The harness is linked in the ways that change where symbols are found: PIE or not, both hash tables, old and new.
func TestSDKCodeInAnOrdinaryProgram(t *testing.T) {
	for _, command := range []string{
		"gcc -O2 -Wall -Wextra -Werror -Wno-format",
		"gcc -O0 -g -fsanitize=address,undefined -fno-sanitize-recover=all",
		"gcc -O1 -no-pie -fno-pie",
		"gcc -O2 -Wl,--hash-style=sysv",
		"gcc -O3 -Wl,-z,now -Wl,--hash-style=gnu",
		"clang-14 -O2",
		"clang-19 -O3",
		"clang-19 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all",
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(t.TempDir(), "harness")
			words := append(strings.Fields(command), "-rdynamic", "-I", loadertest.Include(t), "-o",
				program, "testdata/harness.c")
			if out, err := exec.Command(loadertest.Tool(t, words[0]),
				words[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
			}
			if out, err := exec.Command(program).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
