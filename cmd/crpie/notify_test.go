//go:build linux && amd64

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// A watched file that has no name any more is found as long as somebody has it open.
func TestForeignWatch(t *testing.T) {
	victim := testenv.Start(t, "notify", "foreign")
	held, err := os.OpenFile(filepath.Join(victim.Dir, "foreign"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := os.Remove(held.Name()); err != nil {
		t.Fatal(err)
	}
	im := victim.Dump(t)
	p, _ := restore(t, im, "--pie-plugin", trace(t))
	if _, err := held.WriteString("more"); err != nil {
		t.Fatal(err)
	}
	p.MustPass(t)
	held.Close()
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir)
	if want := "which has no name, is not there any more"; status != exitFailed || !strings.Contains(output, want) {
		t.Errorf("status %d, output:\n%s\nwant %s", status, output, want)
	}
}
