//go:build linux && amd64 && faults

package inject

import (
	"testing"

	"github.com/crpie/crpie/internal/freezer"
	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/stage"
)

// aroundADump is an attachment to a tree around a dump. What is to go on was frozen before, as criu leaves it.
func aroundADump(t *testing.T, at stage.Stage) order {
	o := order{Plugin: testenv.Plugin(t, "testdata/plugins/dumped.c") + ",var=LANG", Tree: true,
		Stages: []stage.Stage{at}, Leave: Frozen}
	if at == stage.Resumed {
		o.Leave = Running
	}
	return o
}

// everyStepAround does an attachment with each of its steps. Whatever comes of it, the process goes on when it is
// thawed.
func everyStepAround(t *testing.T, at stage.Stage, each func(t *testing.T, o order, dir freezer.Cgroup)) {
	const chunk = 40
	for step, steps := 1, 0; step == 1 || step <= steps; {
		p := testenv.Start(t, "threads")
		dir, o := testenv.Freezable(t, p), aroundADump(t, at)
		o.Pid = p.Pid
		prepare(t, dir, at)
		if whole := o.carryOut(t); whole.Error != "" || whole.Steps < 100 {
			t.Fatalf("%d steps: %s", whole.Steps, whole.Error)
		} else {
			steps = whole.Steps
		}
		for end := step + chunk; step < end && step <= steps; step++ {
			prepare(t, dir, at)
			o.Step = step
			each(t, o, dir)
		}
		if err := dir.Thaw(); err != nil {
			t.Fatal(err)
		}
		p.MustPass(t)
	}
}

func prepare(t *testing.T, dir freezer.Cgroup, at stage.Stage) {
	t.Helper()
	err := dir.Thaw()
	if err == nil && at == stage.Resumed {
		err = dir.Freeze(testenv.Timeout)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Each system call around a dump fails in turn: the tree is frozen, or an error says why not, and then those hooks have
// run that undo what the others have done.
func TestEachStepAroundADumpFails(t *testing.T) {
	everyStepAround(t, stage.PreDump, func(t *testing.T, o order, dir freezer.Cgroup) {
		got := o.carryOut(t)
		if dir.Frozen() != (got.Error == "") {
			t.Errorf("step %d: frozen %v, %s", o.Step, dir.Frozen(), got.Error)
		}
		ran := map[stage.Stage]bool{}
		for _, line := range got.Log {
			ran[line.Hook] = true
		}
		if got.Error != "" && ran[stage.PreDump] && !ran[stage.Resumed] {
			t.Errorf("step %d: the process goes on and was not told: %s", o.Step, got.Error)
		}
	})
	everyStepAround(t, stage.Resumed, func(t *testing.T, o order, dir freezer.Cgroup) {
		if got := o.carryOut(t); got.Error == "" && dir.Frozen() {
			t.Errorf("step %d: frozen", o.Step)
		}
	})
}

// crpie is killed at each step: the process goes on unharmed, at once or when its cgroup is thawed.
func TestKilledAtEachStepAroundADump(t *testing.T) {
	for _, at := range stage.Dump() {
		everyStepAround(t, at, func(t *testing.T, o order, dir freezer.Cgroup) { eachKills(t, o) })
	}
}
