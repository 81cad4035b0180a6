//go:build linux && amd64

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// underShell runs a program as the child of a shell, which then tells its own pid and that of a process's parent.
func underShell(t *testing.T, im *testenv.Images, argv ...string) string {
	t.Helper()
	script := fmt.Sprintf(`"$@"; echo "status $? shell $$ parent $(sed -n 's/^PPid:.//p' /proc/%d/status)"`, im.Pid)
	cmd := im.Command(t, "/bin/sh", append([]string{"-c", script, "sh"}, argv...)...)
	cmd.Env = append(cmd.Env, asTool+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// wantSibling: the restored process is a child of the shell's.
func wantSibling(t *testing.T, output string) {
	t.Helper()
	var status, shell, parent int
	last := output[strings.LastIndexByte(strings.TrimRight(output, "\n"), '\n')+1:]
	if n, _ := fmt.Sscanf(last, "status %d shell %d parent %d", &status, &shell, &parent); n != 3 || status != 0 ||
		parent != shell {
		t.Errorf("not a child of the shell's:\n%s", output)
	}
}

// --restore-sibling makes the restored process a child of crpie's parent, as it does for CRIU's.
func TestRestoreSibling(t *testing.T) {
	criu := testenv.NeedCRIU(t)
	for _, name := range []string{"glibc", "threads", "tree", "clonefiles"} {
		t.Run(name, func(t *testing.T) {
			im := testenv.Start(t, name).Dump(t)
			wantSibling(t, underShell(t, im, os.Args[0], "restore", "-d", "-S", "-D", im.Dir,
				"--pie-plugin", trace(t)))
			im.Adopt(t).MustPass(t)
			log := filepath.Join(t.TempDir(), "log")
			wantSibling(t, underShell(t, im, criu.Path, "restore", "-d", "-S", "-D", im.Dir, "-o", log,
				"--file-locks"))
			im.Adopt(t).MustPass(t)
		})
	}
}

// A failed restore leaves nothing but zombies, which the parent and whoever adopts orphans have to collect, wherever
// it failed.
func TestRestoreSiblingFails(t *testing.T) {
	im := testenv.Start(t, "tree").Dump(t)
	plugin := testenv.Plugin(t, "testdata/plugins/fail.c")
	for _, stage := range stageOrder {
		output := underShell(t, im, os.Args[0], "restore", "-d", "-S", "-D", im.Dir, "--pie-plugin",
			plugin+",how=error,stage="+stage)
		if !strings.Contains(output, "returned -5 (EIO)") || !strings.Contains(output, "status 1 shell ") {
			t.Errorf("%s: output:\n%s", stage, output)
		}
		collectZombies(im)
		if left := im.Leftovers(); len(left) > 0 {
			t.Fatalf("%s: left behind: %v", stage, left)
		}
	}
	wantSibling(t, underShell(t, im, os.Args[0], "restore", "-d", "-S", "-D", im.Dir))
	im.Adopt(t).MustPass(t)
}

// collectZombies: the task is ours since the shell has ended, and so are its children.
func collectZombies(im *testenv.Images) {
	cores, _ := filepath.Glob(filepath.Join(im.Dir, "core-*.img"))
	for _, name := range cores {
		var pid int
		fmt.Sscanf(filepath.Base(name), "core-%d.img", &pid)
		syscall.Wait4(pid, nil, 0, nil) // threads and what the shell has collected are no children
	}
}

func TestSiblingNeedsDetached(t *testing.T) {
	var out bytes.Buffer
	status := run([]string{"restore", "-S", "-D", t.TempDir()}, nil, &out, &out)
	want := "crpie: --restore-sibling needs --restore-detached: crpie cannot wait for what is not its child\n"
	if status != exitUsage || !strings.HasPrefix(out.String(), want) {
		t.Errorf("status %d, output %s; want %s", status, out.String(), want)
	}
}
