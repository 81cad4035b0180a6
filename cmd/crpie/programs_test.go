//go:build linux && amd64

package main

import (
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// Real programs are dumped while they are at work and restored, by CRIU and by crpie with a plugin on all stages; they
// go on with their work, of which nothing is lost and nothing is done twice.
func TestPrograms(t *testing.T) {
	testenv.NeedCRIU(t)
	plugin := trace(t)
	for _, name := range testenv.Programs() {
		t.Run(name, func(t *testing.T) {
			p, flags := testenv.StartProgram(t, name)
			im := p.Dump(t, flags...)
			before := digest(t, im.Dir)
			t.Run("criu", func(t *testing.T) {
				im.RestoreCRIU(t, flags...).MustPass(t)
			})
			for _, round := range []string{"first", "second"} {
				t.Run(round, func(t *testing.T) {
					p, output := restore(t, im, append(flags, "-v3", "--pie-plugin", plugin)...)
					checkStages(t, im, stagesLogged(output), testenv.Threads(p.Pid))
					p.MustPass(t)
				})
			}
			if digest(t, im.Dir) != before {
				t.Error("the images have changed")
			}
		})
	}
}
