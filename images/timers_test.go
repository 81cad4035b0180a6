package images

import (
	"strings"
	"testing"

	"github.com/crpie/crpie/images/pb"
)

// Timers of setitimer(2) have less than a second of microseconds, as the kernel wants it.
func TestTimerBounds(t *testing.T) {
	it := func(iusec, vusec uint64) *pb.ItimerEntry {
		return &pb.ItimerEntry{Isec: pb.Uint64(1), Iusec: &iusec, Vsec: pb.Uint64(1), Vusec: &vusec}
	}
	for want, timers := range map[string]*pb.TaskTimersEntry{
		"":                      {Real: it(999_999, 0), Virt: it(0, 999_999), Prof: it(0, 0)},
		"tc.timers.real.iusec":  {Real: it(1_000_000, 0), Virt: it(0, 0), Prof: it(0, 0)},
		"tc.timers.virt.vusec":  {Real: it(0, 0), Virt: it(0, 1<<64-1), Prof: it(0, 0)},
		"tc.timers.prof.iusec:": {Real: it(0, 0), Virt: it(0, 0), Prof: it(1<<63, 0)},
	} {
		var p problems
		checkTaskCore(checker{p: &p}, &pb.TaskCoreEntry{Timers: timers})
		if err := p.err(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
