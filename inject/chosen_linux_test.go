//go:build linux && amd64

package inject

import (
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/stage"
)

const reseedSource = "plugin-sdk/examples/reseed.c"

// A plugin that would do nothing is an error, not a success.
func TestNothingToRun(t *testing.T) {
	plugins := load(t, testenv.Plugin(t, reseedSource))
	for _, chosen := range [][]stage.Stage{nil, {stage.PreSigreturn}, {stage.PostMemory, stage.PreSigreturn}} {
		if err := checkStages(plugins, chosen); err != nil {
			t.Errorf("%v: %v", chosen, err)
		}
	}
	err := checkStages(plugins, []stage.Stage{stage.PostMemory})
	if err := expect(err, "plugin reseed has no hook in the stages that --stages names; "+
		"it has some in PIE_RST_PRE_SIGRETURN"); err != nil {
		t.Error(err)
	}
	victim := testenv.Start(t, "static")
	for selector, want := range map[string]string{
		"comm:nobody": `plugin trace: select=comm:nobody picks no process; there are`, "pid:1": "select=pid:1 picks",
	} {
		got := order{Pid: victim.Pid, Plugin: testenv.Plugin(t, traceSource) + ",select=" + selector}.carryOut(t)
		if !strings.Contains(got.Error, want) || len(got.Log) != 0 {
			t.Errorf("%s: got %q, want %q", selector, got.Error, want)
		}
	}
	got := order{Pid: victim.Pid, Plugin: testenv.Plugin(t, traceSource) + ",select=comm:static"}.carryOut(t)
	if got.Error != "" || len(got.Log) == 0 {
		t.Errorf("%q, log %v", got.Error, got.Log)
	}
	victim.MustPass(t)
}
