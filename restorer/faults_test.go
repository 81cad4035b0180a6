//go:build linux && amd64

package restorer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// dumpInCgroup dumps a victim in a cgroup of its own, which is gone then.
func dumpInCgroup(t *testing.T) (im *testenv.Images, dir string) {
	t.Helper()
	testenv.NeedRoot(t)
	mount := host.CgroupHierarchies("0::/\n", host.ReadProc("/proc/self/mountinfo"))[""].Mount
	testenv.Need(t, mount != "", "cgroup version 2")
	dir = filepath.Join(mount, testenv.CgroupName())
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { testenv.RemoveCgroup(t, dir) })
	victim := testenv.Start(t, "static")
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(victim.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	im = victim.Dump(t)
	testenv.RemoveCgroup(t, dir)
	return im, dir
}

// Each operation that moves a task into its cgroup fails in turn; the cgroup that the restore made is gone.
func TestCgroupOperationsFail(t *testing.T) {
	im, dir := dumpInCgroup(t)
	plugin := tracePlugin(t)
	failEach(t, im, plugin, fmt.Sprintf("thread %d: operation %%d: ", im.Pid),
		func(p *plan.Plan) ([]plan.Op, uint64) {
			if _, err := os.Stat(dir); err == nil {
				t.Fatal("the cgroup was left behind")
			}
			th := p.Tasks[0].Threads[0]
			return th.Ops[:10], th.OpsAt
		})
}

// A restore that ends at any step, also just before the tasks run, leaves no cgroup; one that succeeds, a finished one.
func TestStepsWithCgroup(t *testing.T) {
	im, dir := dumpInCgroup(t)
	plugin := tracePlugin(t)
	for n := 0; ; n++ {
		ctx, cancel := context.WithCancel(t.Context())
		left, last := -1, "" // until Run no step counts
		r := preparedWith(t, im, plugin, RunOptions{Trace: func(step string) {
			if left == 0 {
				last = step
				cancel()
			}
			left--
		}})
		im.Reset(t)
		left = n
		_, err := r.Run(ctx)
		cancel()
		_, missing := os.Stat(dir)
		if last == "" {
			if err != nil || missing != nil || sys.Unfinished(dir) || n < 10 {
				t.Errorf("after %d steps: %v; the cgroup: %v, unfinished: %v", n, err, missing, sys.Unfinished(dir))
			}
			im.Adopt(t).MustPass(t)
			return
		}
		if !errors.Is(err, context.Canceled) || !os.IsNotExist(missing) {
			t.Fatalf("ended at %q: %v; the cgroup: %v, want it gone", last, err, missing)
		}
	}
}

// prepared plans a restore of im with the trace plugin on all stages.
func prepared(t *testing.T, im *testenv.Images, plugin *loader.Plugin) *Prepared {
	t.Helper()
	return preparedWith(t, im, plugin, RunOptions{})
}

// keepPids has the images that are restored in a new pid namespace.
var keepPids = map[*testenv.Images]bool{}

// withNewPids dumps a victim that is to be restored so.
func withNewPids(t *testing.T, victim string) *testenv.Images {
	t.Helper()
	im := testenv.Start(t, victim).Dump(t)
	keepPids[im] = true
	t.Cleanup(func() { delete(keepPids, im) })
	return im
}

