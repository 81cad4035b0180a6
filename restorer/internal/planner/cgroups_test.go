package planner

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/cgroups/moved"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// inCgroup puts the root of a sample into cgroups of its own: of version 2, with properties, and of two controllers
// of version 1.
func inCgroup(dir *images.Dir, on *host.Host) {
	dir.Tasks[0].Core.GetThreadCore().CgSet = pb.Uint32(9)
	member := func(name, path string) *pb.CgMemberEntry {
		return &pb.CgMemberEntry{Name: pb.String(name), Path: pb.String(path)}
	}
	prop := func(name, value string) *pb.CgroupPropEntry {
		return &pb.CgroupPropEntry{Name: pb.String(name), Value: pb.String(value)}
	}
	dir.Cgroup = &pb.CgroupEntry{
		Sets: []*pb.CgSetEntry{{Id: pb.Uint32(9),
			Ctls: []*pb.CgMemberEntry{member("", "/a/b"), member("cpu,cpuacct", "/c"),
				member("pids", "/own")}}},
		Controllers: []*pb.CgControllerEntry{{Cnames: []string{""}, Dirs: []*pb.CgroupDirEntry{{
			DirName: pb.String("a/b"),
			Properties: []*pb.CgroupPropEntry{prop("cgroup.type", "domain"),
				prop("cgroup.subtree_control", "memory pids"), prop("memory.max", "max"),
				prop("cgroup.procs", ""), prop("devices.list", "c 1:3 r\nc 1:5 r")},
			Children: []*pb.CgroupDirEntry{{DirName: pb.String("below")}},
		}}}},
	}
	hierarchies := map[string]host.Hierarchy{
		"": {Mount: "/v2", Own: "/"}, "cpu,cpuacct": {Mount: "/v1/cpu", Own: "/"},
		"pids": {Mount: "/v1/pids", Own: "/own"}, "memory": {Mount: "", Own: "/"},
	}
	on.Cgroups = func() map[string]host.Hierarchy { return hierarchies }
}

