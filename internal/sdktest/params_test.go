package sdktest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
)

const readers = `
#include <crpie/param.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct crpie_param given = { "p", argv[i] };
		struct crpie_ctx ctx = { .params = &given, .nr_params = 1 };
		uint64_t n;
		int on;
		printf("%d%d%d\n", crpie_param_u64(&ctx, "p", 3, 1 << 20, &n) == 0, crpie_param_size(&ctx, "p", 3, 1 << 20, &n) == 0,
		       crpie_param_bool(&ctx, "p", &on) == 0);
	}
}
`

// What crpie lets pass the SDK's readers can read, and the other way round.
func TestDeclarationsAgreeWithReaders(t *testing.T) {
	t.Parallel()
	values := []string{"", "0", "1", "3", "03", "0x3", "0X3", "0x", "x3", " 3", "3 ", "+3", "-3", "3.0", "1048576",
		"1048577", "1M", "1m", "1MB", "2M", "4k", "1K",
		"4t", "1024K", "1025K", "0x10G", "17179869184G", "99999999999999999999", "18446744073709551615",
		"18446744073709551615K", "9g9", "yes", "on", "off", "no",
		"true", "TRUE", "false", "0xff", "0xfg", "3\x0b", "3\x2b", "3k", "3\n"}
	exe := filepath.Join(t.TempDir(), "readers")
	command(t, readers, "gcc", "-DCRPIE_NO_LIBC_NAMES", "-I", loadertest.Include(t), "-o", exe, "-xc", "-")
	out, err := exec.Command(exe, values...).Output()
	if err != nil {
		t.Fatal(err)
	}
	p := loadertest.MustLoad(t, "gcc -O2 "+pluginFlags+" -fcf-protection=none", ".c", growthHook+`
CRPIE_PARAM_INT("int", CRPIE_OPTIONAL, 3, 1 << 20, "")
CRPIE_PARAM_SIZE("size", CRPIE_OPTIONAL, 3, 1 << 20, "")
CRPIE_PARAM_BOOL("bool", CRPIE_OPTIONAL, "")
`, loader.Options{})
	lines := strings.Fields(string(out))
	for i, value := range values {
		got := ""
		for _, name := range []string{"int", "size", "bool"} {
			accepted := 0
			if p.CheckParam(name, value) == nil {
				accepted = 1
			}
			got += fmt.Sprint(accepted)
		}
		if got != lines[i] {
			t.Errorf("%q as int, size, bool: declared %s, read %s", value, got, lines[i])
		}
	}
}
