package planner

import (
	"math"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// What crpie does not restore it refuses by name (docs/support.md).
func TestUnsupported(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(d *images.Dir, task *images.Task)
		want   string
	}{
		"pidfd": {firstDescriptor(pb.FdTypes_PIDFD),
			"fd 0: pidfd of process 0, which was not dumped: not supported"},
		"terminal": {firstDescriptor(pb.FdTypes_TTY), "fd 0: terminal: not supported\n  hint: use --shell-job"},
		"tun":      {firstDescriptor(pb.FdTypes_TUNF), "fd 0: tun/tap device: not supported"},
		"BPF map":  {firstDescriptor(pb.FdTypes_BPFMAP), "fd 0: BPF map: not supported"},
		"external": {firstDescriptor(pb.FdTypes_EXT), "fd 0: external file: not supported"},

		"shadow stack": {firstMapping(images.VmaShadowStack, 0), ": shadow stack: not supported"},
		"SysV memory":  {firstMapping(images.VmaSysvIPC, 0), ": SysV shared memory 1 is not in the images"},
		"SysV memory of huge pages": {sysv(&pb.IpcShmEntry{Size: pb.Uint64(4096), HugetlbFlag: pb.Uint32(1)}),
			"SysV shared memory 5: huge pages (SHM_HUGETLB): not supported"},
		"SysV memory beside the pagemaps": {sysv(&pb.IpcShmEntry{Size: pb.Uint64(4096)}),
			"SysV shared memory 5: its contents are in an old format: not supported\n  hint: dump with CRIU 3.0 or newer"},
		"SysV memory without end": {sysv(&pb.IpcShmEntry{Size: pb.Uint64(math.MaxUint64)}),
			"SysV shared memory 5: its size is 18446744073709551615"},
		"segments that go with their maker": {func(d *images.Dir, task *images.Task) {
			sysv()(d, task)
			d.IPC[99].Vars.ShmRmidForced = pb.Uint32(1)
		}, "IPC namespace: kernel.shm_rmid_forced is set: not supported"},
		"IPC namespace without images": {func(_ *images.Dir, task *images.Task) {
			task.Ids.IpcNsId = pb.Uint32(99)
		},
			"it had an IPC namespace of its own: not supported"},
		"AIO ring": {firstMapping(images.VmaAioRing, 0),
			": AIO ring without a context (io_setup(2)) of its own: not supported"},
		"packet ring": {firstMapping(images.VmaSocket, 0),
			": mapping of packet socket 0x1, of which the task has no descriptor: not supported"},
		"advice": {func(_ *images.Dir, task *images.Task) { task.Mm.Vmas[0].Madv = pb.Uint64(1<<9 | 1<<10) },
			": advice 0x200 (bits of madvise(2)) that does not last: not supported"},
		"huge pages": {firstMapping(images.VmaAnonShared, uapi.MapHugetlb),
			": shared huge pages that are not a memfd's: not supported\n  hint: dump with a newer CRIU"},

		"machine": {func(_ *images.Dir, task *images.Task) { task.Core.Mtype = pb.CoreEntry_AARCH64.Enum() },
			"machine AARCH64: only x86-64 tasks can be restored"},
		"32 bits": {func(_ *images.Dir, task *images.Task) {
			task.Core.GetThreadInfo().Gpregs.Mode = pb.UserX86RegsMode_COMPAT.Enum()
		},
			": 32-bit (compat) task: not supported"},
		"deadline": {func(_ *images.Dir, task *images.Task) {
			task.Core.GetThreadCore().SchedPolicy = pb.Uint32(6)
		},
			": scheduling policy 6: CRIU does not dump its parameters"},
		"cgroup": {func(_ *images.Dir, task *images.Task) { task.Core.GetThreadCore().CgSet = pb.Uint32(99) },
			"it was in a cgroup of its own, but cgroup.img has no set 99\n  hint: use --manage-cgroups=ignore"},
		"label": {func(_ *images.Dir, task *images.Task) {
			task.Core.GetThreadCore().GetCreds().LsmProfile = pb.String("x")
		},
			`security label "x": changing labels is not supported` +
				"\n  hint: start crpie with this label: aa-exec(1), runcon(1)"},
		"login": {func(_ *images.Dir, task *images.Task) { task.Core.GetTc().Loginuid = pb.Uint32(7) },
			"audit's login uid 7 is not crpie's own, and crpie lacks CAP_AUDIT_CONTROL"},
		"namespaces": {func(_ *images.Dir, task *images.Task) { task.Ids.UserNsId = pb.Uint32(99) },
			"it had a user namespace of its own: not supported\n  hint: containers are restored by criu"},
		"plugin of CRIU's": {func(d *images.Dir, _ *images.Task) {
			d.Inventory.PluginsEntry = &pb.PluginsEntry{Plugins: []string{"amdgpu_plugin"}}
		}, "inventory.img: CRIU's plugin amdgpu_plugin has a part in these images: not supported\n  hint: restore it with criu"},
		"image": {func(d *images.Dir, _ *images.Task) { d.Other = []string{"netns-9.img"} },
			"netns-9.img: this kind of image is not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			host := hosttest.New(dir)
			host.Caps &^= 1 << uapi.CapAuditControl
			tc.change(dir, dir.Tasks[0])
			_, err := buildSample(t, dir, host, &job.Options{})
			wantRefusal(t, err, tc.want)
		})
	}
}

func firstDescriptor(kind pb.FdTypes) func(*images.Dir, *images.Task) {
	return func(_ *images.Dir, task *images.Task) { task.Fds[0].Type = kind.Enum() }
}

func firstMapping(status, flags uint32) func(*images.Dir, *images.Task) {
	return func(_ *images.Dir, task *images.Task) {
		v := task.Mm.Vmas[0]
		v.Status, v.Flags = pb.Uint32(status), pb.Uint32(v.GetFlags()|flags)
	}
}

// sysv puts the tasks into an IPC namespace that has these segments, with the id 5.
func sysv(segments ...*pb.IpcShmEntry) func(*images.Dir, *images.Task) {
	return func(d *images.Dir, task *images.Task) {
		task.Ids.IpcNsId = pb.Uint32(99)
		for _, s := range segments {
			s.Desc = &pb.IpcDescEntry{Id: pb.Uint32(5)}
		}
		d.IPC = map[uint32]*images.IPC{99: {Vars: &pb.IpcVarEntry{}, Shm: segments}}
	}
}
