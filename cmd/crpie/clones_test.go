//go:build linux && amd64

package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// drew gives what a victim drew after the restore.
func drew(t *testing.T, p *testenv.Process) string {
	t.Helper()
	_ = p.Finish() // with --keep-vgetrandom it complains
	m := regexp.MustCompile(`(?m)^DREW ([0-9a-f]+)$`).FindStringSubmatch(p.Output())
	if m == nil {
		t.Fatalf("nothing was drawn; output:\n%s", p.Output())
	}
	return m[1]
}

// No two clones draw the same random bytes, whoever restores them.
func TestClonesDrawDifferentBytes(t *testing.T) {
	plugin := trace(t)
	for _, name := range []string{"vgetrandom", "glibcrandom", "gorandom", "gorandom-stripped"} {
		for _, release := range testenv.Releases() {
			t.Run(name+release.Tag(), func(t *testing.T) { drawInClones(t, name, release, plugin) })
		}
	}
}

func drawInClones(t *testing.T, name string, release testenv.Release, plugin string) {
	victim := testenv.Start(t, name)
	victim.Release = release
	im := victim.Dump(t)
	grafted := graftOnto(t, im, "--pie-plugin", plugin, "--allow-skipped-stages")
	seen := map[string]string{}
	for _, how := range []string{"crpie", "crpie again", "graft", "graft again"} {
		var p *testenv.Process
		if strings.HasPrefix(how, "graft") {
			p = grafted.RestoreCRIU(t)
		} else {
			p, _ = restore(t, im)
		}
		bytes := drew(t, p)
		if other, ok := seen[bytes]; ok {
			t.Errorf("%s and %s drew %s", other, how, bytes)
		}
		seen[bytes] = how
		if !strings.HasSuffix(p.Output(), "\nPASS\n") {
			t.Errorf("%s:\n%s", how, p.Output())
		}
	}
}

// What is renewed is said, and can be left as it was. The kernel renews it itself about once a minute; then it is
// seen next time.
func TestKeepVgetrandom(t *testing.T) {
	im := testenv.Start(t, "vgetrandom").Dump(t)
	_, output := tool(t, im, "restore", "-D", im.Dir, "--dry-run")
	if want := "state of the vDSO's getrandom, renewed (--keep-vgetrandom leaves it)"; !strings.Contains(output,
		want) {
		t.Errorf("a dry run does not say %q", want)
	}
	same := false
	for try := 0; try < 3 && !same; try++ {
		first, output := restore(t, im, "--keep-vgetrandom", "-v3")
		if strings.Contains(output, "renewed") {
			t.Fatalf("--keep-vgetrandom, and yet:\n%s", output)
		}
		one := drew(t, first)
		second, _ := restore(t, im, "--keep-vgetrandom")
		same = one == drew(t, second)
		im = testenv.Start(t, "vgetrandom").Dump(t)
	}
	if !same {
		t.Error("with --keep-vgetrandom clones draw different bytes")
	}
}

// Plugins are told what madvise(2) said of each mapping: the states, and six mappings that look alike.
func TestPluginsSeeAdvice(t *testing.T) {
	plugin := testenv.Plugin(t, "testdata/plugins/madv.c")
	im := testenv.Start(t, "vgetrandom").Dump(t)
	const want = "7 mappings with MADV_DONTDUMP"
	p, output := restore(t, im, "--pie-plugin", plugin)
	if !strings.Contains(output, want) {
		t.Errorf("crpie restore says %q, not %q", output, want)
	}
	p.MustPass(t)
	p = graftOnto(t, im, "--pie-plugin", plugin).RestoreCRIU(t)
	p.MustPass(t)
	if !strings.Contains(p.Output(), want) {
		t.Errorf("the graft says %q, not %q", p.Output(), want)
	}
}
