package planner

import (
	"fmt"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

func TestLateRefusals(t *testing.T) {
	inProc := func(format string) func(d *images.Dir) *pb.FileEntry {
		return func(d *images.Dir) *pb.FileEntry {
			name := fmt.Sprintf(format, d.Tasks[1].Pid)
			return &pb.FileEntry{Type: pb.FdTypes_REG.Enum(),
				Reg: &pb.RegFileEntry{Name: &name, Fown: &pb.FownEntry{}}}
		}
	}
	for name, tc := range map[string]struct {
		file func(d *images.Dir) *pb.FileEntry
		want string
	}{
		"thread":     {inProc("/proc/%d/task/1/comm"), "/task/1/comm is of a thread: not supported"},
		"descriptor": {inProc("/proc/%d/fdinfo/3"), "/fdinfo/3 is of another task's descriptor: not supported"},
		"thread's": {inProc("/proc/%[1]d/task/%[1]d/fdinfo/3"),
			"/fdinfo/3 is of another task's descriptor: not supported"},
		"namespace": {func(*images.Dir) *pb.FileEntry {
			return &pb.FileEntry{Type: pb.FdTypes_NS.Enum(),
				Nsf: &pb.NsFileEntry{NsId: pb.Uint32(99), NsCflag: pb.Uint32(0x40000000)}}
		}, "namespace 99 of kind 0x40000000, which is not the task's own: not supported"},
		"pidfd": {func(*images.Dir) *pb.FileEntry {
			return &pb.FileEntry{Type: pb.FdTypes_PIDFD.Enum(), Pidfd: &pb.PidfdEntry{Nspid: pb.Int32(99)}}
		}, "pidfd of process 99, which was not dumped: not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "ptys"))
			fd := dir.Tasks[0].Fds[0]
			file := tc.file(dir)
			file.Id = pb.Uint32(9999)
			fd.Type, fd.Id, dir.Files[9999] = file.Type, file.Id, file
			_, err := buildSample(t, dir, hosttest.New(dir), &job.Options{})
			wantRefusal(t, err, tc.want)
		})
	}
}

// The number of a process that has ended may be somebody else's by now.
func TestEndedTaken(t *testing.T) {
	for _, tc := range []struct {
		sample string
		pid    func(task *images.Task) uint32
		want   string
	}{
		{"static", func(*images.Task) uint32 { return 4321 },
			"/proc/4321 (ended): its id is taken by somebody\n  hint: " + taken},
		{"static", func(task *images.Task) uint32 { return task.Pid },
			"/proc/PID (ended): its id is taken by a task that is restored"},
		{"threads", func(task *images.Task) uint32 { return task.Threads[1].Tid },
			"working directory: /proc/PID/task is of a process that has ended, and whose id a thread of task TASK has by now: not supported"},
	} {
		dir := openSample(t, sampleFS(t, tc.sample))
		task := dir.Tasks[0]
		pid := tc.pid(task)
		host := hosttest.New(dir)
		host.Holder = func(id int) string { return map[int]string{4321: "somebody"}[id] }
		dir.Remaps = []*pb.RemapFilePathEntry{{OrigId: pb.Uint32(1), RemapId: &pid,
			RemapType: pb.RemapType_PROCFS.Enum()}}
		dir.Files[task.Fs.GetCwdId()].Reg.Name = pb.String(fmt.Sprintf("/proc/%d/task", pid))
		_, err := buildSample(t, dir, host, &job.Options{})
		wantRefusal(t, err, strings.NewReplacer("PID", fmt.Sprint(pid), "TASK",
			fmt.Sprint(task.Pid)).Replace(tc.want))
	}
}
