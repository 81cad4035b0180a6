//go:build linux && amd64

package host

import (
	"maps"
	"testing"
)

func TestCgroupHierarchies(t *testing.T) {
	const own = "4:cpu,cpuacct:/\n3:pids:/a:b\n1:name=systemd:/s\n0::/u\n"
	const mountinfo = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 /part /part rw - cgroup cgroup rw,pids
34 31 0:31 / /my\040cgroups rw - cgroup2 cgroup2 rw,nsdelegate
35 31 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
`
	want := map[string]Hierarchy{
		"cpu,cpuacct": {"/sys/fs/cgroup/cpu,cpuacct", "/"}, "pids": {"", "/a:b"},
		"name=systemd": {"/sys/fs/cgroup/systemd", "/s"},
		"":             {"/my cgroups", "/u"},
	}
	if got := CgroupHierarchies(own, mountinfo); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What is mounted at / last covers the others.
func TestRootSource(t *testing.T) {
	const mountinfo = `1 1 0:2 / / rw - rootfs rootfs rw
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/my\040disk rw
22 21 0:5 / /proc rw - proc proc rw
`
	for info, want := range map[string]string{mountinfo: "/dev/my disk", "": "", "1 2": ""} {
		if got := RootSource(info); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
