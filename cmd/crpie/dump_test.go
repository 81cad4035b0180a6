//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
)

func family(pid int) []int {
	pids := []int{pid}
	for i := 0; i < len(pids); i++ {
		for _, child := range sys.Children(sys.PID(pids[i])) {
			pids = append(pids, int(child))
		}
	}
	return pids
}

// lang gives the value of the variable that plugin dumped overwrites, in the memory of each process.
func lang(t *testing.T, pids ...int) (values string) {
	t.Helper()
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil && !errors.Is(err, syscall.ESRCH) { // of a zombie
			t.Fatal(err)
		}
		for _, variable := range strings.Split(string(text), "\x00") {
			if value, ok := strings.CutPrefix(variable, "LANG="); ok {
				values += value
			}
		}
	}
	return values
}

func dumpedPlugin(t *testing.T, flags ...string) string {
	t.Helper()
	return testenv.Plugin(t, "testdata/plugins/dumped.c", flags...) + ",var=LANG"
}

// tryAround runs the hooks of a stage around a dump, which must succeed.
func tryAround(t *testing.T, pid int, stage string, args ...string) {
	t.Helper()
	words := append([]string{"try", "-p", strconv.Itoa(pid), "--stages", stage}, args...)
	if status, out, stderr := apart(t, append(words, dumpedPlugin(t))...); status != 0 {
		t.Fatalf("status %d, %s%s", status, out, stderr)
	}
}

// After the hooks the tree stands in its cgroup, with nothing but what they have changed; so criu dumps it, and both
// restore it so.
func TestDumpFindsWhatHooksLeft(t *testing.T) {
	for _, name := range []string{"static", "threads", "python", "tree"} {
		t.Run(name, func(t *testing.T) {
			p := testenv.Start(t, name)
			dir := testenv.Freezable(t, p)
			want := strings.ReplaceAll(lang(t, family(p.Pid)...), "C", "d")
			before, err := testenv.TakeSnapshot(p.Pid)
			if err != nil {
				t.Fatal(err)
			}
			tryAround(t, p.Pid, "pre-dump")
			after, err := testenv.TakeSnapshot(p.Pid)
			if err != nil {
				t.Fatal(err)
			}
			// a call of sigsuspend(2) that is about to be made again has not changed the mask yet
			changed := []string{"environ", "*SigBlk"}
			diff := before.Without(changed...).Diff(after.Without(changed...))
			if len(diff) > 0 {
				t.Error(diff)
			}
			if got := lang(t, family(p.Pid)...); got != want || !dir.Frozen() {
				t.Errorf("%s, frozen %v", got, dir.Frozen())
			}
			im := p.Dump(t, "--freeze-cgroup", string(dir))
			for _, restorer := range []string{"criu", "crpie"} {
				p := restoredBy(t, im, restorer)
				if got := lang(t, family(p.Pid)...); got != want {
					t.Errorf("%s: %s", restorer, got)
				}
				p.MustPass(t)
			}
		})
	}
}

// redis at work, with its clients, loses nothing and does nothing twice: the hooks run in all processes, before a dump
// after which it goes on, and before one after which it is restored.
func TestHooksAroundADumpOfRedis(t *testing.T) {
	p, flags := testenv.StartProgram(t, "redis")
	dir := testenv.Freezable(t, p)
	around := append(flags, "--freeze-cgroup", string(dir))
	tryAround(t, p.Pid, "pre-dump")
	p.Dump(t, append(around, "--leave-running")...)
	tryAround(t, p.Pid, "resumed")
	tryAround(t, p.Pid, "pre-dump")
	im := p.Dump(t, around...)
	p, _ = restore(t, im, flags...)
	if got := lang(t, family(p.Pid)...); !strings.Contains(got, "d") || strings.Trim(got, "d") != "" {
		t.Error(got)
	}
	p.MustPass(t)
}

// What goes on after a dump with --leave-running runs the hooks of PIE_DMP_RESUMED before anything else, from where
// criu left it, frozen.
func TestResumedAfterADump(t *testing.T) {
	p := testenv.Start(t, "threads")
	dir := testenv.Freezable(t, p)
	tryAround(t, p.Pid, "pre-dump")
	p.Dump(t, "--freeze-cgroup", string(dir), "--leave-running")
	if !dir.Frozen() {
		t.Error("criu has thawed it")
	}
	tryAround(t, p.Pid, "resumed")
	if got := lang(t, p.Pid); got != "r" || dir.Frozen() {
		t.Errorf("%s, frozen %v", got, dir.Frozen())
	}
	p.MustPass(t)
}