func preparedWith(t *testing.T, im *testenv.Images, plugin *loader.Plugin, run RunOptions) *Prepared {
	t.Helper()
	r, err := Prepare(&Options{Images: im.Dir, Plugins: []blob.Input{{Plugin: plugin}}, Run: run,
		Plan: PlanOptions{Readers: -1, TCPEstablished: true, ExtUnix: true, NewPids: keepPids[im]}})
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
func mustFail(t *testing.T, im *testenv.Images, r *Prepared, where, want string) {
	t.Helper()
	im.Reset(t)
	before := children(t)
	_, err := r.Run(t.Context())
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
	for _, victim := range []string{
		"glibc", "threads", "tree", "memfd", "deleted", "fifo", "owners", "locks", "sharing", "high",
		"mappings", "stopped", "unix", "inflight", "specials", "pidfds", "events", "notify", "ptys", "inet",
		"huge", "clonefiles", "sessions", "ipc", "aio", "tcp", "perthread", "timens", "uts", "mounts", "names",
		"netlink",
		"packet", "sockets", "raw", "bare", "guards", "ping", "gone", "cgroups", "ended",
	} {
		t.Run(victim, func(t *testing.T) {
			everyOperation(t, testenv.Start(t, victim).Dump(t), victim == "sessions")
		})
	}
}

// So it is in namespaces of the tree's own, which go with its first process.
func TestEveryOperationFailsInNamespaces(t *testing.T) {
	const own = unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	for _, victim := range []string{"threads", "tree", "sessions"} {
		t.Run(victim, func(t *testing.T) { everyOperation(t, testenv.StartIn(t, own, victim).Dump(t), false) })
	}
}

// And so in a new pid namespace in which the tasks keep their pids: what is different there is in the zygote's program,
// and where the root task's begins.
func TestEveryOperationFailsWithNewPids(t *testing.T) {
	plugin := tracePlugin(t)
	for _, victim := range []string{"static", "sessions"} {
		t.Run(victim, func(t *testing.T) {
			im := withNewPids(t, victim)
			failEach(t, im, plugin, "restore zygote: operation %d: ", func(p *plan.Plan) ([]plan.Op, uint64) {
				return p.Zygote, p.ZygoteAt
			})
			failEach(t, im, plugin, fmt.Sprintf("thread %d: operation %%d: ", im.Pid),
				func(p *plan.Plan) ([]plan.Op, uint64) {
					th := p.Tasks[0].Threads[0]
					return th.Ops[:20], th.OpsAt
				})
		})
	}
}

// The vDSO of another kernel takes more operations.
func TestEveryRedirectionFails(t *testing.T) {
	everyOperation(t, testenv.Start(t, "vdso").Dump(t).WithVDSO(t, testenv.MarkVDSO(t)), true)
}

func everyOperation(t *testing.T, im *testenv.Images, allTasks bool) {
	t.Helper()
	plugin := tracePlugin(t)
	failEach(t, im, plugin, "restore zygote: operation %d: ", func(p *plan.Plan) ([]plan.Op, uint64) {
		return p.Zygote, p.ZygoteAt
	})
	tasks := prepared(t, im, plugin).plan.Tasks
	for k, task := range tasks {
		if k > 1 && k < len(tasks)-2 && !allTasks {
			continue // they have much the same programs
		}
		for n, th := range task.Threads {
			if n > 1 && n < len(task.Threads)-1 {
				continue
			}
			failEach(t, im, plugin, fmt.Sprintf("thread %d: operation %%d: ", th.Tid),
				func(p *plan.Plan) ([]plan.Op, uint64) {
					th := p.Tasks[k].Threads[n]
					return th.Ops, th.OpsAt
				})
		}
	}
}

// A program that reads why a restore failed finds task, thread, operation and errno.
func TestFailedOperationIsDescribed(t *testing.T) {
	im := testenv.Start(t, "threads").Dump(t)
	r := prepared(t, im, tracePlugin(t))
	thread := r.plan.Tasks[0].Threads[1]
	i := slices.IndexFunc(thread.Ops, func(op plan.Op) bool { return op.Flags&abi.OpMayFail == 0 })
	inject(r.plan, thread.OpsAt, i)
	_, err := r.Run(t.Context())
	if err == nil {
		t.Fatal("the restore succeeded")
	}
	want := Failure{Kind: KindTask, Task: im.Pid, Thread: thread.Tid, Operation: thread.Ops[i].String(),
		Errno: "EIO", Message: err.Error()}
	if got := Describe(err); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A restore that fails leaves those alone to whom it has connected sockets.
func TestExternalOperationsFail(t *testing.T) {
	dir := t.TempDir()
	log, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "log"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	server, err := net.Listen("unix", filepath.Join(dir, "server"))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	victim := testenv.Start(t, "unix", filepath.Join(dir, "log"), filepath.Join(dir, "server"))
	conn, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	im := victim.Dump(t, append(victim.Sockets(t), "--ext-unix-sk")...)
	everyOperation(t, im, false)
	r := prepared(t, im, tracePlugin(t))
	if _, err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	im.Adopt(t).MustPass(t)
}

// failEach makes each operation of one program fail. A failed restore may have removed what the next one need not
// remove any more, so every plan has its own program.
func failEach(t *testing.T, im *testenv.Images, plugin *loader.Plugin, want string,
	program func(*plan.Plan) ([]plan.Op, uint64)) {
	t.Helper()
	for i := 0; ; i++ {
		r := prepared(t, im, plugin)
		ops, at := program(r.plan)
		if i >= len(ops) {
			r.Close()
			return
		}
		if ops[i].Flags&abi.OpMayFail == 0 {
			inject(r.plan, at, i)
			mustFail(t, im, r, ops[i].String(), fmt.Sprintf(want, i))
		}
		r.Close()
	}
}

// inject makes operation i of an encoded program fail with EIO: in its place stands a system call that always does.
// PTRACE_SEIZE of any process that exists refuses an address, ptrace(2).
func inject(p *plan.Plan, opsAt uint64, i int) {
	const init, anyAddress = 1, 1
	broken := abi.OpRecord{Code: uint32(abi.OpSyscall), Nr: unix.SYS_PTRACE,
		Arg: [abi.OpArgs]uint64{unix.PTRACE_SEIZE, init, anyAddress}}
	broken.Put(p.Arena.At(opsAt)[i*abi.OpRecordSize:])
}

// A child of a task's that ends before the controller could trace it is nobody's to wait for, and noticed all the same.
func TestTaskDiesUnseen(t *testing.T) {
	im := testenv.Start(t, "tree").Dump(t)
	r := prepared(t, im, tracePlugin(t))
	var second abi.Task
	second.Get(r.plan.Arena.At(r.plan.TasksAt)[abi.TaskSize:])
	var leader abi.Thread
	leader.Get(r.plan.Arena.At(second.Threads))
	leader.Status = 1 << 30 // far away: it crashes when it says that it runs
	leader.Put(r.plan.Arena.At(second.Threads))
	mustFail(t, im, r, "status", fmt.Sprintf("restore task %d: it has ended", r.plan.Tasks[1].Pid))
}
