//go:build linux && amd64 && faults

package restorer

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
)

// Every system call of the controller fails in turn.
func TestEveryControllerCallFails(t *testing.T) {
	for _, victim := range []string{"threads", "tcp"} {
		t.Run(victim, func(t *testing.T) { failEachCall(t, testenv.Start(t, victim).Dump(t), RunOptions{}) })
	}
	t.Run("new pids", func(t *testing.T) { failEachCall(t, withNewPids(t, "static"), RunOptions{}) })
	for name, opts := range map[string]RunOptions{"namespaces": {}, "others act in them": (&acting{}).options()} {
		t.Run(name, func(t *testing.T) {
			failEachCall(t, testenv.StartIn(t, actedIn, "threads").Dump(t), opts)
		})
	}
}

// A thread that cannot be given its place among others undoes the restore. Without hooks the controller gives it.
func TestSchedulingFails(t *testing.T) {
	im := testenv.Start(t, "perthread").Dump(t)
	for _, fails := range []string{"sched_setattr", "setpriority"} {
		r, err := Prepare(&Options{Images: im.Dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		remove := sys.Faults(func(call string) error {
			if call == fails {
				return unix.EIO
			}
			return nil
		})
		im.Reset(t)
		_, err = r.Run(t.Context())
		remove()
		if left := im.Leftovers(); !errors.Is(err, unix.EIO) || len(left) > 0 {
			t.Errorf("%s: %v, left %v", fails, err, left)
		}
	}
}

// Every system call with which namespaces are made, before a process exists, fails in turn: neither descriptors nor
// threads in them are left.
func TestEveryPreparationFails(t *testing.T) {
	const own = unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET
	im := testenv.StartIn(t, own, "static").Dump(t, "--network-lock", "skip")
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would close what is forgotten
	for n := 0; ; n++ {
		open, failed, calls := descriptors(t), "", 0
		remove := sys.Faults(func(call string) error {
			if calls++; calls-1 == n {
				failed = call
				return unix.EIO
			}
			return nil
		})
		r, err := Prepare(&Options{Images: im.Dir, Plan: PlanOptions{Readers: -1}})
		remove()
		if err == nil {
			err = cmp.Or(r.Close(), errors.New("no error"))
		}
		if left := descriptors(t); left != open {
			t.Fatalf("call %d, %s: %d descriptors, were %d", n, failed, left, open)
		}
		awaitOneNamespace(t, failed)
		if failed == "" {
			if err.Error() != "no error" || n < 8 {
				t.Fatalf("after %d faults one without: %v", n, err)
			}
			return
		}
		if !errors.Is(err, unix.EIO) {
			t.Errorf("call %d, %s: error %v, want EIO", n, failed, err)
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// awaitOneNamespace waits until all threads of this process are in the namespaces of the first one: a thread ends soon
// after it was told to.
func awaitOneNamespace(t *testing.T, failed string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); elsewhere(t) != ""; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %s a thread is still in %s", failed, elsewhere(t))
		}
	}
}

// elsewhere finds a namespace of a thread of this process that is not the process's, "" if there is none.
func elsewhere(t *testing.T) string {
	t.Helper()
	for _, kind := range []string{"net", "ipc", "uts", "mnt"} {
		links, err := filepath.Glob("/proc/self/task/*/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		ours, _ := os.Readlink("/proc/self/ns/" + kind)
		for _, link := range links {
			if name, err := os.Readlink(link); err == nil && name != ours {
				return name
			}
		}
	}
	return ""
}

func failEachCall(t *testing.T, im *testenv.Images, run RunOptions) {
	t.Helper()
	plugin := tracePlugin(t)
	for n := 0; ; n++ {
		r, calls, failed := preparedWith(t, im, plugin, run), 0, ""
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
			if err != nil || n < 40 {
				t.Fatalf("after %d faults a restore without one: pid %d, %v", n, pid, err)
			}
			im.AdoptAs(t, pid).MustPass(t)
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
