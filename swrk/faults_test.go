//go:build linux && amd64 && faults

package swrk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

// Every call that undoes a restore fails in turn: the error is told, and the tree ends all the same.
func TestEveryCallOfUndoFails(t *testing.T) {
	for n := 0; ; n++ {
		tree := exec.Command("sh", "-c", "sleep 1000 & sleep 1000 & echo; wait")
		out, err := tree.StdoutPipe()
		if err == nil {
			err = tree.Start()
		}
		if err == nil {
			_, err = out.Read(make([]byte, 1)) // both have been started
		}
		if err != nil {
			t.Fatal(err)
		}
		r := &relay{session: &session{}, root: tree.Process.Pid}
		family, err := r.family()
		if err != nil || len(family) != 3 {
			t.Fatalf("family %v, %v", family, err)
		}
		calls, failed := 0, ""
		remove := sys.Faults(func(call string) error {
			if calls++; calls-1 == n {
				failed = call
				return unix.EIO
			}
			return nil
		})
		err = r.undo()
		remove()
		if _, ended := errors.AsType[*exec.ExitError](tree.Wait()); !ended {
			t.Errorf("call %d, %s: the tree's first process has not been killed", n, failed)
		}
		for _, pid := range family {
			awaitEnd(t, pid, failed)
		}
		if failed == "" {
			if err != nil || n < 3 {
				t.Errorf("after %d faults one without: %v", n, err)
			}
			return
		}
		if !errors.Is(err, unix.EIO) {
			t.Errorf("call %d, %s: error %v, want EIO", n, failed, err)
		}
	}
}

// awaitEnd waits until a process has ended; whoever adopts it may not have collected it yet.
func awaitEnd(t *testing.T, pid int, failed string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %s process %d goes on", failed, pid)
		}
	}
}
