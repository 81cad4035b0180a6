package mnt

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/testenv"
)

// A terminal that cannot be had is refused before thousands of others are made.
func TestTerminalsThatCannotBeHeld(t *testing.T) {
	testenv.NeedRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("devpts", dir, "devpts", 0, "newinstance,ptmxmode=0666"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	file, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	devpts := &mount{handle: &handle{mount: file}}
	defer devpts.handle.close()
	first := builder{p: &Plan{}}
	defer first.p.Close()
	if err := first.holdTerminal(devpts, "3"); err != nil || len(first.p.made.ptys) != 1 {
		t.Fatalf("%v, %v", first.p.made.ptys, err)
	}
	before := countOpen(t)
	for sub, want := range map[string]string{
		"3": "terminal 3 is taken already", "4096": "at most 4096", "2147483647": "at most 4096", "-1": "", "ptmx": "",
		"": "",
	} {
		second := builder{p: &Plan{}}
		err := second.holdTerminal(devpts, sub)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", sub, err, want)
		}
		if len(second.p.made.ptys) != 0 {
			t.Errorf("%q holds %v", sub, second.p.made.ptys)
		}
	}
	if now := countOpen(t); now != before {
		t.Errorf("%d descriptors stay", now-before)
	}
}

func countOpen(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
