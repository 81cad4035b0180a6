//go:build linux && amd64

package main

import (
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// Real programs are dumped by each CRIU while they are at work and restored, by CRIU and by crpie with a plugin on
// all stages; they go on with their work, of which nothing is lost and nothing is done twice.
func TestPrograms(t *testing.T) {
	for _, release := range testenv.Releases() {
		testenv.NeedRelease(t, release)
		for _, name := range testenv.Programs() {
			t.Run(name+release.Tag(), func(t *testing.T) { dumpProgram(t, name, release) })
		}
	}
}

func dumpProgram(t *testing.T, name string, release testenv.Release) {
	p, flags := testenv.StartProgram(t, name)
	p.Release = release
	im := p.Dump(t, flags...)
	before := digest(t, im.Dir)
	t.Run("criu", func(t *testing.T) {
		im.RestoreCRIU(t, flags...).MustPass(t)
	})
	for _, round := range []string{"first", "second"} {
		t.Run(round, func(t *testing.T) {
			p, output := restore(t, im, append(flags, "-v3", "--pie-plugin", trace(t))...)
			checkStages(t, im, stagesLogged(output), testenv.Threads(p.Pid))
			p.MustPass(t)
		})
	}
	if digest(t, im.Dir) != before {
		t.Error("the images have changed")
	}
}
