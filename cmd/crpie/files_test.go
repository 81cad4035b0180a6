//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// Descriptors of higher numbers than crpie itself may have are restored all the same: under the soft limit that most
// processes have, where the hard one allows.
func TestHighDescriptors(t *testing.T) {
	im := testenv.Start(t, "high").Dump(t)
	var was syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was))
	low := was
	low.Cur = 256
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low))
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was)
	p, _ := restore(t, im, "--pie-plugin", trace(t))
	p.MustPass(t)
}

// A file that has lost one of its names is found by the link that the dump has made, which stays.
func TestLinkRemap(t *testing.T) {
	victim := testenv.Start(t, "deleted", "link")
	im := victim.Dump(t, "--link-remap")
	for range 2 {
		p, _ := restore(t, im, "--pie-plugin", trace(t))
		p.MustPass(t)
		if stray := im.Stray(t); len(stray) > 0 {
			t.Errorf("left on disk: %v", stray)
		}
	}
	im.RestoreCRIU(t).MustPass(t)
}

// When somebody else has data in a fifo, what the images have would be mixed with it: the restore fails.
func TestForeignFifoData(t *testing.T) {
	victim := testenv.Start(t, "fifo")
	im := victim.Dump(t)
	other, err := os.OpenFile(filepath.Join(victim.Dir, "family"), os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.WriteString("foreign")
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir)
	if want := "family has nobody else's data in it"; status != exitFailed || !strings.Contains(output, want) {
		t.Errorf("status %d, output:\n%s\nwant %s", status, output, want)
	}
	b := make([]byte, 64)
	if n, err := other.Read(b); err != nil || string(b[:n]) != "foreign" {
		t.Errorf("the fifo has %q, %v", b[:n], err)
	}
}

// A program that was replaced while it ran is restored from what it was.
func TestDeletedExecutable(t *testing.T) {
	victim := testenv.Start(t, "deleted", "exec")
	p, _ := restore(t, victim.Dump(t, "--ghost-limit", "16M"), "--pie-plugin", trace(t))
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.Pid)); err != nil ||
		exe != filepath.Join(victim.Dir, "self (deleted)") {
		t.Errorf("executable %q, %v", exe, err)
	}
	p.MustPass(t)
}

// A task that has unmapped a part of a System V segment has the others again. CRIU dumps that but cannot restore it.
func TestSysvHole(t *testing.T) {
	p, _ := restore(t, testenv.Start(t, "ipc", "hole").Dump(t), "--pie-plugin", trace(t))
	p.MustPass(t)
}
