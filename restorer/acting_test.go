//go:build linux && amd64

package restorer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/restorer/internal/host"
)

// acting has somebody act at each action of a restore into namespaces.
type acting struct {
	seen []Action
	fail Action // at which he says that he cannot
	kill Action // at which he kills the root task
}

var errActing = errors.New("nobody can")

func (a *acting) options() RunOptions {
	return RunOptions{Act: func(action Action, root int) error {
		a.seen = append(a.seen, action)
		switch action {
		case a.fail:
			return errActing
		case a.kill:
			return kill(root)
		}
		return nil
	}}
}

// kill kills a process that is traced, and waits until it stands where it ends: the signal is pending no more.
func kill(pid int) error {
	err := syscall.Kill(pid, syscall.SIGKILL)
	for end := time.Now().Add(testenv.Timeout); err == nil; time.Sleep(time.Millisecond) {
		status := host.ReadProc(fmt.Sprintf("/proc/%d/status", pid))
		stands := strings.Contains(status, "\nState:\tt ") || strings.Contains(status, "\nState:\tZ ")
		if stands && !strings.Contains(status, "\nSigPnd:\t0000000000000100\n") {
			break
		}
		if time.Now().After(end) {
			err = errors.New("it does not end")
		}
	}
	return err
}

const actedIn = unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC

// Each operation of a zygote that waits for others to act fails in turn: they are called only when it waits.
func TestEveryOperationAroundTheWaitFails(t *testing.T) {
	im, plugin := testenv.StartIn(t, actedIn, "static").Dump(t), tracePlugin(t)
	var a acting
	first := preparedWith(t, im, plugin, a.options())
	ops, gate := len(first.plan.Zygote), first.plan.NamespacesMade
	first.Close()
	if gate <= 0 || gate >= ops {
		t.Fatalf("operation %d of %d is no wait", gate, ops)
	}
	for i := range ops {
		a := acting{}
		r := preparedWith(t, im, plugin, a.options())
		if op := r.plan.Zygote[i]; op.Flags&abi.OpMayFail == 0 {
			inject(r.plan, r.plan.ZygoteAt, i)
			mustFail(t, im, r, op.String(), fmt.Sprintf("restore zygote: operation %d: ", i))
			if acted := slices.Contains(a.seen, SetupNamespaces); i != gate && acted != (i > gate) {
				t.Errorf("%s, operation %d, the wait is %d: %v", op.String(), i, gate, a.seen)
			}
		}
		r.Close()
	}
}

// Whoever acts can undo the restore at every moment before the tasks run, and so does the end of the root task while it
// waits.
func TestActionsFail(t *testing.T) {
	im, plugin := testenv.StartIn(t, actedIn, "tree").Dump(t), tracePlugin(t)
	all := []Action{PreRestore, SetupNamespaces, PostSetupNamespaces, PostRestore, PreResume}
	for i, action := range all {
		a := acting{fail: action}
		mustFail(t, im, preparedWith(t, im, plugin, a.options()), string(action), errActing.Error())
		if !slices.Equal(a.seen, all[:i+1]) {
			t.Errorf("%s: seen %v", action, a.seen)
		}
	}
	for _, action := range []Action{SetupNamespaces, PostSetupNamespaces} {
		a := acting{kill: action}
		mustFail(t, im, preparedWith(t, im, plugin, a.options()), "killed at "+string(action), "restore")
	}
	var a acting
	r := preparedWith(t, im, plugin, a.options())
	if _, err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := append(all, PostResume); !slices.Equal(a.seen, want) {
		t.Errorf("seen %v, want %v", a.seen, want)
	}
	im.Adopt(t).MustPass(t)
}

// A root task that is killed while others act on what is restored is missed at once, and they are told of no success.
func TestKilledWhileOthersAct(t *testing.T) {
	im, plugin := testenv.StartIn(t, unix.CLONE_NEWUTS, "static").Dump(t), tracePlugin(t)
	for _, action := range []Action{PostRestore, PreResume} {
		a := acting{kill: action}
		mustFail(t, im, preparedWith(t, im, plugin, a.options()), "killed at "+string(action),
			"was killed while others acted")
		if last := a.seen[len(a.seen)-1]; last != action {
			t.Errorf("killed at %s, acted until %s", action, last)
		}
	}
}
