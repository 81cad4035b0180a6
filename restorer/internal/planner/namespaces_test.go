package planner

import (
	"fmt"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// Every namespace but time is refused by name; the tasks' one time namespace has to be in the images, and possible
// here.
func TestNamespaceRefusals(t *testing.T) {
	own := pb.Uint32(99)
	for name, tc := range map[string]struct {
		change func(dir *images.Dir, h *host.Host, ids *pb.TaskKobjIdsEntry)
		want   string
	}{
		"pid": {func(_ *images.Dir, _ *host.Host, ids *pb.TaskKobjIdsEntry) {
			ids.PidNsId = own
		}, "a pid namespace of its own: not supported"},
		"pid, of a tree": {func(dir *images.Dir, _ *host.Host, _ *pb.TaskKobjIdsEntry) {
			inPidNamespace(dir)
		}, "task 10287: it had a pid namespace of its own, in which it was not process 1"},
		"pid, external": {func(dir *images.Dir, _ *host.Host, _ *pb.TaskKobjIdsEntry) {
			inPidNamespace(dir)
			dir.PidNS = map[uint32]*pb.PidnsEntry{99: {ExtKey: pb.String("theirs")}}
		}, "task 10287: it was in the pid namespace theirs, which was not dumped: not supported\n  hint: "},
		"pid, without its /proc": {func(dir *images.Dir, _ *host.Host, _ *pb.TaskKobjIdsEntry) {
			inPidNamespace(dir)
			for _, file := range dir.Files {
				if file.Reg != nil {
					file.Reg.Name = pb.String("/proc/10287/maps")
				}
			}
		}, "file /proc/10287/maps: the tasks had a pid namespace of their own, but not this /proc"},
		"network": {func(_ *images.Dir, _ *host.Host, ids *pb.TaskKobjIdsEntry) {
			ids.NetNsId = own
		}, "a network namespace of its own: not supported"},
		"UTS": {func(_ *images.Dir, _ *host.Host, ids *pb.TaskKobjIdsEntry) {
			ids.UtsNsId = own
		}, "a UTS namespace of its own: not supported"},
		"mount": {func(_ *images.Dir, _ *host.Host, ids *pb.TaskKobjIdsEntry) {
			ids.MntNsId = own
		}, "a mount namespace of its own: not supported"},
		"user": {func(_ *images.Dir, _ *host.Host, ids *pb.TaskKobjIdsEntry) {
			ids.UserNsId = own
		}, "a user namespace of its own: not supported"},
		"cgroup": {func(_ *images.Dir, _ *host.Host, ids *pb.TaskKobjIdsEntry) {
			ids.CgroupNsId = own
		}, "a cgroup namespace of its own: not supported"},
		"time": {func(_ *images.Dir, _ *host.Host, ids *pb.TaskKobjIdsEntry) {
			ids.TimeNsId = own
		}, "a time namespace of its own: not supported"},
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

// A container is refused once, with the images of its namespaces; what else is unknown is named beside it.
func TestContainerIsRefusedOnce(t *testing.T) {
	const hint = "\n  hint: containers are restored by criu, runc or podman; let these start crpie as criu (docs/containers.md), " +
		"or put the plugins into the images with crpie graft first"
	ours := []string{"mountpoints-12.img", "tmpfs-dev-49.tar.gz.img", "utsns-11.img", "netns-10.img", "news-1.img"}
	for name, tc := range map[string]struct {
		change func(dir *images.Dir)
		want   string
	}{
		"all tasks alike": {func(*images.Dir) {},
			"cannot restore, for 2 reasons:\nnews-1.img: this kind of image is not supported\n" +
				"task 10287 (and 2 more): it had namespaces of its own (UTS, user): not supported; their contents are in " +
				"mountpoints-12.img, tmpfs-dev-49.tar.gz.img, utsns-11.img and 1 more" + hint},
		"one in another": {func(dir *images.Dir) {
			dir.Other, dir.Tasks[2].Ids.NetNsId = ours[:2], pb.Uint32(7)
		},
			"cannot restore, for 2 reasons:\ntask 10287 (and 1 more): it had namespaces of its own (UTS, user): not supported; " +
				"their contents are in mountpoints-12.img, tmpfs-dev-49.tar.gz.img" + hint +
				"\ntask 10290: it had namespaces of its own (network, UTS, user): not supported" + hint},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "tree"))
			dir.Other = ours
			for _, task := range dir.Tasks {
				if task.Ids != nil {
					task.Ids.UserNsId, task.Ids.UtsNsId = pb.Uint32(99), pb.Uint32(99)
				}
			}
			tc.change(dir)
			_, err := buildSample(t, dir, hosttest.New(dir), &job.Options{})
			if fmt.Sprint(err) != tc.want {
				t.Errorf("got:\n%v\nwant:\n%s", err, tc.want)
			}
		})
	}
}

func inPidNamespace(dir *images.Dir) {
	for _, task := range dir.Tasks {
		if task.Ids != nil {
			task.Ids.PidNsId = pb.Uint32(99)
		}
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
