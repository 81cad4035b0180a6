package moved

import (
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
)

// dump has the cgroups /a/b and /c of two controllers, and two of version 2.
func dump() *images.Dir {
	dirs := func(names ...string) (all []*pb.CgroupDirEntry) {
		for _, name := range names {
			all = append(all, &pb.CgroupDirEntry{DirName: pb.String(name)})
		}
		return all
	}
	return &images.Dir{Tasks: []*images.Task{{}}, Inventory: &pb.InventoryEntry{}, Cgroup: &pb.CgroupEntry{
		Controllers: []*pb.CgControllerEntry{{Cnames: []string{"cpu", "cpuacct"}, Dirs: dirs("a/b", "c")},
			{Cnames: []string{"name=systemd"}, Dirs: dirs("s")}, {Cnames: []string{""}, Dirs: dirs("u", "v")}}}}
}

// What was below one of the topmost cgroups is below the new root, whichever of them it was.
func TestMoved(t *testing.T) {
	r := Roots{Dir: dump(), To: map[string]string{"cpuacct": "/n", "systemd": "/m", "": "/w"}}
	for _, tc := range []struct{ hierarchy, at, want string }{
		{"cpu,cpuacct", "/a/b", "/n"}, {"cpu,cpuacct", "/a/b/c/d", "/n/c/d"}, {"cpu,cpuacct", "/c/x", "/n/x"},
		{"cpu,cpuacct", "/a", "/a"}, {"cpu,cpuacct", "/a/bc", "/a/bc"}, {"name=systemd", "/s/t", "/m/t"},
		{"", "/v/x", "/w/x"}, {"pids", "/a/b", "/a/b"},
	} {
		if got := r.Moved(tc.hierarchy, tc.at); got != tc.want {
			t.Errorf("%s:%s is at %s, want %s", tc.hierarchy, tc.at, got, tc.want)
		}
	}
	r.To = map[string]string{AllControllers: "/all"}
	if got := r.Moved("name=systemd", "/s"); got != "/all" {
		t.Errorf("got %s", got)
	}
}

// A hierarchy is found by the options of its mount.
func TestHierarchy(t *testing.T) {
	r := Roots{Dir: dump()}
	for want, options := range map[string][]string{
		"cpu,cpuacct": {"cpu", "cpuacct"}, "name=systemd": {"xattr", "name=systemd"}, "": {"nsdelegate"},
	} {
		if got := r.Hierarchy(options); got != want {
			t.Errorf("%q: %q, want %q", options, got, want)
		}
	}
}
