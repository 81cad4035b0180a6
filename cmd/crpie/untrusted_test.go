//go:build linux && amd64

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// What another user could have written runs nowhere: neither does it decide what runs.
func TestFilesOfOthers(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedCRIU(t)
	t.Setenv("SUDO_UID", "")
	t.Setenv("HOME", t.TempDir()) // criu's configuration
	im := testenv.Start(t, "static").Dump(t)
	dir := t.TempDir()
	plugin, config := filepath.Join(dir, "hook.o"), filepath.Join(dir, "criu.conf")
	object, err := os.ReadFile(trace(t))
	if err := errors.Join(err, os.WriteFile(plugin, object, 0o644),
		os.WriteFile(config, []byte("tcp-close\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	restore := []string{"restore", "--dry-run", "-D", im.Dir, "--pie-plugin", plugin, "--config", config}
	graft := []string{"graft", "-D", im.Dir, "-o", filepath.Join(dir, "grafted"), "--pie-plugin", plugin,
		"--allow-skipped-stages"}
	try := []string{"try", plugin, "--", "true"}
	pages := filepath.Join(im.Dir, "pages-1.img")
	core, err := filepath.Glob(filepath.Join(im.Dir, "core-*.img"))
	if err != nil || len(core) == 0 {
		t.Fatal(core, err)
	}
	for _, c := range []struct {
		file string
		args []string
	}{
		{plugin, restore}, {plugin, graft}, {plugin, try}, {config, restore},
		{im.Dir, restore}, {core[0], restore}, {pages, restore},
		{filepath.Join(im.Dir, "inventory.img"), restore},
	} {
		owned(t, c.file, 1234, func() {
			status, out := told(t, c.args...)
			want := filepath.Base(c.file) + ": belongs to user 1234, whose code or settings would run with crpie's rights: " +
				"look at it and chown it to root, or say --allow-untrusted\n"
			if status != exitFailed && status != exitUsage || !strings.Contains(out, want) {
				t.Errorf("%q of another user, %s: status %d\n%s", c.file, c.args[0], status, out)
			}
			if status, out := told(t, append(c.args[:1:1], append([]string{"--allow-untrusted"}, c.args[1:]...)...)...); status != 0 {
				t.Errorf("%q allowed, %s: status %d\n%s", c.file, c.args[0], status, out)
			}
		})
		if err := os.RemoveAll(filepath.Join(dir, "grafted")); err != nil {
			t.Fatal(err)
		}
	}
	owned(t, plugin, 1234, func() { // who called sudo
		t.Setenv("SUDO_UID", "1234")
		if status, out := told(t, restore...); status != 0 {
			t.Errorf("status %d\n%s", status, out)
		}
	})
}

// owned runs f while a file belongs to another user.
func owned(t *testing.T, file string, uid int, f func()) {
	t.Helper()
	if err := os.Chown(file, uid, -1); err != nil {
		t.Fatal(err)
	}
	f()
	if err := os.Chown(file, 0, -1); err != nil {
		t.Fatal(err)
	}
}
