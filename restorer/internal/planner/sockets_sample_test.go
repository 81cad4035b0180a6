package planner

import (
	"slices"
	"testing"

	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// whats says what the operations of one system call are for.
func whats(ops []plan.Op, nr uint64) (list []string) {
	for i := range ops {
		if ops[i].Nr == nr {
			list = append(list, ops[i].What)
		}
	}
	return list
}

// Everything that was in flight is sent by the zygote, and by nobody else.
func TestPlanInFlight(t *testing.T) {
	plan, err := samplePlan(t, "inflight")
	if err != nil {
		t.Fatal(err)
	}
	got := whats(plan.Zygote, uapi.SysSendmsg)
	want := []string{
		`5 bytes for unix socket "receiver.sock", descriptors in flight: 1`,
		`13 bytes for unix socket 70110702, descriptors in flight: 1`,
		`12 bytes for unix socket 70110704, descriptors in flight: 1`,
		`5 bytes for unix socket 70110704, descriptors in flight: 3`,
		`14 bytes for unix socket 70110704, descriptors in flight: 2`,
		`8 bytes for unix socket 70110704, descriptors in flight: 1`,
		`3 bytes for unix socket 70110706, descriptors in flight: 2`,
		`3 bytes for unix socket 70110706, descriptors in flight: 1`,
		`5 bytes for unix socket 70110708, descriptors in flight: 1`,
		`9 bytes for unix socket 70110708, descriptors in flight: 1`,
		`6 bytes for unix socket 70110710, descriptors in flight: 1`,
		`5 bytes for unix socket 70110718, descriptors in flight: 1`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("sent: %q\nwant: %q", got, want)
	}
	for _, task := range plan.Tasks {
		if sent := whats(task.Threads[0].Ops, uapi.SysSendmsg); len(sent) > 0 {
			t.Errorf("task %d sends %q", task.Pid, sent)
		}
	}
}

// The file system for deleted sockets is made once, and left as often as it is entered.
func TestPlanDeletedSockets(t *testing.T) {
	plan, err := samplePlan(t, "names")
	if err != nil {
		t.Fatal(err)
	}
	ops := plan.Tasks[0].Threads[0].Ops
	want := []string{
		`unix socket "/tmp/victim/deleted.sock" had been deleted`,
		`unix socket "/tmp/victim/current.sock" had been deleted`,
		`unix socket "/tmp/victim/folder/nowhere.sock" had been deleted`,
		`unix socket "left.sock" had been deleted`,
		`unix socket "/tmp/victim/gone.sock" had been deleted`,
		`listener for unix socket "/tmp/victim/vanished.sock" had been deleted`,
	}
	if got := whats(ops, uapi.SysUnlink); !slices.Equal(got, want) {
		t.Errorf("deleted: %q\nwant: %q", got, want)
	}
	if mounts := whats(ops, uapi.SysFsmount); len(mounts) != 1 {
		t.Errorf("%d file systems", len(mounts))
	}
	inside := 0
	for _, what := range whats(ops, uapi.SysChroot) {
		if what == "private file system" {
			inside++
		} else {
			inside--
		}
		if inside < 0 || inside > 1 {
			t.Fatal("it is entered twice, or left twice")
		}
	}
	if inside != 0 {
		t.Error("it is not left")
	}
}

func samplePlan(t *testing.T, name string) (*plan.Plan, error) {
	t.Helper()
	dir := openSample(t, sampleFS(t, name))
	return buildSample(t, dir, hosttest.New(dir), &job.Options{})
}
