//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// Sessions and process groups whose leaders are gone, zombies or somewhere else come back; CRIU dumps what was restored, and
// that comes back, too.
func TestSessions(t *testing.T) {
	testenv.NeedCRIU(t)
	plugin := trace(t)
	for _, which := range []string{"fewer", "more"} {
		t.Run(which, func(t *testing.T) {
			im := testenv.Start(t, "sessions", which).Dump(t)
			p, _ := restore(t, im, "--pie-plugin", plugin)
			again := p.Dump(t)
			p, _ = restore(t, again)
			p.MustPass(t)
			if left := im.Leftovers(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if which == "fewer" { // CRIU gives orphans to init
				im.RestoreCRIU(t).MustPass(t)
				again.RestoreCRIU(t).MustPass(t)
			}
		})
	}
}

// The clocks go on from where they were, whatever the clocks of crpie itself are.
func TestRestoreInTimeNamespace(t *testing.T) {
	im := testenv.Start(t, "timens").Dump(t)
	cmd := im.Command(t, testenv.NeedTool(t, "unshare"), "--time", "--monotonic", "50000", "--boottime", "70000", "--fork",
		os.Args[0], "restore", "-d", "-D", im.Dir)
	cmd.Env = append(cmd.Env, asTool+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	im.Adopt(t).MustPass(t)
}

// Trees of every shape come back as they were. CRPIE_TEST_FORESTS is how many are tried.
func TestForests(t *testing.T) {
	testenv.NeedCRIU(t)
	plugin := trace(t)
	seeds := 8
	if n, err := strconv.Atoi(os.Getenv("CRPIE_TEST_FORESTS")); err == nil {
		seeds = n
	}
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			for try := range 5 { // some trees are refused, and the tasks' timing has a part in what grows
				im := testenv.Start(t, "forest", fmt.Sprint(seed)).Dump(t)
				status, output := tool(t, im, "restore", "--dry-run", "-D", im.Dir)
				if try < 4 && status == exitFailed && strings.Contains(output, ": it is in session ") {
					t.Log(output)
					continue
				}
				p, _ := restore(t, im, "--pie-plugin", plugin)
				p.MustPass(t)
				return
			}
		})
	}
}
