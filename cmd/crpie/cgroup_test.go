//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// unified is where cgroup version 2 is mounted, proc_pid_mountinfo(5).
func unified(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if front, back, _ := strings.Cut(line, " - "); strings.HasPrefix(back, "cgroup2 ") {
			return strings.Fields(front)[4]
		}
	}
	testenv.Need(t, false, "cgroup version 2")
	return ""
}

// cgroups are two of the test's own, one inside the other; the inner one has a property.
type cgroups struct{ outer, inner string }

const property, dumped, other = "cgroup.max.descendants", "77", "55"

func newCgroups(t *testing.T) cgroups {
	t.Helper()
	outer := filepath.Join(unified(t), testenv.CgroupName())
	c := cgroups{outer, filepath.Join(outer, "inner")}
	t.Cleanup(func() { c.remove(t) })
	return c
}

func (c cgroups) make(t *testing.T, value string) {
	t.Helper()
	if err := os.MkdirAll(c.inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.inner, property), []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// remove waits until what has been killed has left.
func (c cgroups) remove(t *testing.T) {
	t.Helper()
	for _, dir := range []string{filepath.Join(c.inner, "below"), c.inner, c.outer} {
		testenv.RemoveCgroup(t, dir)
	}
}

func (c cgroups) state() string {
	b, err := os.ReadFile(filepath.Join(c.inner, property))
	if err != nil {
		return "gone"
	}
	return strings.TrimSpace(string(b))
}

func join(t *testing.T, dir string, pid int) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
		t.Fatal(err)
	}
}

// in tells the last part of a process's cgroup of version 2.
func in(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return filepath.Base(strings.TrimSpace(path))
		}
	}
	return "nowhere"
}

// What --manage-cgroups does, whether or not the cgroups are there, is what CRIU's does; but what a failed restore
// has made is gone, and strict looks at the tasks' cgroups alone.
func TestCgroupModes(t *testing.T) {
	criu := testenv.NeedCRIU(t)
	groups := newCgroups(t)
	groups.make(t, dumped)
	victim := testenv.Start(t, "static")
	join(t, groups.inner, victim.Pid)
	im := victim.Dump(t)
	groups.remove(t)
	for _, tc := range []struct{ mode, there, missing string }{
		{"", "inner 55", "inner 77"},
		{"--manage-cgroups", "inner 55", "inner 77"},
		{"--manage-cgroups=soft", "inner 55", "inner 77"},
		{"--manage-cgroups=full", "inner 77", "inner 77"},
		{"--manage-cgroups=props", "inner 77", "fails: does not exist"},
		{"--manage-cgroups=none", "inner 55", "fails: does not exist"},
		{"--manage-cgroups=strict", "fails: exists already", "inner 77"},
		{"--manage-cgroups=ignore", "own 55", "own gone"},
	} {
		for there, want := range map[bool]string{true: tc.there, false: tc.missing} {
			for _, by := range []string{"crpie", "criu"} {
				if by == "criu" && tc.mode == "--manage-cgroups=strict" {
					continue // also of cgroups in which no task was
				}
				if there {
					groups.make(t, other)
				}
				words := []string{"restore", "-d", "-D", im.Dir}
				if tc.mode != "" {
					words = append(words, tc.mode)
				}
				var output string
				status := 0
				if by == "criu" {
					cmd := im.Command(t, criu.Path,
						append(words, "-o", filepath.Join(t.TempDir(), "log"))...)
					cmd.Run()
					status = cmd.ProcessState.ExitCode()
				} else {
					status, output = tool(t, im, words...)
				}
				if reason, fails := strings.CutPrefix(want, "fails: "); fails {
					if status == 0 || by == "crpie" && !strings.Contains(output, reason) {
						t.Errorf("%s %s, there %v: status %d, want %s\n%s", by, tc.mode, there,
							status, want, output)
					}
				} else if status != 0 {
					t.Errorf("%s %s, there %v: status %d\n%s", by, tc.mode, there, status, output)
				} else {
					p := im.Adopt(t)
					got := strings.Replace(in(p.Pid), in(os.Getpid()), "own", 1) + " " +
						groups.state()
					if got != want {
						t.Errorf("%s %s, there %v: %s, want %s", by, tc.mode, there, got, want)
					}
					if err := p.Kill(); err != nil {
						t.Fatal(err)
					}
				}
				groups.remove(t)
			}
		}
	}
}

