//go:build linux && amd64

package main

import (
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
