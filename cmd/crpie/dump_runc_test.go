//go:build linux && amd64

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// marks is the identity of the container with each letter replaced, as plugin dumped does.
func marks(letter string) string { return strings.Repeat(letter, len("the-first-of-its-kind")) }

// checkpoint lets runc checkpoint, and returns what it says and what crpie has written to criu's log.
func (c *container) checkpoint(images string, flags ...string) (ok bool, said, log string) {
	c.t.Helper()
	work := filepath.Join(c.dir, "dump")
	words := append([]string{"--root", filepath.Join(c.dir, "state"), "--log", filepath.Join(c.dir, "runc.log"),
		"--criu", c.criu, "checkpoint", "--image-path", images, "--work-path", work}, flags...)
	cmd := exec.Command("runc", append(words, c.name)...)
	cmd.Dir = c.dir
	err := cmd.Run()
	text, _ := os.ReadFile(filepath.Join(work, "dump.log"))
	complaint, _ := os.ReadFile(filepath.Join(c.dir, "runc.log"))
	return err == nil, string(complaint), ownLines(string(text))
}

// runc checkpoints through crpie: the images have what the hook before the dump has left and not that anything was
// frozen for it, so stock criu and crpie restore it, and what goes on has run the other hook.
func TestFrontRunsHooksAroundADump(t *testing.T) {
	c := newContainer(t)
	stock, images := c.criu, filepath.Join(c.dir, "images")
	c.runc("run", "--detach", c.name)
	c.wantID("the-first-of-its-kind")
	plugin := testenv.Plugin(t, "testdata/plugins/dumped.c", "-DONLY_AROUND_DUMP") + ",var=INSTANCE_ID"
	c.front("pie-plugin " + plugin + "\n")
	ok, said, log := c.checkpoint(images, "--leave-running")
	if !ok || !strings.Contains(log, "dumped: PIE_DMP_PRE_DUMP: wrote d") ||
		!strings.Contains(log, "dumped: PIE_DMP_RESUMED: wrote r") {
		t.Fatalf("%v\n%s\n%s", ok, said, log)
	}
	c.wantID(marks("r"))
	state, err := os.ReadFile(filepath.Join(images, "cgroup.img"))
	if err != nil || bytes.Contains(state, []byte("FROZEN")) {
		t.Errorf("%v, %q", err, state)
	}
	c.runc("delete", "--force", c.name)
	for _, way := range []string{"", "pie-plugin " + plugin + "\n", "restore-with crpie\npie-plugin " + trace(t) + "\n"} {
		c.front(way)
		if way == "" {
			c.criu = stock
		}
		if ok, said, log := c.restores(images); !ok || strings.Contains(log, "dumped") {
			t.Fatalf("%q: %v\n%s\n%s", way, ok, said, log)
		}
		c.wantID(marks("d"))
		c.runc("delete", "--force", c.name)
	}
}

// A hook before the dump that fails makes the runtime's checkpoint fail: nothing is dumped, and the container goes on,
// with the hooks that undo it.
func TestFrontFailsTheDump(t *testing.T) {
	c := newContainer(t)
	images := filepath.Join(c.dir, "images")
	c.runc("run", "--detach", c.name)
	c.wantID("the-first-of-its-kind")
	c.front("pie-plugin " + testenv.Plugin(t, "testdata/plugins/dumped.c") + ",var=INSTANCE_ID,fail=init\n")
	ok, said, log := c.checkpoint(images)
	if ok || !strings.Contains(log, "hook PIE_DMP_PRE_DUMP") || !strings.Contains(log, "EIO") {
		t.Errorf("%v\n%s\n%s", ok, said, log)
	}
	c.wantID(marks("r"))
	if _, err := os.Stat(filepath.Join(images, "inventory.img")); err == nil {
		t.Error("it was dumped")
	}
	c.front("pie-plugin " + testenv.Plugin(t, "testdata/plugins/dumped.c") + ",var=INSTANCE_ID\n")
	c.runc("checkpoint", "--image-path", images, "--work-path", filepath.Join(c.dir, "dump"), c.name)
	if ok, said, log := c.restores(images); !ok {
		t.Fatalf("%s\n%s", said, log)
	}
	c.wantID(marks("s"))
}

// podman checkpoints through crpie, and what the hook has left is in the archive.
func TestPodmanRunsHooksBeforeADump(t *testing.T) {
	c := newPodmanContainer(t)
	stock, archive := c.criu, filepath.Join(c.dir, "checkpoint.tar.zst")
	c.front("pie-plugin " + testenv.Plugin(t, "testdata/plugins/dumped.c") + ",var=INSTANCE_ID\n")
	c.podman("container", "checkpoint", "--export", archive, "first")
	c.podman("rm", "first")
	c.criu = stock
	c.podman("container", "restore", "--import", archive, "--name", "second")
	c.wantIDAt(c.mounted("second"), marks("d"))
}