// --cgroup-root has the task where CRIU's has it, with the properties of the cgroup that it was in.
func TestCgroupRoot(t *testing.T) {
	criu := testenv.NeedCRIU(t)
	groups := newCgroups(t)
	groups.make(t, dumped)
	victim := testenv.Start(t, "static")
	join(t, groups.inner, victim.Pid)
	im := victim.Dump(t)
	groups.remove(t)
	moved := cgroups{groups.outer, filepath.Join(groups.outer, "moved")}
	root := strings.TrimPrefix(moved.inner, unified(t))
	t.Cleanup(func() { moved.remove(t) })
	for by, restore := range map[string]func(words ...string) (int, string){
		"crpie": func(words ...string) (int, string) { return tool(t, im, words...) },
		"criu": func(words ...string) (int, string) {
			cmd := im.Command(t, criu.Path, words...)
			out, _ := cmd.CombinedOutput()
			return cmd.ProcessState.ExitCode(), string(out)
		},
	} {
		status, output := restore("restore", "-d", "-D", im.Dir, "--cgroup-root", ":"+root)
		if status != 0 {
			t.Errorf("%s: %s", by, output)
			continue
		}
		p := im.Adopt(t)
		if in(p.Pid) != "moved" || moved.state() != dumped || groups.state() != "gone" {
			t.Errorf("%s: in %s, %s, the old one %s", by, in(p.Pid), moved.state(), groups.state())
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		moved.remove(t)
	}
}

// Tasks of a tree in different cgroups, one of them below another's; they are dumped and restored again. What a
// restore that fails has made or changed is as it was.
func TestCgroupsOfTree(t *testing.T) {
	testenv.NeedCRIU(t)
	groups := newCgroups(t)
	for name, rest := range map[string]string{"all in some": groups.outer, "others in crpie's own": ""} {
		t.Run(name, func(t *testing.T) { testCgroupsOfTree(t, groups, rest) })
	}
}

func testCgroupsOfTree(t *testing.T, groups cgroups, rest string) {
	groups.make(t, dumped)
	below := filepath.Join(groups.inner, "below")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	victim := testenv.Start(t, "tree")
	dirs := []string{groups.inner, below, groups.outer}
	was := map[int]string{}
	for pid, leads := range testenv.Threads(victim.Pid) {
		dir := rest
		if len(dirs) > 0 && leads {
			dir, dirs = dirs[0], dirs[1:]
		}
		if dir != "" {
			join(t, dir, pid)
		}
		was[pid] = in(pid)
	}
	asBefore := func(p *testenv.Process) {
		t.Helper()
		for pid, name := range was {
			if in(pid) != name {
				t.Errorf("task %d is in cgroup %s, was in %s", pid, in(pid), name)
			}
		}
		p.MustPass(t)
	}
	im := victim.Dump(t)
	groups.remove(t)
	fail := testenv.Plugin(t, "testdata/plugins/fail.c") + ",stage=PRE_CREDS,how=error"
	if status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--pie-plugin", fail); status != exitFailed ||
		groups.state() != "gone" {
		t.Errorf("status %d, cgroups %s\n%s", status, groups.state(), output)
	}
	groups.make(t, other)
	if status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--manage-cgroups=full", "--pie-plugin",
		fail); status != exitFailed || groups.state() != other {
		t.Errorf("status %d, cgroups %s\n%s", status, groups.state(), output)
	}
	groups.remove(t)
	p, _ := restore(t, im, "--pie-plugin", trace(t))
	again := p.Dump(t)
	p, _ = restore(t, again)
	asBefore(p)
	if rest != "" { // CRIU 4.1 cannot: "No set 1 found"
		asBefore(again.RestoreCRIU(t))
	}
	groups.remove(t)
}
