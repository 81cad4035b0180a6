//go:build linux && amd64

package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/testenv"
)

const (
	newPID = syscall.CLONE_NEWPID
	newAll = syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC
)

// Trees are restored in namespaces like those that they were in, with a plugin on all stages, and as good as before:
// CRIU dumps them again, and both restore that. Some victims make further namespaces themselves.
func TestOwnNamespaces(t *testing.T) {
	plugin := trace(t)
	for _, tc := range []struct {
		set     string
		flags   uintptr
		victims []string
	}{
		{"pid", newPID, []string{"threads", "tree", "sessions", "owners", "inflight", "signals", "uts", "ipc",
			"timens", "clonefiles", "python"}},
		{"UTS", syscall.CLONE_NEWUTS, []string{"tree", "ipc"}},
		{"IPC", syscall.CLONE_NEWIPC, []string{"tree"}},
		{"all", newAll, []string{"threads", "tree", "sessions", "timens"}},
	} {
		for _, name := range tc.victims {
			t.Run(fmt.Sprintf("%s/%s", tc.set, name), func(t *testing.T) {
				p, _ := restore(t, testenv.StartIn(t, tc.flags, name,
					testenv.ControlArgs(name)...).Dump(t),
					"--pie-plugin", plugin)
				again := p.Dump(t)
				again.RestoreCRIU(t).MustPass(t)
				p, _ = restore(t, again)
				p.MustPass(t)
			})
		}
	}
}

// What CRIU does not bring back in a pid namespace of its own, crpie does.
func TestOwnPidNamespace(t *testing.T) {
	for _, name := range []string{"timers", "locks", "notify", "tcp", "crowd", "cgroups"} {
		t.Run(name, func(t *testing.T) {
			victim := testenv.StartIn(t, newPID, name)
			victim.Connected = name == "tcp"
			im := victim.Dump(t)
			for range 2 {
				p, _ := restore(t, im, "--pie-plugin", trace(t))
				p.MustPass(t)
			}
		})
	}
}

// What /proc says of the first process of namespaces is what it said before.
func TestFirstProcessAsBefore(t *testing.T) {
	for _, name := range []string{"threads", "tree", "sessions"} {
		t.Run(name, func(t *testing.T) {
			victim := testenv.StartIn(t, newAll, name)
			before := outerless(snapshot(t, victim))
			p, _ := restore(t, victim.Dump(t), "--pie-plugin", trace(t))
			for _, line := range before.Diff(outerless(snapshot(t, p))) {
				t.Error(line)
			}
		})
	}
}

// outerless hides which namespaces these are, and the pids that threads have outside of them: their order stays.
func outerless(s testenv.Snapshot) testenv.Snapshot {
	hidden, rank := testenv.Snapshot{}, map[string]int{}
	keys := slices.SortedFunc(maps.Keys(s), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	})
	for _, key := range keys {
		if words := strings.Fields(key); words[0] == "thread" && rank[words[1]] == 0 {
			rank[words[1]] = len(rank) + 1
		}
	}
	for key, value := range comparable(s).Without("ns_pid", "ns_uts", "ns_ipc", "stat pgrp", "stat session",
		"status Pid", "status Tgid") {
		words := strings.Fields(key)
		if words[0] == "thread" {
			key = fmt.Sprint("thread ", rank[words[1]], words[2:])
		}
		if outer, inner, _ := strings.Cut(value, " "); strings.HasPrefix(key, "status NS") && outer != "" {
			value = inner
		}
		hidden[key] = value
	}
	return hidden
}

// All hooks run inside, from the first stage on.
func TestHooksRunInNamespaces(t *testing.T) {
	victim := testenv.StartIn(t, newPID, "uts")
	p, output := restore(t, victim.Dump(t), "-v3", "--pie-plugin", testenv.Plugin(t, "testdata/plugins/where.c"))
	for _, want := range []string{"pid 1 of 1 on victim-of-a-dump\n", "pid 2 of 2 on victim-of-a-dump\n"} {
		if !strings.Contains(output, want) {
			t.Errorf("output:\n%s\nwant %s", output, want)
		}
	}
	p.MustPass(t)
}

