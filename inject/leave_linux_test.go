//go:build linux && amd64

package inject

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/freezer"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/stage"
)

// below makes a cgroup in another one and moves processes into it. It is removed when the victim is gone.
func below(t *testing.T, p *testenv.Process, dir freezer.Cgroup, name string, pids ...sys.PID) freezer.Cgroup {
	t.Helper()
	c := filepath.Join(string(dir), name)
	err := os.Mkdir(c, 0o755)
	for _, pid := range pids {
		if err == nil {
			err = os.WriteFile(filepath.Join(c, "cgroup.procs"), []byte(strconv.Itoa(int(pid))), 0)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = freezer.Cgroup(c).Thaw(), dir.Thaw() // a frozen process does not end
		_ = p.Kill()
		testenv.RemoveCgroup(t, c)
	})
	return freezer.Cgroup(c)
}

// A tree is said to stand in a cgroup that was frozen only if all of it is there.
func TestFrozenInPart(t *testing.T) {
	p := testenv.Start(t, "tree")
	dir := testenv.Freezable(t, p)
	first := below(t, p, dir, "first", sys.PID(p.Pid))
	o := order{Pid: p.Pid, Tree: true, Plugin: testenv.Plugin(t, "testdata/plugins/dumped.c") + ",var=LANG",
		Stages: []stage.Stage{stage.PreDump}, Leave: Frozen}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(first.Freeze(testenv.Timeout))
	got := o.carryOut(t)
	if want := "cgroup " + string(first) + " was frozen, but not all processes are in it"; !strings.Contains(got.Error, want) {
		t.Errorf("%q, want %q", got.Error, want)
	}
	if !first.Frozen() || dir.Frozen() || len(got.Log) > 0 {
		t.Errorf("frozen %v, %v; %v", first.Frozen(), dir.Frozen(), got.Log)
	}
	must(dir.Freeze(testenv.Timeout))
	got = o.carryOut(t)
	want := "cgroup " + string(dir) + " is frozen, with all processes; criu dump takes it as --freeze-cgroup " + string(dir)
	if got.Error != "" || !slices.Contains(got.Report.Processes[0].Notes, want) {
		t.Errorf("%s, %+v", got.Error, got.Report)
	}
	must(dir.Thaw())
	must(first.Thaw())
	p.MustPass(t)
}

// A process that is killed while it is frozen ends when it is thawed: that is seen once.
func TestKilledWhileFrozen(t *testing.T) {
	p := testenv.Start(t, "tree")
	dir := testenv.Freezable(t, p)
	if err := dir.Freeze(testenv.Timeout); err != nil {
		t.Fatal(err)
	}
	if err := sys.Kill(sys.Children(sys.PID(p.Pid))[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	o := order{Pid: p.Pid, Tree: true, Plugin: testenv.Plugin(t, "testdata/plugins/dumped.c") + ",var=LANG",
		Stages: []stage.Stage{stage.Resumed}, Leave: Running}
	if got := o.carryOut(t); got.Error != "" {
		t.Error(got.Error)
	}
}

// Of a cgroup that has other processes, too, it is said once what helps: where it is to be thawed nothing else than to
// have them stopped, or elsewhere.
func TestCgroupWithOthers(t *testing.T) {
	p := testenv.Start(t, "tree")
	dir := testenv.Freezable(t, p)
	o := order{Pid: p.Pid, Plugin: testenv.Plugin(t, "testdata/plugins/dumped.c") + ",var=LANG",
		Stages: []stage.Stage{stage.PreDump}, Leave: Frozen}
	for _, advice := range []int{1, 0} {
		got := o.carryOut(t)
		if !strings.Contains(got.Error, "give --tree, or move it away") ||
			strings.Count(got.Error, "--leave running") != advice {
			t.Error(got.Error)
		}
		if err := dir.Freeze(testenv.Timeout); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.Thaw(); err != nil {
		t.Fatal(err)
	}
	p.MustPass(t)
}
