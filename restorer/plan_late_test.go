package restorer

import (
	"fmt"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/ns"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pidfd"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/regfile"
	remap_file_path "github.com/checkpoint-restore/go-criu/v8/crit/images/remap-file-path"
	"google.golang.org/protobuf/proto"

	"github.com/crpie/crpie/images"
)

func TestLateRefusals(t *testing.T) {
	inProc := func(format string) func(d *images.Dir) *fdinfo.FileEntry {
		return func(d *images.Dir) *fdinfo.FileEntry {
			name := fmt.Sprintf(format, d.Tasks[1].Pid)
			return &fdinfo.FileEntry{Type: fdinfo.FdTypes_REG.Enum(), Reg: &regfile.RegFileEntry{Name: &name, Fown: &fown.FownEntry{}}}
		}
	}
	for name, tc := range map[string]struct {
		file func(d *images.Dir) *fdinfo.FileEntry
		want string
	}{
		"thread":     {inProc("/proc/%d/task/1/comm"), "/task/1/comm is of a thread: not supported"},
		"descriptor": {inProc("/proc/%d/fdinfo/3"), "/fdinfo/3 is of another task's descriptor: not supported"},
		"thread's":   {inProc("/proc/%[1]d/task/%[1]d/fdinfo/3"), "/fdinfo/3 is of another task's descriptor: not supported"},
		"namespace": {func(*images.Dir) *fdinfo.FileEntry {
			return &fdinfo.FileEntry{Type: fdinfo.FdTypes_NS.Enum(), Nsf: &ns.NsFileEntry{NsId: proto.Uint32(99), NsCflag: proto.Uint32(0x40000000)}}
		}, "namespace 99 of kind 0x40000000, which is not the task's own: not supported"},
		"pidfd": {func(*images.Dir) *fdinfo.FileEntry {
			return &fdinfo.FileEntry{Type: fdinfo.FdTypes_PIDFD.Enum(), Pidfd: &pidfd.PidfdEntry{Nspid: proto.Int32(99)}}
		}, "pidfd of process 99, which was not dumped: not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "ptys"))
			fd := dir.Tasks[0].Fds[0]
			file := tc.file(dir)
			file.Id = proto.Uint32(9999)
			fd.Type, fd.Id, dir.Files[9999] = file.Type, file.Id, file
			_, err := buildSample(t, dir, fakeHost(dir), &PlanOptions{})
			wantRefusal(t, err, tc.want)
		})
	}
}

// The number of a process that has ended may be somebody else's by now.
func TestEndedTaken(t *testing.T) {
	dir := openSample(t, sampleFS(t, "static"))
	host := fakeHost(dir)
	host.Holder = func(id int) string { return map[int]string{4321: "somebody"}[id] }
	dir.Remaps = []*remap_file_path.RemapFilePathEntry{{OrigId: proto.Uint32(1), RemapId: proto.Uint32(4321),
		RemapType: remap_file_path.RemapType_PROCFS.Enum()}}
	_, err := buildSample(t, dir, host, &PlanOptions{})
	wantRefusal(t, err, "/proc/4321 (ended): its id is taken by somebody\n  hint: end that process, or restore elsewhere")
}
