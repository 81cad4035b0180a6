package loader_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
)

// A record of a later crpie is read as far as it is known; what it cannot do without is refused.
func TestRecordsMayGrow(t *testing.T) {
	const source = `.text
hook: ret
.section crpie_hooks, "aw", @progbits
.balign 8
.long %d, %d, 0x106, 5
.quad hook
%s
.long 24, 1, 0x105, 0
.quad hook
.section .note.GNU-stack, "", @progbits
`
	for _, c := range []struct {
		size, abi int
		rest      string
		want      string
	}{
		{24, 1, "", ""},
		{32, 1, ".quad 7", ""},
		{40, 2, ".quad 7, 8", ""},
		{32, 6, ".quad 7", "PIE403 record needs plugin ABI version 6; this crpie has version 5"},
		{24, 0, "", "PIE403 record needs plugin ABI version 0; this crpie has version 5"},
		{16, 1, "", "PIE402 record of 16 bytes with 48 left in section crpie_hooks, expected 24"},
		{28, 1, ".long 7", "PIE402 record of 28 bytes with 52 left in section crpie_hooks, expected 24"},
		{1 << 20, 1, "", "PIE402 record of 1048576 bytes with 48 left in section crpie_hooks, expected 24"},
		{-8, 1, "", "PIE402 record of 4294967288 bytes with 48 left in section crpie_hooks, expected 24"},
	} {
		p, err := loadertest.Load(t, "gcc", ".s", fmt.Sprintf(source, c.size, c.abi, c.rest), loader.Options{})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%+v: %v", c, err)
		case c.want == "" && (len(p.Hooks) != 2 || p.Hooks[0].Priority != 5 ||
			p.Hooks[1].ID.String() != "PIE_RST_PRE_SIGRETURN_THREAD"):
			t.Errorf("%+v: hooks %+v", c, p.Hooks)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: %v", c, err)
		}
	}
}
