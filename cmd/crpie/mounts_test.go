//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/sys"
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

// What runc has checkpointed is restored from the host, with the mounts that it had. The cgroups that are mounted have
// gone with the container: they are made first, and gone again after a dry run and a failure.
func TestContainerFromTheHost(t *testing.T) {
	for name, change := range map[string]func(config map[string]any){
		"its cgroups": func(map[string]any) {}, "cgroup namespace": inNamespace("cgroup"),
	} {
		t.Run(name, func(t *testing.T) {
			c := newContainer(t)
			c.change(change)
			before, words := c.leaveForHost()
			if !slices.ContainsFunc(before, c.showsCgroup) {
				t.Fatalf("no cgroups of the container are mounted:\n%s", strings.Join(before, "\n"))
			}
			for _, more := range [][]string{{"--dry-run"}, {"--pie-plugin",
				testenv.Plugin(t, "testdata/plugins/fail.c") + ",stage=POST_FILES,how=error"}} {
				status, output := told(t, append(words, more...)...)
				if dry := more[0] == "--dry-run"; (status == 0) != dry {
					t.Errorf("%s: status %d\n%s", more[0], status, output)
				}
				for _, dir := range c.cgroups() {
					if _, err := os.Stat(dir); !os.IsNotExist(err) {
						t.Errorf("%s left %s", more[0], dir)
						testenv.RemoveCgroup(t, dir)
					}
				}
			}
			wantMounts(t, c.fromHost(words), before)
			for _, dir := range c.cgroups() {
				if sys.Unfinished(dir) {
					t.Errorf("%s is marked as unfinished", dir)
				}
			}
		})
	}
}

// With --manage-cgroups=ignore the cgroups are the restorer's, and what is given for a hierarchy is mounted.
func TestContainerWithoutItsCgroups(t *testing.T) {
	c := newContainer(t)
	c.change(sharing("cgroup"))
	before, words := c.leaveForHost()
	status, output := told(t, append(words, "--external", "mnt[/nowhere]:/")...)
	if want := "--external mnt[/nowhere]: no mount in the images has this key\n  hint: there are: mnt["; status != exitFailed ||
		!strings.Contains(output, want) {
		t.Errorf("status %d, want %s\n%s", status, want, output)
	}
	after := mountsOf(t, c.fromHost(append(words, "--manage-cgroups=ignore")))
	if !slices.ContainsFunc(after, isCgroup) {
		t.Error("no cgroups are mounted")
	}
	before, after = slices.DeleteFunc(before, isCgroup), slices.DeleteFunc(after, isCgroup)
	if !slices.Equal(before, after) {
		t.Errorf("mounts\n%s\nwere\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
}

// leaveForHost checkpoints the container, and gives its mounts and the words by which crpie restores it.
func (c *container) leaveForHost() (before, words []string) {
	c.t.Helper()
	images, pidfile := filepath.Join(c.dir, "images"), filepath.Join(c.dir, "pid")
	c.runc("run", "--detach", "--pid-file", pidfile, c.name)
	c.wantID("the-first-of-its-kind")
	pid := readPid(c.t, pidfile)
	before = mountsOf(c.t, pid)
	ours := inodeOf(c.t, "/proc/self/ns/cgroup") == inodeOf(c.t, fmt.Sprintf("/proc/%d/ns/cgroup", pid))
	c.runc("checkpoint", "--image-path", images, "--work-path", filepath.Join(c.dir, "dump"), c.name)
	words = []string{"restore", "-d", "-D", images, "--root", filepath.Join(c.dir, "rootfs")}
	for _, line := range before {
		if fields := strings.Fields(line); ours && c.showsCgroup(line) {
			words = append(words, "--ext-mount-map", fields[1]+":"+fields[1])
		}
	}
	c.removeCgroups()
	return before, words
}

// showsCgroup reports whether a line of mountinfo is of one of the container's cgroups.
func (c *container) showsCgroup(line string) bool {
	return isCgroup(line) && strings.HasSuffix(strings.Fields(line)[0], c.name)
}

// isCgroup reports whether it is of any cgroup, of version 1 or 2.
func isCgroup(line string) bool {
	return strings.Contains(line, " - cgroup ") || strings.Contains(line, " - cgroup2 ")
}

// fromHost has crpie restore the container with another identity, and gives its pid. It ends with the test.
func (c *container) fromHost(words []string) (pid int) {
	c.t.Helper()
	pidfile := filepath.Join(c.dir, "pid2")
	cmd := exec.Command(os.Args[0], append(words, "--pidfile", pidfile,
		"--pie-plugin", testenv.Plugin(c.t, "plugin-sdk/examples/new-id.c")+",var=INSTANCE_ID,value=a-clone")...)
	cmd.Env = append(os.Environ(), asTool+"=1", testenv.Mark())
	c.must(cmd)
	pid = readPid(c.t, pidfile)
	c.t.Cleanup(func() { endForGood(c.t, pid) })
	c.wantID("a-clone")
	return pid
}

// endForGood kills a process and waits until it writes no more: it may be nobody's child.
func endForGood(t *testing.T, pid int) {
	t.Helper()
	_ = syscall.Kill(pid, syscall.SIGKILL)
	await(t, "the end of the container", func() bool {
		_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		return err != nil
	})
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

// What is given and takes the place of nothing is refused by name, all of it.
func TestGivenForNothing(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--root", "/tmp", "--external", "mnt[a]:/b",
		"--veth-pair", "c=d", "--external", "net[e]:/f", "--external", "macvlan[g]:h")
	for _, want := range []string{
		"--root /tmp: the tasks had no mount namespace of their own, and have this machine's root\n",
		"--external mnt[a]: no mount in the images has this key\n  hint: leave it away: they have nothing of that kind\n",
		"--external veth[c]: nothing in the images has this name\n", "--external net[e]: nothing in the images has this name\n",
		"--external macvlan[g]: nothing in the images has this name\n",
	} {
		if status != exitFailed || !strings.Contains(output, want) {
			t.Errorf("status %d, want %s\n%s", status, want, output)
		}
	}
}
