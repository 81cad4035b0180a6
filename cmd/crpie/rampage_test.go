//go:build linux && amd64

package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/testenv"
)

// Whatever a hook does to its process or to the restore, that ends in time and leaves nothing. What crashes in the
// hook, or in the core because its memory is gone, is named.
func TestRampage(t *testing.T) {
	plugin := testenv.Plugin(t, "testdata/attackers/rampage.c", "-I",
		filepath.Join(testenv.Root(), "restorer", "core", "src"))
	b := dumpBelongings(t, "threads")
	const (
		named    = `plugin rampage, hook PIE_RST_STAGE`
		returned = `plugin rampage, hook PIE_RST_STAGE.* returned -5 \(EIO\)`
		later    = `(crashed with|was killed by) SIGSEGV` // killed: by a thread that was not traced yet
		either   = named + `|` + later                    // whichever needs first what the hook takes from all threads
		any      = ``
	)
	for how, want := range map[string]string{
		"unmap": either, "protect": either, "all": either, "kill": named, "killthread": named, "abort": named,
		"plan": later, "bell": later, "cpu": named, "flood": named, "forks": returned, "session": returned,
		"orphan": returned, "long": returned, "time": returned, "stop": returned,
		"close": any, "control": any, "space": any, "files": any, "user": any, "strict": any, "chroot": any,
	} {
		for _, stage := range stageOrder {
			t.Run(how+"/"+stage, func(t *testing.T) {
				b.rampage(t, plugin, how, stage, strings.ReplaceAll(want, "STAGE", stage))
			})
		}
	}
	p, _ := restore(t, b.im)
	p.MustPass(t)
}

func (b *belongings) rampage(t *testing.T, plugin, how, stage, want string) {
	t.Helper()
	spec, timeout := plugin+",stage="+stage+",how="+how, "1s"
	if strings.Contains(want, "returned") {
		spec, timeout = spec+",then=error", "20s" // on a busy machine its forks take long
	}
	began := time.Now()
	status, output := tool(t, b.im, "restore", "-d", "-D", b.im.Dir, "--pie-timeout", timeout,
		"--progress-timeout", "5s", "--pie-plugin", spec)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	if status == 0 && want == "" { // it does no harm at that stage
		must(t, b.im.Adopt(t).Kill())
		b.cgroups.remove(t)
	} else if status != exitFailed || !regexp.MustCompile(want).MatchString(output) {
		t.Errorf("status %d, want %d and %q in\n%.1000s", status, exitFailed, want, output)
	}
	b.wantNone(t, how)
}
