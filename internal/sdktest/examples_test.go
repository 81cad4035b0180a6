//go:build linux

package sdktest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// restorer returns a function that restores images with one plugin and gives back the exit error and what was printed.
func restorer(t *testing.T, im *testenv.Images) func(plugin string) (string, error) {
	t.Helper()
	crpie := testenv.CRPIE(t)
	return func(plugin string) (string, error) {
		out, err := im.Command(t, crpie, "restore", "-d", "-D", im.Dir, "--pie-plugin", plugin).CombinedOutput()
		return string(out), err
	}
}

// A wrong use of an example ends the restore with a line that says what to do, and leaves nothing behind.
func TestExamplesRefuseWhatTheyCannotDo(t *testing.T) {
	restore := restorer(t, testenv.Start(t, "static").Dump(t))
	newID := testenv.Plugin(t, "plugin-sdk/examples/new-id.c")
	tellApp := testenv.Plugin(t, "plugin-sdk/examples/tell-app.c")
	reseed := testenv.Plugin(t, "plugin-sdk/examples/reseed.c")
	for _, c := range []struct{ plugin, message string }{
		{newID, "plugin new-id: parameter var is missing: name of the environment variable"},
		{newID + ",var=NONE", "no variable NONE in the environment of"},
		{newID + ",var=HOME,vaule=x", `plugin new-id has no parameter "vaule": did you mean value?`},
		{newID + ",var=HOME,value=/root",
			"the new value of HOME is longer than the old one (1 bytes): give a shorter one or format=hex"},
		{newID + ",var=HOME,format=roman", `parameter format="roman" is not known: it can be uuid, hex`},
		{tellApp, "plugin tell-app: one of the parameters symbol, addr is missing"},
		{tellApp + ",symbol=nope", "has no symbol nope: is it stripped?"},
		{tellApp + ",symbol=main,size=1", "is not writable memory of"},
		{tellApp + ",symbol=victim_failures,size=3", `parameter size="3" is not known: it can be 1, 2, 4, 8`},
		{tellApp + ",symbol=victim_failures,addr=1",
			"plugin tell-app: parameters symbol and addr exclude each other"},
		{tellApp + ",symbol=victim_failures,mode=sub", `parameter mode="sub" is not known: it can be set, add`},
		{reseed + ",addr=0x10", "the function at 0x10 is not in executable memory"},
		{reseed + ",addr=here", `plugin reseed: parameter addr="here" is not a number`},
	} {
		out, err := restore(c.plugin)
		if err == nil || !strings.Contains(out, c.message) {
			t.Errorf("%s: %v\n%swant an error with %q", filepath.Base(c.plugin), err, out, c.message)
		}
	}
}

// tell-app writes the variable that makes this victim fail its own check: it has seen it.
func TestTellAppReachesAStaticProgram(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	restore := restorer(t, im)
	if out, err := restore(testenv.Plugin(t, "plugin-sdk/examples/tell-app.c") +
		",symbol=victim_failures"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := im.Adopt(t).Finish(); err == nil {
		t.Error("the victim passed: its variable victim_failures is still 0")
	}
}

func TestTraceChangesNothing(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	if out, err := restorer(t, im)(testenv.Plugin(t, "plugin-sdk/examples/trace.c")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	im.Adopt(t).MustPass(t)
}
