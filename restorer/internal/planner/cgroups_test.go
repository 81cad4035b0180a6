package planner

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// inCgroup puts the root of a sample into cgroups of its own: of version 2, with properties, and of two controllers of version 1.
func inCgroup(dir *images.Dir, on *host.Host) {
	dir.Tasks[0].Core.GetThreadCore().CgSet = pb.Uint32(9)
	member := func(name, path string) *pb.CgMemberEntry {
		return &pb.CgMemberEntry{Name: pb.String(name), Path: pb.String(path)}
	}
	prop := func(name, value string) *pb.CgroupPropEntry {
		return &pb.CgroupPropEntry{Name: pb.String(name), Value: pb.String(value)}
	}
	dir.Cgroup = &pb.CgroupEntry{
		Sets: []*pb.CgSetEntry{{Id: pb.Uint32(9), Ctls: []*pb.CgMemberEntry{member("", "/a/b"), member("cpu,cpuacct", "/c"), member("pids", "/own")}}},
		Controllers: []*pb.CgControllerEntry{{Cnames: []string{""}, Dirs: []*pb.CgroupDirEntry{{
			DirName: pb.String("a/b"),
			Properties: []*pb.CgroupPropEntry{prop("cgroup.type", "domain"), prop("cgroup.subtree_control", "memory pids"), prop("memory.max", "max"),
				prop("cgroup.procs", ""), prop("devices.list", "c 1:3 r\nc 1:5 r")},
			Children: []*pb.CgroupDirEntry{{DirName: pb.String("below")}},
		}}}},
	}
	on.Cgroups = map[string]host.Hierarchy{
		"": {Mount: "/v2", Own: "/"}, "cpu,cpuacct": {Mount: "/v1/cpu", Own: "/"}, "pids": {Mount: "/v1/pids", Own: "/own"}, "memory": {Mount: "", Own: "/"},
	}
}

// existing adds files to a host.
func existing(host *host.Host, paths ...string) {
	stat := host.Stat
	host.Stat = func(path string) (fs.FileInfo, error) {
		if slices.Contains(paths, path) {
			return fakeInfo{mode: fs.ModeDir}, nil
		}
		return stat(path)
	}
}

// What a mode makes and sets is in the plan, and so is the move of the task.
func TestCgroupPlans(t *testing.T) {
	const made = `make cgroup :/a
make cgroup :/a/b cgroup.subtree_control="+memory +pids" memory.max="max" devices.deny="a" devices.allow="c 1:3 r" devices.allow="c 1:5 r"
make cgroup :/a/b/below
make cgroup cpu,cpuacct:/c
`
	const set = `set cgroup :/a/b cgroup.subtree_control="+memory +pids" memory.max="max" devices.deny="a" devices.allow="c 1:3 r" devices.allow="c 1:5 r"
`
	for name, tc := range map[string]struct {
		mode     job.CgroupMode
		existing []string
		want     string
		moves    int
	}{
		"soft":         {"", nil, made, 2},
		"soft, there":  {job.CgroupsSoft, []string{"/v2/a", "/v2/a/b", "/v1/cpu/c"}, "", 2},
		"full, there":  {job.CgroupsFull, []string{"/v2/a", "/v2/a/b", "/v1/cpu/c"}, set + "make cgroup :/a/b/below\n", 2},
		"props, there": {job.CgroupsProps, []string{"/v2/a", "/v2/a/b", "/v1/cpu/c"}, set, 2},
		"none, there":  {job.CgroupsNone, []string{"/v2/a", "/v2/a/b", "/v1/cpu/c"}, "", 2},
		"strict":       {job.CgroupsStrict, nil, made, 2},
		"ignore":       {job.CgroupsIgnore, nil, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			host := fakeHost(dir)
			inCgroup(dir, host)
			existing(host, tc.existing...)
			planned, err := buildSample(t, dir, host, &job.Options{Cgroups: tc.mode})
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for i := range planned.Cgroups {
				plan.PrintCgroup(&got, &planned.Cgroups[i])
			}
			if got.String() != tc.want {
				t.Errorf("got:\n%swant:\n%s", got.String(), tc.want)
			}
			moves := 0
			for i := range planned.Tasks[0].Threads[0].Ops {
				if strings.HasSuffix(planned.Tasks[0].Threads[0].Ops[i].String(), "# cgroup :/a/b") {
					moves++
				}
			}
			if moves != tc.moves { // open and write
				t.Errorf("%d operations move the task, want %d", moves, tc.moves)
			}
		})
	}
}

