package restorer

import (
	"fmt"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	"google.golang.org/protobuf/proto"
)

// An owner that is not restored has no meaning: its number may be anybody's.
func TestOwnerRefusals(t *testing.T) {
	for kind, name := range []string{"thread", "process", "group"} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			task := dir.Tasks[0]
			fd := task.Fds[0]
			dir.Files[fd.GetId()].Reg.Fown = &fown.FownEntry{Pid: proto.Uint32(4321), PidType: proto.Uint32(uint32(kind))}
			_, err := buildSample(t, dir, fakeHost(dir), &PlanOptions{})
			wantRefusal(t, err, fmt.Sprintf("task %d fd %d: signals its owner 4321 (F_SETOWN), which was not dumped: not supported",
				task.Pid, fd.GetFd()))
		})
	}
}
