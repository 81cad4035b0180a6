package sys

import (
	"maps"
	"slices"
	"testing"
)

// Names in a mountinfo are read as they are, optional fields are skipped, and other lines left out.
func TestMounts(t *testing.T) {
	const mountinfo = `36 35 98:0 /a\040b /mnt\134\011 ro,noatime master:1 shared:2 - ext4 /dev/my\040disk rw,errors=ro
1 2
37 35 0:5 / /dev rw - tmpfs
38 35 0:6 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
`
	got := slices.Collect(Mounts(mountinfo))
	disk := Mount{"98:0", "/a b", "/mnt\\\t", "ro,noatime", "ext4", "/dev/my disk", "rw,errors=ro"}
	if len(got) != 2 || got[0] != disk {
		t.Fatalf("%+v", got)
	}
	if cpu := &got[1]; !cpu.HasSuper("cpuacct") || cpu.HasSuper("cp") {
		t.Error("controllers are whole words")
	}
}

// A path of a cgroup may have colons.
func TestCgroups(t *testing.T) {
	got := maps.Collect(Cgroups("9:name=x:/a:b\n4:cpu,cpuacct:/\n0::/c\nbroken\n"))
	if want := map[string]string{"name=x": "/a:b", "cpu,cpuacct": "/", "": "/c"}; !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