// A hook that fails in any way in the first process of a pid namespace, whom the kernel spares some signals, or in
// another, undoes the restore.
func TestHookFailuresInNamespaces(t *testing.T) {
	im := testenv.StartIn(t, newAll, "tree").Dump(t)
	plugin := testenv.Plugin(t, "testdata/plugins/fail.c")
	for how, want := range map[string]string{
		"error": "returned -5 (EIO)", "null": "crashed with SIGSEGV at address 0x0",
		"hang": "still running after 100ms",
		"exit": "called exit_group(7)", "exec": "called execve", "fork": "returned -5 (EIO)",
	} {
		for _, stage := range stageOrder {
			for _, task := range []string{"1", "3"} {
				t.Run(how+"/"+stage+"/"+task, func(t *testing.T) {
					timeout := "20s" // others must not end by it on a busy machine
					if how == "hang" {
						timeout = "100ms"
					}
					status, output := tool(t, im, "restore", "-d", "-D", im.Dir,
						"--pie-timeout", timeout,
						"--pie-plugin", fmt.Sprintf("%s,stage=%s,how=%s,select=pid:%s", plugin,
							stage, how, task))
					if status != exitFailed || !strings.Contains(output, want) ||
						!strings.Contains(output, "restore task "+task+": ") {
						t.Errorf("status %d, output:\n%s\nwant %s", status, output, want)
					}
					if left := im.Leftovers(); len(left) > 0 {
						t.Errorf("left behind: %v", left)
					}
				})
			}
		}
	}
	p, _ := restore(t, im)
	p.MustPass(t)
}

// Without -d crpie waits for the first process of the namespace, and passes on its exit status; the pid file has the
// pid that it has outside, and signals are passed on.
func TestForegroundInNamespaces(t *testing.T) {
	im := testenv.StartIn(t, newAll, "static").Dump(t)
	for name, tc := range map[string]struct {
		signal syscall.Signal
		want   int
	}{
		"exit":   {syscall.SIGUSR1, 0},
		"signal": {syscall.SIGKILL, 128 + 9},
	} {
		t.Run(name, func(t *testing.T) {
			pidfile, done := filepath.Join(t.TempDir(), "pid"), make(chan error)
			go func() { done <- signalRestored(pidfile, tc.signal) }()
			status, output := tool(t, im, "restore", "-D", im.Dir, "--pidfile", pidfile)
			if err := <-done; err != nil {
				t.Error(err)
			}
			if status != tc.want {
				t.Errorf("status %d, want %d\n%s", status, tc.want, output)
			}
		})
	}
}

// signalRestored signals the process of a pid file when it has been let go.
func signalRestored(pidfile string, signal syscall.Signal) error {
	for end := time.Now().Add(testenv.Timeout); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		b, _ := os.ReadFile(pidfile)
		if pid, err := strconv.Atoi(string(b)); err == nil && untraced(pid) {
			return syscall.Kill(pid, signal)
		}
	}
	return fmt.Errorf("%s: no process is let go", pidfile)
}

// The first process of a pid namespace becomes a child of crpie's parent, or stays stopped, like any other.
func TestSiblingInNamespaces(t *testing.T) {
	for _, name := range []string{"tree", "sessions"} {
		t.Run(name, func(t *testing.T) {
			im := testenv.StartIn(t, newAll, name).Dump(t)
			script := `"$@"; echo "status $? shell $$ parent $(sed -n 's/^PPid:.//p' /proc/$(cat pid)/status)"`
			cmd := im.Command(t, "/bin/sh", "-c", script, "sh", os.Args[0], "restore", "-d", "-S", "-D",
				im.Dir,
				"--pidfile", "pid", "--work-dir", ".", "--pie-plugin", trace(t))
			cmd.Env, cmd.Dir = append(cmd.Env, asTool+"=1"), t.TempDir()
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			wantSibling(t, string(out))
			im.Adopt(t).MustPass(t)
		})
	}
}

