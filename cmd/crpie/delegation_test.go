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

// hierarchy is where cgroups of a version are mounted: 2, or the pids controller's of version 1.
func hierarchy(t *testing.T, version int) string {
	t.Helper()
	if version == 2 {
		return unified(t)
	}
	return controller(t, "pids")
}

// controller is where a controller of version 1 is mounted.
func controller(t *testing.T, name string) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		front, back, _ := strings.Cut(strings.TrimSpace(line), " - ")
		if strings.HasPrefix(back, "cgroup ") && strings.HasSuffix(back, ","+name) {
			return strings.Fields(front)[4]
		}
	}
	testenv.Need(t, false, "the "+name+" controller in cgroup version 1")
	return ""
}

// owners tells owner and mode of a cgroup's directory and some of its files.
func owners(t *testing.T, dir string, files []string) (text string) {
	t.Helper()
	for _, name := range append([]string{"."}, files...) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		stat := info.Sys().(*syscall.Stat_t)
		text += fmt.Sprintf("%s %d:%d %o\n", name, stat.Uid, stat.Gid, stat.Mode&0o7777)
	}
	return text
}

// A cgroup that was delegated, cgroups(7), is so again: its directory and files belong to whom they did, with their
// modes.
func TestDelegatedCgroups(t *testing.T) {
	for version, files := range map[int][]string{
		1: {"cgroup.procs", "tasks", "notify_on_release", "pids.max"},
		2: {"cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "cgroup.max.depth"},
	} {
		t.Run(fmt.Sprintf("version %d", version), func(t *testing.T) {
			dir := filepath.Join(hierarchy(t, version), testenv.CgroupName())
			makeCgroup(t, dir)
			for i, name := range append([]string{"."}, files...) {
				owner, mode := 1000+i, []os.FileMode{0o750, 0o660, 0o664, 0o600, 0o640}[i]
				if version == 2 && i > 0 && i < 4 { // CRIU dumps those of cgroup.subtree_control alone
					owner, mode = 1000, 0o660
				}
				if err := os.Chown(filepath.Join(dir, name), owner, 2000+i/4); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
					t.Fatal(err)
				}
			}
			before := owners(t, dir, files)
			victim := testenv.Start(t, "static")
			join(t, dir, victim.Pid)
			im := victim.Dump(t)
			testenv.RemoveCgroup(t, dir)
			p, _ := restore(t, im)
			if after := owners(t, dir, files); after != before {
				t.Errorf("owners and modes are\n%swere\n%s", after, before)
			}
			p.MustPass(t)
		})
	}
}
