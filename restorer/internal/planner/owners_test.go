package planner

import (
	"fmt"
	"testing"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/file"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// An owner that is not restored has no meaning: its number may be anybody's.
func TestOwnerRefusals(t *testing.T) {
	for kind, name := range []string{"thread", "process", "group"} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			task := dir.Tasks[0]
			fd := task.Fds[0]
			dir.Files[fd.GetId()].Reg.Fown = &pb.FownEntry{Pid: pb.Uint32(4321),
				PidType: pb.Uint32(uint32(kind))}
			_, err := buildSample(t, dir, hosttest.New(dir), &job.Options{})
			wantRefusal(t, err, fmt.Sprintf(
				"task %d fd %d: signals its owner 4321 (F_SETOWN), which was not dumped: not supported",
				task.Pid, fd.GetFd()))
		})
	}
}

// A lock that cannot be taken again would be missed by nobody until it is too late.
func TestLockRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		pid  int32
		flag uint32
		kind uint32
		want string
	}{
		"other task": {1, file.FlPosix, uapi.FWrlck,
			"task 1 fd 0: filelocks.img has a lock of it, but it was not dumped"},
		"kind": {0, 16, uapi.FWrlck, "fd 0: file lock of kind 0x10: not supported"},
		"lease": {0, file.FlLease, uapi.FUnlck,
			"fd 0: file lock of type 2, neither read nor write: not supported"},
		"broken": {0, file.FlLease, file.LeaseBreaking | uapi.FWrlck,
			"fd 0: file lock of type 5, neither read nor write: not supported"},
		"type": {0, file.FlFlock, 32, "fd 0: file lock of type 32, neither read nor write: not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			if tc.pid == 0 {
				tc.pid = int32(dir.Tasks[0].Pid)
			}
			dir.Locks = []*pb.FileLockEntry{{Flag: &tc.flag, Type: &tc.kind, Pid: &tc.pid, Fd: pb.Int32(0)}}
			_, err := buildSample(t, dir, hosttest.New(dir), &job.Options{})
			wantRefusal(t, err, tc.want)
		})
	}
}
