package planner

import (
	"testing"

	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// TestPlainPlansAskLittle: what takes system calls to find out is not asked for a task that has nothing of the kind.
func TestPlainPlansAskLittle(t *testing.T) {
	for _, name := range []string{"static", "threads"} {
		dir := openSample(t, sampleFS(t, name))
		h := hosttest.New(dir)
		asked := func(what string) { t.Errorf("%s: the plan asks for %s", name, what) }
		h.LoginUID = func() uint32 { asked("the login uid"); return 0 }
		h.TTY = func() int { asked("a terminal"); return -1 }
		h.LSM = func() string { asked("the label"); return "" }
		h.Cgroups = func() map[string]host.Hierarchy { asked("cgroups"); return nil }
		h.Droppable = func() bool { asked("MAP_DROPPABLE"); return false }
		h.PingGroups = func() [2]uint32 { asked("who may ping"); return [2]uint32{} }
		if _, err := buildSample(t, dir, h, &job.Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
