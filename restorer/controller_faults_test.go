//go:build linux && amd64 && faults

package restorer

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
)

// Every system call of the controller fails in turn.
func TestEveryControllerCallFails(t *testing.T) {
	for _, victim := range []string{"threads", "tcp"} {
		t.Run(victim, func(t *testing.T) { failEachCall(t, testenv.Start(t, victim).Dump(t)) })
	}
	const own = unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	t.Run("namespaces", func(t *testing.T) { failEachCall(t, testenv.StartIn(t, own, "threads").Dump(t)) })
}

func failEachCall(t *testing.T, im *testenv.Images) {
	t.Helper()
	plugin := tracePlugin(t)
	for n := 0; ; n++ {
		r, calls, failed := prepared(t, im, plugin), 0, ""
		remove := sys.Faults(func(call string) error {
			if calls++; calls-1 == n {
				failed = call
				return unix.EIO
			}
			return nil
		})
		im.Reset(t)
		before := children(t)
		pid, err := r.Run(t.Context())
		remove()
		if failed == "" {
			if err != nil || n < 100 {
				t.Fatalf("after %d faults a restore without one: pid %d, %v", n, pid, err)
			}
			im.Adopt(t).MustPass(t)
			return
		}
		if !errors.Is(err, unix.EIO) {
			t.Errorf("call %d, %s: error %v, want EIO", n, failed, err)
		}
		if left := im.Leftovers(); len(left) > 0 || children(t) != before {
			t.Fatalf("call %d, %s: left behind: %v, children %q, before the restore %q", n, failed, left,
				children(t), before)
		}
	}
}
