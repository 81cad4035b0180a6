//go:build linux && amd64 && faults

package swrk

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/sys"
)

// faultAt is the number of the system call of the front that fails.
const faultAt = "CRPIE_SWRK_TEST_FAULT"

func init() {
	at, err := strconv.Atoi(os.Getenv(faultAt))
	if err != nil || os.Getenv(role) != "front" {
		return
	}
	var calls atomic.Int64
	sys.Faults(func(call string) error {
		if calls.Add(1)-1 == int64(at) {
			fmt.Fprintln(os.Stderr, "fault:", call)
			return unix.EIO
		}
		return nil
	})
}

// Every step of the relay fails in turn: the runtime gets an answer, or the end of the connection, and the front ends.
func TestEveryStepFails(t *testing.T) {
	for n := 0; ; n++ {
		t.Setenv(faultAt, strconv.Itoa(n))
		r := relayed(t, "notify")
		answer := r.agreeToAll()
		status, said := r.status(), r.stderr.String()
		if strings.Contains(said, "panic") {
			t.Fatalf("call %d: %s", n, said)
		}
		if !strings.Contains(said, "fault: ") {
			if status != 0 || !answer.GetSuccess() || n < 5 {
				t.Errorf("after %d faults a restore without one: status %d, answer %v, %s", n, status,
					answer, said)
			}
			return
		}
		if strings.Contains(said, "fault: wait4") { // the runtime has got its answer
			status, answer = 1-status, nil
		}
		if status == 0 || answer.GetSuccess() {
			t.Errorf("call %d: status %d, answer %v, %s", n, status, answer, said)
		}
	}
}

// agreeToAll answers notifications until the answer comes, or the end: nil.
func (r *runtime) agreeToAll() *pb.CriuResp {
	r.t.Helper()
	for {
		resp, fds := r.receive()
		for _, fd := range fds {
			unix.Close(fd)
		}
		if resp == nil || resp.GetType() != pb.CriuReqType_NOTIFY {
			return resp
		}
		if err := r.line.Send(append(request(r.t, pb.CriuReqType_NOTIFY, nil), 0x18, 1)); err != nil {
			return nil
		}
	}
}
