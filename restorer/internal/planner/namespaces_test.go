package planner

import (
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// Every namespace but time is refused by name; the tasks' one time namespace has to be in the images, and possible here.
func TestNamespaceRefusals(t *testing.T) {
	own := pb.Uint32(99)
	for name, tc := range map[string]struct {
		change func(dir *images.Dir, h *host.Host, ids *pb.TaskKobjIdsEntry)
		want   string
	}{
		"pid":     {func(_ *images.Dir, _ *host.Host, ids *pb.TaskKobjIdsEntry) { ids.PidNsId = own }, "a pid namespace of its own: not supported"},
		"network": {func(_ *images.Dir, _ *host.Host, ids *pb.TaskKobjIdsEntry) { ids.NetNsId = own }, "a network namespace of its own: not supported"},
		"UTS":     {func(_ *images.Dir, _ *host.Host, ids *pb.TaskKobjIdsEntry) { ids.UtsNsId = own }, "a UTS namespace of its own: not supported"},
		"mount":   {func(_ *images.Dir, _ *host.Host, ids *pb.TaskKobjIdsEntry) { ids.MntNsId = own }, "a mount namespace of its own: not supported"},
		"user":    {func(_ *images.Dir, _ *host.Host, ids *pb.TaskKobjIdsEntry) { ids.UserNsId = own }, "a user namespace of its own: not supported"},
		"cgroup":  {func(_ *images.Dir, _ *host.Host, ids *pb.TaskKobjIdsEntry) { ids.CgroupNsId = own }, "a cgroup namespace of its own: not supported"},
		"time":    {func(_ *images.Dir, _ *host.Host, ids *pb.TaskKobjIdsEntry) { ids.TimeNsId = own }, "a time namespace of its own: not supported"},
		"clocks": {func(dir *images.Dir, _ *host.Host, _ *pb.TaskKobjIdsEntry) { allIn(dir, own) },
			"task 10287: timens-99.img, the clocks of its time namespace, is missing"},
		"old kernel": {func(dir *images.Dir, h *host.Host, _ *pb.TaskKobjIdsEntry) {
			allIn(dir, own)
			h.TimeNamespaces, dir.Timens[99] = false, dir.Timens[0]
		}, "this host: it has no time namespaces, and the tasks were in one of their own\n  hint: restore on Linux 5.6"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "tree"))
			host := hosttest.New(dir)
			tc.change(dir, host, dir.Tasks[1].Ids)
			_, err := buildSample(t, dir, host, &job.Options{})
			wantRefusal(t, err, tc.want)
		})
	}
}

// allIn puts all tasks into one time namespace.
func allIn(dir *images.Dir, ns *uint32) {
	for _, task := range dir.Tasks {
		if task.Ids != nil {
			task.Ids.TimeNsId = ns
		}
	}
}
