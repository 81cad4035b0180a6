package planner

import (
	"fmt"
	"testing"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
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