func TestCgroupRefusals(t *testing.T) {
	entry := func(d *images.Dir) *pb.CgroupDirEntry { return d.Cgroup.Controllers[0].Dirs[0] }
	for name, tc := range map[string]struct {
		mode   job.CgroupMode
		change func(d *images.Dir, h *host.Host)
		want   string
	}{
		"missing": {job.CgroupsNone, func(*images.Dir, *host.Host) {},
			"cgroup :/a/b does not exist\n  hint: make it, or use --manage-cgroups=soft"},
		"there": {job.CgroupsStrict, func(_ *images.Dir, h *host.Host) { existing(h, "/v2/a/b") },
			"cgroup :/a/b exists already\n  hint: remove it, or use another mode of --manage-cgroups"},
		"not mounted": {"", func(d *images.Dir, _ *host.Host) { d.Cgroup.Sets[0].Ctls[0].Name = pb.String("memory") },
			"it was in cgroup memory:/a/b, but that hierarchy is not mounted here\n  hint: mount it, or use --manage-cgroups=ignore"},
		"unknown": {"", func(d *images.Dir, _ *host.Host) { d.Cgroup.Sets[0].Ctls[0].Name = pb.String("x") },
			"it was in cgroup x:/a/b, but that hierarchy is not mounted here"},
		"path": {"", func(d *images.Dir, _ *host.Host) { d.Cgroup.Sets[0].Ctls[0].Path = pb.String("/../etc") },
			`"/../etc" is no path of a cgroup`},
		"name": {"", func(d *images.Dir, _ *host.Host) { entry(d).Children[0].DirName = pb.String("..") },
			`".." is no name of a cgroup`},
		"property": {"", func(d *images.Dir, _ *host.Host) { entry(d).Properties[0].Name = pb.String("../x") },
			`"../x" is no property of a cgroup`},
		"threaded": {"", func(d *images.Dir, _ *host.Host) { entry(d).Properties[0].Value = pb.String("threaded") },
			"cgroup :/a/b is threaded: not supported\n  hint: use --manage-cgroups=ignore to leave it in crpie's own"},
		"frozen": {"", func(d *images.Dir, _ *host.Host) {
			entry(d).Properties[0].Name, entry(d).Properties[0].Value = pb.String("cgroup.freeze"), pb.String("1")
		}, "cgroup :/a/b was frozen: not supported"},
		"no set": {"", func(d *images.Dir, _ *host.Host) { d.Cgroup = nil },
			"it was in a cgroup of its own, but cgroup.img has no set 9\n  hint: use --manage-cgroups=ignore to leave it in crpie's own"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			host := fakeHost(dir)
			inCgroup(dir, host)
			tc.change(dir, host)
			_, err := buildSample(t, dir, host, &job.Options{Cgroups: tc.mode})
			wantRefusal(t, err, fmt.Sprintf("task %d: ", dir.Tasks[0].Pid)+tc.want)
		})
	}
}

// A thread in other cgroups than its process is in a threaded one, or in version 1.
func TestThreadCgroupRefusal(t *testing.T) {
	dir := openSample(t, sampleFS(t, "threads"))
	host := fakeHost(dir)
	inCgroup(dir, host)
	thread := dir.Tasks[0].Threads[1]
	thread.Core.GetThreadCore().CgSet = pb.Uint32(8)
	_, err := buildSample(t, dir, host, &job.Options{})
	wantRefusal(t, err, fmt.Sprintf("task %d thread %d: it was in other cgroups than its process: not supported", dir.Tasks[0].Pid, thread.Tid))
}

// --cgroup-root moves the topmost cgroups of the dump, with what is below them.
func TestCgroupRoots(t *testing.T) {
	for name, tc := range map[string]struct {
		roots map[string]string
		want  []string
	}{
		"all":         {map[string]string{AllControllers: "/n/w"}, []string{":/n", ":/n/w", ":/n/w/below", "cpu,cpuacct:/c"}},
		"unified":     {map[string]string{"": "/n"}, []string{":/n", ":/n/below", "cpu,cpuacct:/c"}},
		"another one": {map[string]string{"cpuacct": "/n"}, []string{":/a", ":/a/b", ":/a/b/below", "cpu,cpuacct:/c"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			host := fakeHost(dir)
			inCgroup(dir, host)
			plan, err := buildSample(t, dir, host, &job.Options{CgroupRoots: tc.roots})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range plan.Cgroups {
				got = append(got, d.Name)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	for spec, want := range map[string]string{
		"/a": "* /a", "cpu:/a/b": "cpu /a/b", ":/a": " /a", "name=x:/": "name=x /",
		"a": "error", "cpu:a": "error", "/a/../b": "error", "": "error", "/a\x00": "error",
	} {
		controller, root, err := ParseCgroupRoot(spec)
		if got := controller + " " + root; err != nil && want != "error" || err == nil && got != want {
			t.Errorf("%q: %q, %v, want %q", spec, got, err, want)
		}
	}
}
