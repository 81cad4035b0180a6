//go:build linux && amd64 && faults

package swrk

import (
	"strconv"
	"strings"
	"testing"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/testenv"
)

// eachDump dumps a victim until no step is left to fail, at a new victim every now and then.
func eachDump(t *testing.T, check func(n int, r *runtime, answer *pb.CriuResp, p *testenv.Process)) {
	const chunk = 15 // an end of a page that a fault keeps from being cleaned is not used again
	plugin := dumpedPlugin(t)
	for n, done := 0, false; !done; {
		p := testenv.Start(t, "threads")
		dir := testenv.Freezable(t, p)
		for end := n + chunk; n < end && !done; n++ {
			t.Setenv(faultAt, strconv.Itoa(n))
			r := aroundDumps(t, plugin, "dump")
			r.startDump(pb.CriuReqType_DUMP, p.Pid, dir)
			answer := r.agreeToAll()
			status, said := r.status(), r.stderr.String()
			if strings.Contains(said, "panic") {
				t.Fatalf("call %d: %s", n, said)
			}
			if done = !strings.Contains(said, "fault: "); done && (status != 0 || !answer.GetSuccess() || n < 100) {
				t.Errorf("after %d faults a dump without one: status %d, answer %v, %s", n, status, answer, said)
			}
			check(n, r, answer, p)
			if dir.Frozen() {
				t.Errorf("call %d: frozen", n)
			}
		}
		p.MustPass(t)
	}
}

// Every step around a dump fails in turn: a process that goes on with what the hook before the dump has left is no
// success, and no process is left frozen.
func TestEveryStepAroundADumpFails(t *testing.T) {
	eachDump(t, func(n int, r *runtime, answer *pb.CriuResp, p *testenv.Process) {
		if got := letterOf(t, p.Pid); got == "d" && answer.GetSuccess() {
			t.Errorf("call %d: %s, %s", n, got, &r.stderr)
		}
	})
}
