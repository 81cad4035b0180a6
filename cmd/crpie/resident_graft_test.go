//go:build linux && amd64

package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// A graft calls them as well: criu restores, and the program finds that its hooks ran.
func TestResidentHooksOfAGraft(t *testing.T) {
	im := testenv.Start(t, "resident").Dump(t)
	for _, args := range [][]string{{"--resident-hooks=require", "-v3"}, {"--resident-hooks=resident", "-v3", "--pie-plugin",
		trace(t), "--allow-skipped-stages", "--copy"}} {
		grafted := graftOnto(t, im, args...)
		p := grafted.RestoreCRIU(t)
		wantHooks(t, p, "\nhooks 2: 1 2, of threads 3\n")
		if out := p.Output(); strings.Count(out, "resident hook") != 2 {
			t.Error(out)
		}
		if file := mustRead(t, filepath.Join(grafted.Dir, "crpie-graft.json")); !strings.Contains(string(file),
			`"resident:resident PIE_RST_PRE_SIGRETURN_THREAD of_thread"`) {
			t.Errorf("%s", file)
		}
	}
	im = testenv.Start(t, "resident", "other").Dump(t)
	for which, want := range map[string]string{"require": "task [0-9]+: resident hooks: criu_hooks of /",
		"auto": "no plugin runs in any living task that --task permits, and none carries hooks itself"} {
		status, output := told(t, "graft", "-D", im.Dir, "-o", filepath.Join(t.TempDir(), "out"), "--resident-hooks="+which)
		if status != exitFailed || !regexp.MustCompile(want).MatchString(output) {
			t.Errorf("%s: status %d, %s", which, status, output)
		}
	}
	p := graftOnto(t, im, append(traced(t), "--resident-hooks")...).RestoreCRIU(t)
	wantHooks(t, p, "\nhooks 0: 0 0, of threads 0\n")
}
