//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/testenv"
)

// Sessions and process groups whose leaders are gone, zombies or somewhere else come back; CRIU dumps what was
// restored, and that comes back, too.
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

// Trees of any size come back, also when crpie itself may hardly have a descriptor, and tasks with connections.
func TestCrowds(t *testing.T) {
	testenv.NeedCRIU(t)
	for _, c := range []struct{ args, limit string }{
		{"64", "64"}, {"199", "1024"}, {"300 connected", "64"}, {"999", "64"},
	} {
		t.Run(c.args, func(t *testing.T) {
			im := testenv.Start(t, "crowd", strings.Fields(c.args)...).Dump(t)
			limited := fmt.Sprintf(`ulimit -Sn %s && exec "$@"`, c.limit)
			began := time.Now()
			cmd := im.Command(t, "/bin/sh", "-c", limited, "sh", os.Args[0], "restore", "-d", "-D", im.Dir,
				"--tcp-established")
			cmd.Env = append(cmd.Env, asTool+"=1")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Log("crpie restore:", time.Since(began))
			im.Adopt(t).MustPass(t)
			if c.args == "999" { // it takes ten seconds
				return
			}
			began = time.Now()
			p := im.RestoreCRIU(t)
			t.Log("criu restore:", time.Since(began))
			p.MustPass(t)
		})
	}
}

// The clocks go on from where they were, whatever the clocks of crpie itself are.
func TestRestoreInTimeNamespace(t *testing.T) {
	im := testenv.Start(t, "timens").Dump(t)
	cmd := im.Command(t, testenv.NeedTool(t, "unshare"), "--time", "--monotonic", "50000", "--boottime", "70000",
		"--fork",
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
				status, output = tool(t, im, "restore", "-d", "-D", im.Dir, "--pie-plugin", plugin)
				if status != 0 {
					t.Fatalf("status %d\n%s", status, output)
				}
				im.Adopt(t).MustPass(t)
				return
			}
		})
	}
}
