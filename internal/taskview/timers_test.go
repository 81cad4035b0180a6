package taskview_test

import (
	"testing"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/taskview"
)

// A periodic timer that has expired is shown as one that does so at once: a hook that changes only its interval must
// not stop it, as a remaining time of 0 does.
func TestExpiredTimers(t *testing.T) {
	posix := func(insec, vnsec uint64) *pb.PosixTimerEntry {
		return &pb.PosixTimerEntry{Insec: &insec, Vnsec: &vnsec}
	}
	all := taskview.TimersOf(&pb.TaskTimersEntry{Real: &pb.ItimerEntry{Iusec: pb.Uint64(5)},
		Posix: []*pb.PosixTimerEntry{posix(5, 0), posix(0, 0), posix(0, 7), posix(5, 7)}})
	want := []int64{1000, 1, 0, 7, 7}
	if len(all) != len(want) {
		t.Fatalf("%+v", all)
	}
	for i, timer := range all {
		if timer.RemainingNs != want[i] {
			t.Errorf("timer %d: %d ns remain, want %d", i, timer.RemainingNs, want[i])
		}
	}
}
