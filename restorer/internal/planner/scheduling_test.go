package planner

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
	"github.com/crpie/crpie/stage"
)

// Without CAP_SYS_NICE a task cannot be given a better place than crpie has.
func TestSchedulingRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(c *pb.ThreadCoreEntry)
		want   string
	}{
		"fifo": {func(c *pb.ThreadCoreEntry) {
			c.SchedPolicy = pb.Uint32(1)
		}, "scheduling policy 1"},
		"round robin": {func(c *pb.ThreadCoreEntry) {
			c.SchedPolicy = pb.Uint32(2)
		}, "scheduling policy 2"},
		"fifo, not for children": {func(c *pb.ThreadCoreEntry) {
			c.SchedPolicy = pb.Uint32(0x40000001)
		}, "scheduling policy 1"},
		"nice": {func(c *pb.ThreadCoreEntry) {
			c.SchedNice = pb.Int32(-3)
		}, "nice value -3, below crpie's own 0"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			host := hosttest.New(dir)
			host.Caps &^= 1 << uapi.CapSysNice
			tc.change(dir.Tasks[0].Core.GetThreadCore())
			_, err := buildSample(t, dir, host, &job.Options{})
			pid := dir.Tasks[0].Pid
			wantRefusal(t, err, fmt.Sprintf(
				"task %d thread %d: %s: crpie lacks CAP_SYS_NICE\n  hint: run crpie with CAP_SYS_NICE",
				pid, pid, tc.want))
		})
	}
}

// A thread is given its place among others when it has nothing left to do, by the controller; by itself where the
// controller may not, or where a hook could see it.
func TestSchedulingComesLast(t *testing.T) {
	type world struct {
		host   *host.Host
		hooked []Hooked
	}
	const itself = "sched_setscheduler(0, SCHED_BATCH, [0])\nsetpriority(PRIO_PROCESS, 0, 7)\n"
	const after = "sched_setattr(PID, {sched_policy=SCHED_BATCH, sched_nice=7, sched_priority=0}, 0)\n" +
		"setpriority(PRIO_PROCESS, PID, 7)\n"
	for name, tc := range map[string]struct {
		policy uint32
		nice   int32
		change func(w *world)
		want   string
	}{
		"nothing to do":        {0, 0, func(*world) {}, ""},
		"by the controller":    {3, 7, func(*world) {}, after},
		"an early hook":        {3, 7, func(w *world) { w.hooked = hooksAt(stage.PostFiles) }, after},
		"a hook that sees it":  {3, 7, func(w *world) { w.hooked = hooksAt(stage.PostThreads) }, itself},
		"a hook at the end":    {3, 7, func(w *world) { w.hooked = hooksAt(stage.PreSigreturn) }, itself},
		"without CAP_SYS_NICE": {3, 7, func(w *world) { w.host.Caps &^= 1 << uapi.CapSysNice }, itself},
		"in a user namespace": {3, 7, func(w *world) {
			w.host.InitialUsers = func() bool { return false }
		}, itself},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			core := dir.Tasks[0].Core.GetThreadCore()
			core.SchedPolicy, core.SchedNice = &tc.policy, &tc.nice
			w := world{hosttest.New(dir), nil}
			tc.change(&w)
			layout, _, err := LayBlob(nil)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Build(dir, layout, w.hooked, w.host, &job.Options{})
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(tc.want, "PID", strconv.Itoa(int(dir.Tasks[0].Pid)))
			if got := scheduling(p); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func hooksAt(at stage.Stage) []Hooked { return []Hooked{{Name: "hook", Stages: []stage.Stage{at}}} }

// scheduling lists what changes a place, by threads themselves and afterwards.
func scheduling(p *plan.Plan) string {
	var got strings.Builder
	for _, listing := range p.Document().Programs {
		for _, op := range listing.Operations {
			if op.Call == "sched_setscheduler" || op.Call == "setpriority" {
				fmt.Fprintf(&got, "%s(%s)\n", op.Call, strings.Join(op.Args, ", "))
			}
		}
		for _, call := range listing.Afterwards {
			fmt.Fprintln(&got, call)
		}
	}
	return got.String()
}
