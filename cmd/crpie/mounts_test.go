//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// mountsOf tells of the mounts of a process what does not change with their numbers, proc_pid_mountinfo(5). CRIU
// dumps no tracefs.
func mountsOf(t *testing.T, pid int) []string {
	t.Helper()
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(info)) {
		if !strings.Contains(line, " - tracefs ") {
			all = append(all, strings.Join(strings.Fields(line)[3:], " "))
		}
	}
	slices.Sort(all)
	return all
}

func wantMounts(t *testing.T, pid int, want []string) {
	t.Helper()
	if got := mountsOf(t, pid); !slices.Equal(got, want) {
		t.Errorf("mounts\n%s\nwere\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A tree that has a mount namespace of its own comes back with its mounts, twice in a row, and the restorer's mounts
// are what they were.
func TestOwnMountNamespace(t *testing.T) {
	victim := testenv.Start(t, "mounts")
	before, ours := mountsOf(t, victim.Pid), mountsOf(t, os.Getpid())
	p, _ := restore(t, victim.Dump(t), "--pie-plugin", trace(t))
	wantMounts(t, p.Pid, before)
	p, _ = restore(t, p.Dump(t))
	wantMounts(t, p.Pid, before)
	p.MustPass(t)
	wantMounts(t, os.Getpid(), ours)
}

// A hook that fails undoes the restore: no socket of the tree is left where the restorer has files.
func TestOwnMountNamespaceIsUndone(t *testing.T) {
	im, ours := testenv.Start(t, "mounts").Dump(t), mountsOf(t, os.Getpid())
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--pie-plugin",
		testenv.Plugin(t, "testdata/plugins/fail.c")+",stage=POST_FILES,how=error")
	if status != exitFailed || len(im.Leftovers()) > 0 || len(im.Stray(t)) > 0 {
		t.Errorf("status %d, left %v %v\n%s", status, im.Leftovers(), im.Stray(t), output)
	}
	wantMounts(t, os.Getpid(), ours)
	p, _ := restore(t, im)
	p.MustPass(t)
}

// What runc has checkpointed is restored from the host, with the mounts that it had. The cgroups are the restorer's:
// the hierarchies that runc mounts are at other places.
func TestContainerFromTheHost(t *testing.T) {
	c := newContainer(t)
	images, rootfs, pidfile := filepath.Join(c.dir, "images"), filepath.Join(c.dir, "rootfs"),
		filepath.Join(c.dir, "pid")
	c.runc("run", "--detach", "--pid-file", pidfile, c.name)
	c.wantID("the-first-of-its-kind")
	before := mountsOf(t, readPid(t, pidfile))
	c.runc("checkpoint", "--image-path", images, "--work-path", filepath.Join(c.dir, "dump"), c.name)
	words := []string{"restore", "-d", "-D", images, "--root", rootfs, "--manage-cgroups=ignore", "--pidfile",
		pidfile + "2",
		"--pie-plugin", testenv.Plugin(t, "plugin-sdk/examples/new-id.c") + ",var=INSTANCE_ID,value=a-clone"}
	isCgroup := func(line string) bool { return strings.Contains(line, " - cgroup ") }
	for _, line := range before {
		if isCgroup(line) {
			point := strings.Fields(line)[1]
			words = append(words, "--ext-mount-map", point+":"+point)
		}
	}
	cmd := exec.Command(os.Args[0], words...)
	cmd.Env = append(os.Environ(), asTool+"=1", testenv.Mark())
	c.must(cmd)
	c.wantID("a-clone")
	pid := readPid(t, pidfile+"2")
	after := mountsOf(t, pid)
	cgroups := 0
	for _, line := range after {
		if isCgroup(line) {
			cgroups++
		}
	}
	before, after = slices.DeleteFunc(before, isCgroup), slices.DeleteFunc(after, isCgroup)
	if !slices.Equal(before, after) || cgroups == 0 {
		t.Errorf("mounts\n%s\nwere\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
	if err := os.WriteFile(filepath.Join(rootfs, "stop"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

func readPid(t *testing.T, file string) (pid int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		_, err = fmt.Sscan(string(text), &pid)
	}
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
