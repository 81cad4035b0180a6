//go:build linux && amd64

package restorer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/loader"
)

// prepared plans a restore of im with the trace plugin on all stages.
func prepared(t *testing.T, im *testenv.Images, plugin *loader.Plugin) *Restored {
	t.Helper()
	r, err := Prepare(&Options{Images: im.Dir, Plugins: []blob.Input{{Plugin: plugin}}, Plan: PlanOptions{Readers: -1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func tracePlugin(t *testing.T) *loader.Plugin {
	t.Helper()
	data, err := os.ReadFile(testenv.Plugin(t, "plugin-sdk/examples/trace.c"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := loader.Parse(data, "trace.o", loader.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// children lists the children of every thread of this process.
func children(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(files) == 0 {
		t.Fatalf("children: %v %v", files, err)
	}
	all := ""
	for _, f := range files {
		b, _ := os.ReadFile(f) // a thread may be gone
		all += string(b)
	}
	return all
}

// mustFail runs a restore into which a fault has been built, and sees that nothing is left of it.
func mustFail(t *testing.T, im *testenv.Images, r *Restored, where, want string) {
	t.Helper()
	im.Reset(t)
	before := children(t)
	_, err := r.Run()
	if err == nil {
		t.Fatalf("%s: the restore succeeded", where)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%s: error %q lacks %q", where, err, want)
	}
	if left := im.Leftovers(); len(left) > 0 {
		t.Fatalf("%s: left behind: %v", where, left)
	}
	if stray := im.Stray(t); len(stray) > 0 {
		t.Fatalf("%s: left on disk: %v", where, stray)
	}
	if after := children(t); after != before {
		t.Fatalf("%s: children %q, before the restore %q", where, after, before)
	}
}

// Every operation of every thread's program fails in turn: the error names it, nothing is left.
func TestEveryOperationFails(t *testing.T) {
	for _, victim := range []string{"glibc", "threads", "tree", "memfd", "deleted", "fifo", "owners", "locks", "stopped"} {
		t.Run(victim, func(t *testing.T) {
			im := testenv.Start(t, victim).Dump(t)
			plugin := tracePlugin(t)
			plan := prepared(t, im, plugin).Plan
			for i := range plan.Zygote {
				r := prepared(t, im, plugin)
				inject(r.Plan, r.Plan.zygoteAt, i)
				mustFail(t, im, r, r.Plan.Zygote[i].String(), fmt.Sprintf("restore zygote: operation %d: ", i))
			}
			for k, task := range plan.Tasks {
				if k > 1 && k < len(plan.Tasks)-2 {
					continue // they have much the same programs
				}
				for n, th := range task.Threads {
					if n > 1 && n < len(task.Threads)-1 {
						continue
					}
					failEach(t, im, plugin, k, n, th)
				}
			}
		})
	}
}

// failEach makes each operation of thread n of task k fail.
func failEach(t *testing.T, im *testenv.Images, plugin *loader.Plugin, k, n int, th *Thread) {
	t.Helper()
	for i, op := range th.Ops {
		if op.Flags&abi.OpMayFail != 0 {
			continue
		}
		r := prepared(t, im, plugin)
		inject(r.Plan, r.Plan.Tasks[k].Threads[n].opsAt, i)
		mustFail(t, im, r, op.String(), fmt.Sprintf("thread %d: operation %d: ", th.Tid, i))
	}
}

// inject makes operation i of an encoded program fail with EIO.
func inject(p *Plan, opsAt uint64, i int) {
	p.arena.at(opsAt)[i*abi.OpSize+4] |= byte(abi.OpInject)
}

// Every system call of the controller fails in turn.
func TestEveryControllerCallFails(t *testing.T) {
	im := testenv.Start(t, "threads").Dump(t)
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
		pid, err := r.Run()
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
			t.Fatalf("call %d, %s: left behind: %v, children %q, before the restore %q", n, failed, left, children(t), before)
		}
	}
}