// A hook that fails leaves nothing frozen, and those of PIE_DMP_RESUMED have run in all processes.
func TestPreDumpFails(t *testing.T) {
	p := testenv.Start(t, "tree")
	dir := testenv.Freezable(t, p)
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.Pid))
	if err != nil {
		t.Fatal(err)
	}
	plugin := dumpedPlugin(t) + ",fail=" + strings.TrimSpace(string(comm))
	status, _, stderr := apart(t, "try", "-p", strconv.Itoa(p.Pid), "--stages", "pre-dump", plugin)
	if status != exitFailed || !strings.Contains(stderr, "hook PIE_DMP_PRE_DUMP") || !strings.Contains(stderr, "EIO") {
		t.Errorf("status %d, %s", status, stderr)
	}
	if got := lang(t, family(p.Pid)...); len(got) < 2 || strings.Trim(got, "r") != "" || dir.Frozen() {
		t.Errorf("%s, frozen %v", got, dir.Frozen())
	}
	p.MustPass(t)
}

// States in which processes can be left, and what is refused before a hook has run.
func TestLeave(t *testing.T) {
	p := testenv.Start(t, "threads")
	pid := strconv.Itoa(p.Pid)
	refused := func(want string, args ...string) {
		t.Helper()
		args = append([]string{"try", "-p", pid}, append(args, dumpedPlugin(t))...)
		if status, _, stderr := apart(t, args...); status == 0 || !strings.Contains(stderr, want) {
			t.Errorf("status %d, %s; want %s", status, stderr, want)
		}
		if got := lang(t, p.Pid); got != "C" {
			t.Errorf("%s has run", got)
		}
	}
	refused("--leave running lets them go on", "--stages", "pre-dump") // in the tests' own cgroup
	refused("stage PIE_DMP_PRE_DUMP is not run together with others", "--stages", "pre-dump,resumed")
	refused("unknown state", "--leave", "asleep", "--stages", "pre-dump")
	refused("leaves it alone", "--leave", "frozen", "--rehearse")
	tryAround(t, p.Pid, "pre-dump", "--leave", "running")
	tryAround(t, p.Pid, "resumed", "--leave", "stopped")
	p.Settle()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
	if err != nil || strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))[0] != "T" {
		t.Errorf("%s, %v", text, err)
	}
	tryAround(t, p.Pid, "resumed", "--leave", "running")
	if err := sys.Kill(sys.PID(p.Pid), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.MustPass(t)
}

// An object whose hooks are all around a dump does nothing in a restore and in a graft, which say so by name.
func TestOnlyAroundADump(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	plugin := dumpedPlugin(t, "-DONLY_AROUND_DUMP")
	mustFail(t, im, "plugin dumped: it has hooks around a dump alone", "--pie-plugin", plugin)
	status, _, stderr := crpie(t, "graft", "-D", im.Dir, "--pie-plugin", plugin, "-o",
		filepath.Join(t.TempDir(), "grafted"))
	if status == 0 || !strings.Contains(stderr, "plugin dumped: it has hooks around a dump alone") {
		t.Errorf("status %d, %s", status, stderr)
	}
	status, _, stderr = crpie(t, "try", plugin, "--", "/bin/true")
	if status == 0 || !strings.Contains(stderr, "plugin dumped has no hook of a restore") {
		t.Errorf("status %d, %s", status, stderr)
	}
	status, _, stderr = crpie(t, "try", "--stages", "pre-dump", plugin, "--", "/bin/true")
	if status != exitUsage || !strings.Contains(stderr, "hooks around a dump need -p PID") {
		t.Errorf("status %d, %s", status, stderr)
	}
	p, _ := restore(t, im, "--pie-plugin", dumpedPlugin(t))
	if got := lang(t, p.Pid); got != "s" {
		t.Errorf("%s", got)
	}
	p.MustPass(t)
	mustFail(t, im, "a restore does not run hooks around a dump", "--pie-plugin", dumpedPlugin(t), "--pie-pause", "pre-dump")
}