// holder is a process in namespaces of its own, whose monotonic clock is a week ahead, for as long as the test runs.
func holder(t *testing.T) (pid int) {
	t.Helper()
	testenv.NeedRoot(t)
	cmd := exec.Command(testenv.NeedTool(t, "unshare"), "--uts", "--ipc", "--time", "--monotonic", "604800",
		"--fork", "--kill-child", "sh", "-c", "hostname of-the-holder; echo $$; exec sleep 1000")
	cmd.Env = append(os.Environ(), testenv.Mark())
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

// Whatever the tasks were in, --join-ns has them enter namespaces that are there already, given by a pid or a path.
func TestJoinNamespaces(t *testing.T) {
	there := holder(t)
	file := func(pid int, kind string) string { return fmt.Sprintf("/proc/%d/ns/%s", pid, kind) }
	for name, flags := range map[string]uintptr{"static": 0, "threads": newAll, "timers": 0} {
		t.Run(name, func(t *testing.T) {
			im := testenv.StartIn(t, flags, name).Dump(t)
			p, _ := restore(t, im, "--pie-plugin", trace(t), "--join-ns", fmt.Sprint("uts:", there), "-J",
				"ipc:"+file(there, "ipc"), "--join-ns", "time:"+file(there, "time"))
			for _, kind := range []string{"uts", "ipc", "time"} {
				if inodeOf(t, file(p.Pid, kind)) != inodeOf(t, file(there, kind)) {
					t.Errorf("the task is in another %s namespace", kind)
				}
			}
			p.MustPass(t)
		})
	}
}

// A namespace that cannot be joined is named, and so is what would be missing in it.
func TestJoinRefusals(t *testing.T) {
	there, im := holder(t), testenv.StartIn(t, newAll, "ipc").Dump(t)
	words := []string{"restore", "-d", "-D", im.Dir}
	status, output := tool(t, im, append(words, "-J", "uts:/nowhere", "-J", "time:/proc/self/ns/uts", "-J",
		fmt.Sprint("ipc:", there))...)
	for _, want := range []string{"join /nowhere: no such file or directory\n",
		"join /proc/self/ns/uts: it is no namespace of this kind\n"} {
		if status != exitFailed || !strings.Contains(output, want) {
			t.Errorf("status %d, want %s\n%s", status, want, output)
		}
	}
	status, output = tool(t, im, append(words, "-J", fmt.Sprint("ipc:", there))...)
	const want = "is not in the IPC namespace that the tasks enter: not supported\n"
	if status != exitFailed || !strings.Contains(output, want) {
		t.Errorf("status %d, want %s\n%s", status, want, output)
	}
}

// What was in an IPC namespace does not come to the one that is joined, and crpie says so.
func TestJoinLeavesObjects(t *testing.T) {
	there := holder(t)
	for _, tool := range []string{"unshare", "ipcmk"} {
		testenv.NeedTool(t, tool)
	}
	words := append([]string{"unshare", "--ipc", "sh", "-c", `ipcmk --semaphore 1 >/dev/null && exec "$@"`, "sh"},
		testenv.Victim(t, "static")...)
	p, output := restore(t, testenv.StartCommand(t, "static", words...).Dump(t), "-J", fmt.Sprint("ipc:", there))
	if want := "IPC namespace: the tasks enter another one; not made are of System V: shared memory segments: 0, " +
		"sets of semaphores: 1, message queues: 0\n"; !strings.Contains(output, want) {
		t.Errorf("output:\n%s\nwant %s", output, want)
	}
	p.MustPass(t)
}
