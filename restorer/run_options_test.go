//go:build linux && amd64

package restorer

import (
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// BeforeMaking is called once, while a restore is prepared: what catches signals need not be there sooner.
func TestBeforeMaking(t *testing.T) {
	testenv.NeedRoot(t)
	im := testenv.Start(t, "static").Dump(t)
	called := 0
	r, err := Prepare(&Options{Images: im.Dir, Run: RunOptions{BeforeMaking: func() { called++ }}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if called != 1 {
		t.Errorf("called %d times", called)
	}
}
