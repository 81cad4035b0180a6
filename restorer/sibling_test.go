//go:build linux && amd64

package restorer

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/testenv"
)

const siblingChild = "CRPIE_TEST_SIBLING" // "DIR THREAD OPERATION"

// TestSiblingChild is the process whose parent gets the restored task. It restores with a fault.
func TestSiblingChild(t *testing.T) {
	what := os.Getenv(siblingChild)
	if what == "" {
		return // TestSiblingFaults starts it
	}
	var dir string
	var thread, op int
	if _, err := fmt.Sscanf(what, "%s %d %d", &dir, &thread, &op); err != nil {
		t.Fatal(err)
	}
	r, err := Prepare(&Options{Images: dir, Plan: PlanOptions{Readers: -1, Sibling: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	at := r.plan.ZygoteAt
	if thread > 0 {
		at = r.plan.Tasks[0].Threads[thread-1].OpsAt
	}
	inject(r.plan, at, op)
	_, err = r.Run(t.Context())
	fmt.Println("RESULT", err)
}

// Every operation of the zygote, which becomes the task, and of the task fails in turn: of a task that is not the
// controller's child nothing is left but a zombie.
func TestSiblingFaults(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	r, err := Prepare(&Options{Images: im.Dir, Plan: PlanOptions{Readers: -1, Sibling: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	zygote, task := r.plan.Zygote, r.plan.Tasks[0].Threads[0].Ops
	for i := range zygote {
		siblingFails(t, im, 0, i, fmt.Sprintf("RESULT restore zygote: operation %d: ", i))
	}
	for i, op := range task {
		if op.Flags&abi.OpMayFail != 0 {
			continue
		}
		siblingFails(t, im, 1, i, fmt.Sprintf("RESULT restore task %d: thread %d: operation %d: ", im.Pid,
			im.Pid, i))
	}
}

func siblingFails(t *testing.T, im *testenv.Images, thread, op int, want string) {
	t.Helper()
	im.Reset(t)
	before := children(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestSiblingChild$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d", siblingChild, im.Dir, thread, op))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), want) {
		t.Fatalf("thread %d operation %d: %v, want %s\n%s", thread, op, err, want, out)
	}
	var status syscall.WaitStatus
	if pid, err := syscall.Wait4(im.Pid, &status, syscall.WNOHANG, nil); pid != im.Pid ||
		status.Signal() != syscall.SIGKILL {
		t.Fatalf("thread %d operation %d: wait gives %d, status %#x, %v", thread, op, pid, int(status), err)
	}
	if left := im.Leftovers(); len(left) > 0 || children(t) != before {
		t.Fatalf("thread %d operation %d: left behind: %v, children %q, before %q", thread, op, left,
			children(t), before)
	}
}
