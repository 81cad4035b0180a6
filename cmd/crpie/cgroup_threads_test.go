//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// makeCgroup makes a cgroup of the test's own, which is removed when it is empty.
func makeCgroup(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { testenv.RemoveCgroup(t, dir) })
	return dir
}

// cgroupsOf tells where each thread of a process and of its children is, as seen from outside.
func cgroupsOf(t *testing.T, pid int) string {
	t.Helper()
	var lines []string
	for tid := range testenv.Threads(pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", tid))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%d\n%s", tid, b))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// A cgroup namespace comes back with its root where it was, in both versions, above where the tasks are; and so do
// threads in cgroups of their own: in version 2 in threaded ones. Outside and inside all look as before, CRIU dumps
// it again, and what a failed restore has made is gone.
func TestCgroupNamespaces(t *testing.T) {
	testenv.NeedCRIU(t)
	for version, files := range map[int][]string{1: {"cgroup.procs", "tasks"},
		2: {"cgroup.procs", "cgroup.threads"}} {
		t.Run(fmt.Sprintf("version %d", version), func(t *testing.T) {
			testCgroupNamespace(t, hierarchy(t, version), files)
		})
	}
}

func testCgroupNamespace(t *testing.T, mount string, files []string) {
	above := makeCgroup(t, filepath.Join(mount, testenv.CgroupName()))
	root := makeCgroup(t, filepath.Join(above, "root"))
	inner := makeCgroup(t, filepath.Join(root, "inner"))
	thread := makeCgroup(t, filepath.Join(inner, "thread"))
	child := makeCgroup(t, filepath.Join(root, "child"))
	if files[1] == "cgroup.threads" {
		if err := os.WriteFile(filepath.Join(thread, "cgroup.type"), []byte("threaded"), 0); err != nil {
			t.Fatal(err)
		}
	}
	remove := func() {
		for _, dir := range []string{child, thread, inner, root, above} {
			testenv.RemoveCgroup(t, dir)
		}
	}
	procs := func(dir string) string { return filepath.Join(dir, files[0]) }
	victim := testenv.Start(t, "cgroups", "root="+procs(root), "leader="+procs(inner), "child="+procs(child),
		"thread="+filepath.Join(thread, files[1]))
	before := cgroupsOf(t, victim.Pid)
	im := victim.Dump(t)
	remove()
	fail := testenv.Plugin(t, "testdata/plugins/fail.c") + ",stage=PRE_CREDS,how=error"
	if status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--pie-plugin", fail); status != exitFailed {
		t.Errorf("status %d\n%s", status, output)
	}
	if _, err := os.Stat(above); !os.IsNotExist(err) {
		t.Errorf("a failed restore left %s", above)
	}
	p, _ := restore(t, im, "--pie-plugin", trace(t))
	if after := cgroupsOf(t, p.Pid); after != before {
		t.Errorf("outside, cgroups are\n%swere\n%s", after, before)
	}
	again := p.Dump(t)
	remove()
	p, _ = restore(t, again)
	if after := cgroupsOf(t, p.Pid); after != before {
		t.Errorf("restored again, cgroups are\n%swere\n%s", after, before)
	}
	p.MustPass(t)
	p = im.RestoreCRIU(t)
	if after := cgroupsOf(t, p.Pid); after != before {
		t.Errorf("restored by CRIU, cgroups are\n%swere\n%s", after, before)
	}
	p.MustPass(t)
}

// Cgroups of cpuset in version 1 above those that the images have are made so that those below them can have their
// CPUs.
func TestCpusetAbove(t *testing.T) {
	testenv.NeedCRIU(t)
	mount := controller(t, "cpuset")
	above := makeCgroup(t, filepath.Join(mount, testenv.CgroupName()))
	inner := makeCgroup(t, filepath.Join(above, "inner"))
	for _, dir := range []string{above, inner} {
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(mount, file))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, file), value, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	victim := testenv.Start(t, "static")
	join(t, inner, victim.Pid)
	before := cgroupsOf(t, victim.Pid)
	im := victim.Dump(t)
	testenv.RemoveCgroup(t, inner)
	testenv.RemoveCgroup(t, above)
	p, _ := restore(t, im)
	if after := cgroupsOf(t, p.Pid); after != before {
		t.Errorf("cgroups are\n%swere\n%s", after, before)
	}
	p.MustPass(t)
}

// --cgroup-root moves the root of the namespace, as CRIU does; --manage-cgroups=ignore makes it in crpie's own cgroups.
func TestCgroupNamespaceRoot(t *testing.T) {
	criu := testenv.NeedCRIU(t)
	mount := unified(t)
	root := makeCgroup(t, filepath.Join(mount, testenv.CgroupName()))
	inner := makeCgroup(t, filepath.Join(root, "inner"))
	moved := root + "-moved"
	victim := testenv.Start(t, "cgroups", "root="+root+"/cgroup.procs", "leader="+inner+"/cgroup.procs")
	im := victim.Dump(t)
	remove := func() {
		for _, dir := range []string{inner, root, moved + "/inner", moved} {
			testenv.RemoveCgroup(t, dir)
		}
	}
	t.Cleanup(remove)
	remove()
	words := []string{"restore", "-d", "-D", im.Dir, "--cgroup-root", ":" + strings.TrimPrefix(moved, mount)}
	for _, by := range []string{"crpie", "criu"} {
		if by == "criu" {
			if out, err := im.Command(t, criu.Path, words...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		} else if status, output := tool(t, im, words...); status != 0 {
			t.Fatalf("status %d\n%s", status, output)
		}
		p := im.Adopt(t)
		want := "0::" + strings.TrimPrefix(moved, mount) + "/inner\n"
		if got := cgroupsOf(t, p.Pid); strings.Count(got, want) != 3 {
			t.Errorf("%s: 3 threads should be in %sare in\n%s", by, want, got)
		}
		p.MustPass(t) // inside it is /inner as before
		remove()
	}
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--manage-cgroups=ignore")
	if status != 0 {
		t.Fatalf("status %d\n%s", status, output)
	}
	p := im.Adopt(t)
	own, _ := os.Readlink("/proc/self/ns/cgroup")
	if its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/cgroup", p.Pid)); err != nil || its == own ||
		in(p.Pid) != in(os.Getpid()) {
		t.Errorf("ignore: in namespace %s, crpie's is %s, in cgroup %s: %v", its, own, in(p.Pid), err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
}
