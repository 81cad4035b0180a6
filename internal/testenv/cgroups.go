//go:build linux

package testenv

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/freezer"
	"github.com/crpie/crpie/internal/sys"
)

// cgroupPaths gives the path of a process's cgroup in each hierarchy, by the hierarchy's controllers, cgroups(7).
func cgroupPaths(pid int) map[string]string {
	paths := map[string]string{}
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	maps.Insert(paths, sys.Cgroups(string(data)))
	return paths
}

// CgroupDirs lists the directories of a process's cgroups, in all hierarchies that are mounted here.
func CgroupDirs(pid int) (dirs []string) {
	for controllers, path := range cgroupPaths(pid) {
		if mount := cgroupMount(controllers); mount != "" {
			dirs = append(dirs, filepath.Join(mount, path))
		}
	}
	slices.Sort(dirs)
	return dirs
}

// cgroupMount finds where a hierarchy is mounted, proc_pid_mountinfo(5); "" stands for version 2.
func cgroupMount(controllers string) string {
	data, _ := os.ReadFile("/proc/self/mountinfo")
	for m := range sys.Mounts(string(data)) {
		lacks := func(name string) bool { return !m.HasSuper(name) }
		if m.Type == "cgroup2" && controllers == "" ||
			m.Type == "cgroup" && !slices.ContainsFunc(strings.Split(controllers, ","), lacks) {
			return m.Point
		}
	}
	return ""
}

// Freezable moves a victim with its descendants into a cgroup of its own, which can be frozen.
func Freezable(tb testing.TB, p *Process) freezer.Cgroup {
	tb.Helper()
	root := cgroupMount("freezer")
	if root == "" {
		root = cgroupMount("")
	}
	Need(tb, root != "", "a hierarchy of cgroups with a freezer")
	dir := filepath.Join(root, CgroupName())
	if err := os.Mkdir(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { RemoveCgroup(tb, dir) })
	for _, pid := range append(family(p.Pid), p.Pid) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Cleanup(func() {
		_ = freezer.Cgroup(dir).Thaw() // a frozen process does not end
		_ = p.Kill()
	})
	return freezer.Cgroup(dir)
}

// RemoveCgroup removes a cgroup, if there is one, when its processes have left it: they may have been killed just now.
func RemoveCgroup(tb testing.TB, dir string) {
	tb.Helper()
	err := os.Remove(dir)
	for end := time.Now().Add(Timeout); err != nil && !os.IsNotExist(err) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
		err = os.Remove(dir)
	}
	if err != nil && !os.IsNotExist(err) {
		tb.Error(err)
	}
}

// forgetOthers takes the cgroups of others out of a dump. Of a hierarchy in which the dumped process is where CRIU
// is, CRIU dumps all cgroups below that place, whoever made them, and its restore makes them again: those that tests
// beside this one have removed meanwhile.
func (im *Images) forgetOthers(tb testing.TB) {
	tb.Helper()
	const name = "cgroup.img"
	image, err := images.Read(os.DirFS(im.Dir), name)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		tb.Fatal(err)
	}
	entry := image.Entries[0].Message.(*pb.CgroupEntry)
	if !forgetBelow(entry, cgroupPaths(os.Getpid())) {
		return
	}
	f, err := os.Create(filepath.Join(im.Dir, name))
	if err == nil {
		err = images.WriteImage(f, name, image.Kind.Name, entry)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// othersCgroupHasGone reports whether CRIU gave up because of that: it was looking at all cgroups of a hierarchy, and
// one of them went.
func othersCgroupHasGone(err error) bool {
	return err != nil && strings.Contains(err.Error(), "cg: ") &&
		strings.Contains(err.Error(), "No such file or directory")
}

// forgetBelow drops what is below one's own cgroups, and reports whether there was anything.
func forgetBelow(entry *pb.CgroupEntry, own map[string]string) (any bool) {
	for controllers, path := range own {
		for _, c := range entry.GetControllers() {
			if !slices.Equal(c.GetCnames(), strings.Split(controllers, ",")) {
				continue
			}
			for _, dir := range c.GetDirs() {
				if strings.Trim(dir.GetDirName(), "/") == strings.Trim(path, "/") {
					any = any || len(dir.Children) > 0
					dir.Children = nil
				}
			}
		}
	}
	return any
}