// existing adds files to a host.
func existing(host *host.Host, paths ...string) {
	before := host.CgroupExists
	host.CgroupExists = func(path string) bool { return slices.Contains(paths, path) || before(path) }
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
		"soft":        {"", nil, made, 2},
		"soft, there": {job.CgroupsSoft, []string{"/v2/a", "/v2/a/b", "/v1/cpu/c"}, "", 2},
		"full, there": {job.CgroupsFull, []string{"/v2/a", "/v2/a/b", "/v1/cpu/c"},
			set + "make cgroup :/a/b/below\n", 2},
		"props, there": {job.CgroupsProps, []string{"/v2/a", "/v2/a/b", "/v1/cpu/c"}, set, 2},
		"none, there":  {job.CgroupsNone, []string{"/v2/a", "/v2/a/b", "/v1/cpu/c"}, "", 2},
		"strict":       {job.CgroupsStrict, nil, made, 2},
		"ignore":       {job.CgroupsIgnore, nil, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			host := hosttest.New(dir)
			inCgroup(dir, host)
			existing(host, tc.existing...)
			planned, err := buildSample(t, dir, host, &job.Options{Cgroups: tc.mode})
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for i := range planned.Cgroups {
				planned.Document().Cgroups[i].Print(&got)
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

// What becomes of a cgroup that was to be made, but is there by then, is what the mode has for one that is there.
func TestCgroupsFoundLater(t *testing.T) {
	for mode, want := range map[job.CgroupMode]plan.CgroupFound{job.CgroupsSoft: plan.CgroupLeft,
		job.CgroupsFull: plan.CgroupSet, job.CgroupsStrict: plan.CgroupRefused} {
		dir := openSample(t, sampleFS(t, "static"))
		host := hosttest.New(dir)
		inCgroup(dir, host)
		planned, err := buildSample(t, dir, host, &job.Options{Cgroups: mode})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range planned.Cgroups {
			if above := plan.CgroupLeft; d.Path == "/v2/a" && d.IfFound != above ||
				d.Path == "/v2/a/b" && d.IfFound != want {
				t.Errorf("%s: %s: %v", mode, d.Path, d.IfFound)
			}
		}
	}
}

// A cgroup that a restore has not finished is made by this one as well.
func TestUnfinishedCgroups(t *testing.T) {
	dir := openSample(t, sampleFS(t, "static"))
	host := hosttest.New(dir)
	inCgroup(dir, host)
	existing(host, "/v2/a", "/v2/a/b", "/v1/cpu/c")
	host.Unfinished = func(path string) bool { return path == "/v2/a/b" }
	planned, err := buildSample(t, dir, host, &job.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c := planned.Cgroups; len(c) != 2 || c[0].Path != "/v2/a/b" || !c[0].Make || len(c[0].Properties) == 0 {
		t.Errorf("cgroups %+v, want /v2/a/b with what is below it", c)
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
		"not mounted": {"", func(d *images.Dir, _ *host.Host) {
			d.Cgroup.Sets[0].Ctls[0].Name = pb.String("memory")
		},
			"it was in cgroup memory:/a/b, but that hierarchy is not mounted here\n  hint: mount it, or use --manage-cgroups=ignore"},
		"unknown": {"", func(d *images.Dir, _ *host.Host) { d.Cgroup.Sets[0].Ctls[0].Name = pb.String("x") },
			"it was in cgroup x:/a/b, but that hierarchy is not mounted here"},
		"path": {"", func(d *images.Dir, _ *host.Host) { d.Cgroup.Sets[0].Ctls[0].Path = pb.String("/../etc") },
			`"/../etc" is not the path of a cgroup`},
		"name": {"", func(d *images.Dir, _ *host.Host) { entry(d).Children[0].DirName = pb.String("..") },
			`".." is not the name of a cgroup`},
		"property": {"", func(d *images.Dir, _ *host.Host) { entry(d).Properties[0].Name = pb.String("../x") },
			`"../x" is not a property of a cgroup`},
		"threaded": {"", func(d *images.Dir, h *host.Host) {
			entry(d).Properties[0].Value = pb.String("threaded")
			existing(h, "/v2/a", "/v2/a/b")
		}, "cgroup :/a/b was threaded; the one that exists is not\n  hint: remove it, or use --manage-cgroups=ignore"},
		"frozen": {"", func(d *images.Dir, _ *host.Host) {
			entry(d).Properties[0].Name, entry(d).Properties[0].Value = pb.String("cgroup.freeze"),
				pb.String("1")
		}, "cgroup :/a/b was frozen: not supported"},
		"no set": {"", func(d *images.Dir, _ *host.Host) { d.Cgroup = nil },
			"it was in a cgroup of its own, but cgroup.img has no set 9\n  hint: use --manage-cgroups=ignore to leave it in crpie's own"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			host := hosttest.New(dir)
			inCgroup(dir, host)
			tc.change(dir, host)
			_, err := buildSample(t, dir, host, &job.Options{Cgroups: tc.mode})
			wantRefusal(t, err, fmt.Sprintf("task %d: ", dir.Tasks[0].Pid)+tc.want)
		})
	}
}

// inThreads puts a thread of a sample into cgroups of its own.
func inThreads(dir *images.Dir, thread int, paths map[string]string) {
	set := &pb.CgSetEntry{Id: pb.Uint32(8)}
	for name, path := range paths {
		set.Ctls = append(set.Ctls, &pb.CgMemberEntry{Name: pb.String(name), Path: pb.String(path)})
	}
	dir.Cgroup.Sets = append(dir.Cgroup.Sets, set)
	dir.Tasks[0].Threads[thread].Core.GetThreadCore().CgSet = pb.Uint32(8)
}

// typed says of which type the cgroup of version 2 at a path was.
func typed(dir *images.Dir, path, kind string) {
	c := dir.Cgroup.Controllers[0]
	c.Dirs = append(c.Dirs, &pb.CgroupDirEntry{DirName: pb.String(strings.TrimPrefix(path, "/")),
		Properties: []*pb.CgroupPropEntry{
			{Name: pb.String("cgroup.type"), Value: pb.String(kind)}}})
}

// moves lists the files by which threads move themselves.
func moves(ops []plan.Op) (list []string) {
	for i := range ops {
		if _, name, found := strings.Cut(ops[i].String(), "# cgroup "); found &&
			strings.Contains(ops[i].String(), "openat") {
			list = append(list, name)
		}
	}
	return list
}

// A thread joins its own cgroups: in version 1 any, in version 2 threaded ones, and what lies between those and their
// domain is made threaded. Where version 2 had no threaded cgroups the thread stays with its process, whatever the
// sets say.
func TestThreadCgroups(t *testing.T) {
	for name, tc := range map[string]struct {
		at       map[string]string
		threaded []string
		made     string // of version 2, above and in the thread's cgroup
		moves    []string
	}{
		"version 1": {map[string]string{"": "/a/b", "pids": "/other", "cpu,cpuacct": "/c"}, nil, "",
			[]string{"pids:/other"}},
		"without version 2": {map[string]string{"pids": "/own", "cpu,cpuacct": "/c"}, nil, "", nil},
		"elsewhere":         {map[string]string{"": "/e", "cpu,cpuacct": "/c"}, nil, "", nil},
		"version 2": {map[string]string{"": "/a/b/t", "cpu,cpuacct": "/c"}, []string{"/a/b/t"},
			":/a/b/t cgroup.type", []string{":/a/b/t"}},
		"what lies between": {map[string]string{"": "/a/b/m/t", "cpu,cpuacct": "/c"}, []string{"/a/b/m/t"},
			":/a/b/m cgroup.type :/a/b/m/t cgroup.type", []string{":/a/b/m/t"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "threads"))
			host := hosttest.New(dir)
			inCgroup(dir, host)
			inThreads(dir, 1, tc.at)
			for _, path := range tc.threaded {
				typed(dir, path, "threaded")
			}
			for _, th := range dir.Tasks[0].Threads[2:] { // they are with their process
				th.Core.GetThreadCore().CgSet = pb.Uint32(9)
			}
			planned, err := buildSample(t, dir, host, &job.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := moves(planned.Tasks[0].Threads[1].Ops); !slices.Equal(got, tc.moves) {
				t.Errorf("the thread moves to %q, want %q", got, tc.moves)
			}
			if got := moves(planned.Tasks[0].Threads[2].Ops); len(got) != 0 {
				t.Errorf("another thread moves to %q", got)
			}
			var made []string
			for _, d := range planned.Cgroups {
				if len(d.Properties) > 0 && d.Properties[0].Value == "threaded" {
					made = append(made, d.Name+" "+d.Properties[0].Name)
				}
			}
			if got := strings.Join(made, " "); got != tc.made {
				t.Errorf("made threaded: %q, want %q", got, tc.made)
			}
		})
	}
}

// Threads of one process in cgroups of version 2 that have different domains cannot be.
func TestThreadCgroupRefusal(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(dir *images.Dir, h *host.Host)
		want   string
	}{
		"a domain between": {func(dir *images.Dir, _ *host.Host) {
			typed(dir, "/a/b/m", "domain")
		}, "cgroup :/a/b/m is not threaded"},
		"one is there": {func(_ *images.Dir, h *host.Host) {
			existing(h, "/v2/a", "/v2/a/b", "/v2/a/b/m")
		}, "cgroup :/a/b/m is not threaded"},
		"no set": {func(dir *images.Dir, _ *host.Host) { dir.Cgroup.Sets = dir.Cgroup.Sets[:1] },
			"it was in a cgroup of its own, but cgroup.img has no set 8"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "threads"))
			host := hosttest.New(dir)
			inCgroup(dir, host)
			inThreads(dir, 1, map[string]string{"": "/a/b/m/t"})
			typed(dir, "/a/b/m/t", "threaded")
			tc.change(dir, host)
			_, err := buildSample(t, dir, host, &job.Options{})
			wantRefusal(t, err, fmt.Sprintf("task %d thread %d: ", dir.Tasks[0].Pid,
				dir.Tasks[0].Threads[1].Tid), tc.want)
		})
	}
}

