//go:build linux && amd64

package restorer

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
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
		"cpu,cpuacct": {"/sys/fs/cgroup/cpu,cpuacct", "/"}, "pids": {"", "/a:b"}, "name=systemd": {"/sys/fs/cgroup/systemd", "/s"},
		"": {"/my cgroups", "/u"},
	}
	if got := cgroupHierarchies(own, mountinfo); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Each operation that moves a task into its cgroup fails in turn; the cgroup that the restore made is gone.
func TestCgroupOperationsFail(t *testing.T) {
	testenv.NeedRoot(t)
	mount := cgroupHierarchies("0::/\n", readProc("/proc/self/mountinfo"))[""].Mount
	testenv.Need(t, mount != "", "cgroup version 2")
	dir := filepath.Join(mount, fmt.Sprintf("crpie-faults-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	victim := testenv.Start(t, "static")
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(victim.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	im := victim.Dump(t)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	plugin := tracePlugin(t)
	failEach(t, im, plugin, fmt.Sprintf("thread %d: operation %%d: ", im.Pid), func(p *Plan) ([]Op, uint64) {
		if _, err := os.Stat(dir); err == nil {
			t.Fatal("the cgroup was left behind")
		}
		th := p.Tasks[0].Threads[0]
		return th.Ops[:10], th.opsAt
	})
}
