//go:build linux && amd64

package main

import (
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// Two clones of a Python program share Python's random state whatever libc's is: reseed says so.
func TestReseedNamesWhatItLeaves(t *testing.T) {
	plugin := testenv.Plugin(t, "plugin-sdk/examples/reseed.c")
	for victim, want := range map[string]string{"python": "Warn: Python (", "glibc": ""} {
		im := testenv.Start(t, victim).Dump(t)
		p, output := restore(t, im, "-v3", "--pie-plugin", plugin)
		p.MustPass(t)
		if shared := "keeps random state of its own, which every clone shares"; strings.Contains(output,
			shared) != (want != "") ||
			!strings.Contains(output, want) {
			t.Errorf("%s: reseed said:\n%s", victim, output)
		}
	}
}
