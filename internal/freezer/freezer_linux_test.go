package freezer

import (
	"slices"
	"testing"
)

const mounts = `30 1 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
32 30 0:29 /docker/1 /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
33 30 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
34 30 0:28 /.. /above rw,relatime - cgroup2 cgroup2 rw
35 30 0:29 /../x /beside rw - cgroup cgroup rw,freezer
broken line
`

// Hierarchies with a freezer are found, those of version 1 first; not from outside of the cgroup namespace.
func TestHierarchies(t *testing.T) {
	want := []hierarchy{{"freezer", "/docker/1", "/sys/fs/cgroup/freezer"}, {"", "/", "/sys/fs/cgroup/unified"}}
	if got := hierarchies(mounts); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

// A path with a colon is a process's cgroup as a whole, and of controllers only the whole name counts.
func TestPathIn(t *testing.T) {
	const text = "9:name=freezer:/x\n6:cpu,freezer:/a:b\n5:freezers:/y\n0::/c\nbroken\n"
	for controller, want := range map[string]string{"freezer": "/a:b", "": "/c"} {
		h := hierarchy{controller: controller}
		if got, ok := h.pathIn(text); got != want || !ok {
			t.Errorf("%q: %s", controller, got)
		}
	}
	if got, ok := (&hierarchy{controller: "freezer"}).pathIn("0::/c\n"); ok {
		t.Error(got)
	}
}

// Outside of its cgroup namespace a process's cgroup is shown as one beside or above the namespace's root.
func TestPathOutside(t *testing.T) {
	for path, ok := range map[string]bool{"/..": false, "/../x": false, "/../..": false, "/..x": true, "/...": true,
		"/": true, "/x/..y": true} {
		if got, is := (&hierarchy{}).pathIn("0::" + path + "\n"); is != ok || got != path {
			t.Errorf("%s: %s, %v", path, got, is)
		}
	}
}

// What two cgroups have in common is whole names.
func TestParent(t *testing.T) {
	for _, c := range [][3]string{
		{"/", "/a", "/"}, {"/a", "/", "/"}, {"/a/b", "/a/b/c", "/a/b"},
		{"/a/b", "/a/bc", "/a"}, {"/a", "/a", "/a"},
	} {
		if got := parent(c[0], c[1]); got != c[2] {
			t.Errorf("%v: %s", c, got)
		}
	}
}

// A cgroup is within itself and those above it, by whole names.
func TestWithin(t *testing.T) {
	for _, c := range []struct {
		c, other Cgroup
		want     bool
	}{{"/f/a", "/f/a", true}, {"/f/a/b", "/f/a", true}, {"/f/ab", "/f/a", false}, {"/f/a", "/f/a/b", false}} {
		if got := c.c.Within(c.other); got != c.want {
			t.Errorf("%+v", c)
		}
	}
}
