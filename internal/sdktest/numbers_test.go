package sdktest

import (
	"path/filepath"
	"strings"
	"testing"
)

// kernelsNumbers compares what the headers repeat with the kernel's headers for the machine.
const kernelsNumbers = `
#include <linux/fcntl.h>
#include <crpie/fds.h>
_Static_assert(CRPIE_O_DIRECTORY == O_DIRECTORY, "O_DIRECTORY");
_Static_assert(CRPIE_O_CLOEXEC == O_CLOEXEC, "O_CLOEXEC");
`

// The headers repeat the kernel's numbers for both machines: O_DIRECTORY of x86 is O_DIRECT on aarch64.
func TestNumbersAreTheKernels(t *testing.T) {
	t.Parallel()
	source := filepath.Join(t.TempDir(), "numbers.c")
	write(t, source, kernelsNumbers)
	for _, cc := range compilers {
		build(t, strings.Join([]string{cc, "-std=c11", pluginFlags, warnings}, " "), source)
	}
}
