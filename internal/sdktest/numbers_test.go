package sdktest

import (
	"path/filepath"
	"strings"
	"testing"
)

// kernelsNumbers compares what the headers repeat with the kernel's headers for the machine.
const kernelsNumbers = `
#include <linux/fcntl.h>
#include <asm/stat.h>
#include <crpie/fds.h>
#include <crpie/param.h>
_Static_assert(CRPIE_O_DIRECTORY == O_DIRECTORY, "O_DIRECTORY");
_Static_assert(CRPIE_O_CLOEXEC == O_CLOEXEC, "O_CLOEXEC");
_Static_assert(CRPIE_STAT_MODE == offsetof(struct stat, st_mode), "st_mode");
_Static_assert(CRPIE_STAT_SIZE >= sizeof(struct stat), "struct stat");
_Static_assert(sizeof(((struct stat *)0)->st_mode) == 4, "st_mode");
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