// inNamespace gives the tasks of a sample in cgroups a namespace that begins at the first bytes of their path in
// version 2.
func inNamespace(dir *images.Dir, bytes uint32) {
	for _, task := range dir.Tasks {
		if task.Ids != nil { // zombies have none
			task.Ids.CgroupNsId = pb.Uint32(99)
		}
	}
	dir.Cgroup.Sets[0].Ctls[0].CgnsPrefix = pb.Uint32(bytes)
}

// The root task makes the namespace where its roots were, and goes on to its cgroups.
func TestCgroupNamespacePlan(t *testing.T) {
	for name, tc := range map[string]struct {
		opts job.Options
		want string
	}{
		"as it was": {job.Options{}, ":/a pids:/ unshare :/a/b cpu,cpuacct:/c pids:/own"},
		"moved": {job.Options{CgroupRoots: map[string]string{"": "/n"}},
			":/n pids:/ unshare :/n/b cpu,cpuacct:/c pids:/own"},
		"ignored": {job.Options{Cgroups: job.CgroupsIgnore}, "unshare"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			host := hosttest.New(dir)
			inCgroup(dir, host)
			inNamespace(dir, 2)
			delete(host.Cgroups(), "memory")
			planned, err := buildSample(t, dir, host, &tc.opts)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			ops := planned.Tasks[0].Threads[0].Ops
			for i := range ops {
				if strings.Contains(ops[i].String(), "# cgroup namespace") {
					got = append(got, "unshare")
				} else {
					got = append(got, moves(ops[i:i+1])...)
				}
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestCgroupNamespaceRefusals(t *testing.T) {
	control := func(d *images.Dir, value string) {
		c := d.Cgroup.Controllers[0]
		c.Dirs[0] = &pb.CgroupDirEntry{DirName: pb.String("a"),
			Children: []*pb.CgroupDirEntry{{DirName: pb.String("b")}},
			Properties: []*pb.CgroupPropEntry{{Name: pb.String("cgroup.subtree_control"),
				Value: pb.String(value)}}}
	}
	for name, tc := range map[string]struct {
		change func(d *images.Dir, h *host.Host)
		want   string
	}{
		"prefix": {func(d *images.Dir, _ *host.Host) {
			inNamespace(d, 3)
		}, `the root of its cgroup namespace is 3 bytes of "/a/b"`},
		"long prefix": {func(d *images.Dir, _ *host.Host) {
			inNamespace(d, 1<<31)
		}, `is 2147483648 bytes of "/a/b", which is not the path of a cgroup`},
		"not mounted": {func(_ *images.Dir, h *host.Host) { h.Cgroups()["memory"] = host.Hierarchy{Own: "/m"} },
			"its cgroup namespace began at memory:/, but that hierarchy is not mounted here"},
		"controllers": {func(d *images.Dir, _ *host.Host) { control(d, "pids memory") },
			"its cgroup namespace began at :/a, which hands out the controller memory, so that no process can be in it: not supported"},
		"controllers there": {func(_ *images.Dir, h *host.Host) {
			existing(h, "/v2/a", "/v2/a/b")
			h.CgroupFile = func(path string) string {
				return map[string]string{"/v2/a/cgroup.subtree_control": "pids"}[path]
			}
		}, "which hands out the controller pids"},
		"outside": {func(d *images.Dir, _ *host.Host) {
			d.Cgroup.Sets = append(d.Cgroup.Sets,
				&pb.CgSetEntry{Id: pb.Uint32(7),
					Ctls: []*pb.CgMemberEntry{{Name: pb.String(""), Path: pb.String("/o")}}})
			d.Tasks[1].Core.GetThreadCore().CgSet = pb.Uint32(7)
		}, "cgroup :/o is outside its cgroup namespace, which began at :/a: not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "tree"))
			host := hosttest.New(dir)
			inCgroup(dir, host)
			for _, task := range dir.Tasks {
				if !task.Dead() {
					task.Core.GetThreadCore().CgSet = pb.Uint32(9)
				}
			}
			inNamespace(dir, 2)
			tc.change(dir, host)
			_, err := buildSample(t, dir, host, &job.Options{})
			wantRefusal(t, err, tc.want)
		})
	}
}

// A cgroup of cpuset in version 1 that is made above another has what the one above it has.
func TestCpusetAbove(t *testing.T) {
	dir := openSample(t, sampleFS(t, "static"))
	h := hosttest.New(dir)
	inCgroup(dir, h)
	dir.Cgroup.Sets[0].Ctls[0].Name = pb.String("cpu,cpuset")
	h.Cgroups()["cpu,cpuset"] = host.Hierarchy{Mount: "/v1/cpuset", Own: "/"}
	h.CgroupFile = func(path string) string {
		return map[string]string{"/v1/cpuset/cpuset.cpus": "0-3", "/v1/cpuset/cpuset.mems": "0"}[path]
	}
	planned, err := buildSample(t, dir, h, &job.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	planned.Document().Cgroups[1].Print(&got)
	if want := "make cgroup cpu,cpuset:/a cpuset.cpus=\"0-3\" cpuset.mems=\"0\"\n"; got.String() != want {
		t.Errorf("got %s, want %s", got.String(), want)
	}
}

// --cgroup-root moves the topmost cgroups of the dump, with what is below them.
func TestCgroupRoots(t *testing.T) {
	for name, tc := range map[string]struct {
		roots map[string]string
		want  []string
	}{
		"all": {map[string]string{moved.AllControllers: "/n/w"},
			[]string{":/n", ":/n/w", ":/n/w/below", "cpu,cpuacct:/c"}},
		"unified": {map[string]string{"": "/n"}, []string{":/n", ":/n/below", "cpu,cpuacct:/c"}},
		"another one": {map[string]string{"cpuacct": "/n"},
			[]string{":/a", ":/a/b", ":/a/b/below", "cpu,cpuacct:/c"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			host := hosttest.New(dir)
			inCgroup(dir, host)
			planned, err := buildSample(t, dir, host, &job.Options{CgroupRoots: tc.roots})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range planned.Cgroups {
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
