//go:build linux && amd64

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/testenv"
)

// asTool makes the test binary behave as crpie itself.
const asTool = "CRPIE_TEST_AS_TOOL"

func TestMain(m *testing.M) {
	if os.Getenv(asTool) != "" {
		os.Exit(runNamed(os.Args))
	}
	os.Exit(m.Run())
}

// tool runs crpie on a victim's images and returns its exit status and everything it printed.
func tool(t *testing.T, im *testenv.Images, args ...string) (status int, output string) {
	t.Helper()
	return toolIn(t, im, 0, args...)
}

// toolIn is tool in new namespaces, CLONE_NEW* of clone(2).
func toolIn(t *testing.T, im *testenv.Images, namespaces uintptr, args ...string) (status int, output string) {
	t.Helper()
	cmd := im.Command(t, os.Args[0], args...)
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Unshareflags |= namespaces
	cmd.Env = append(cmd.Env, asTool+"=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// restore restores detached and must succeed.
func restore(t *testing.T, im *testenv.Images, args ...string) (p *testenv.Process, output string) {
	t.Helper()
	words := append([]string{"restore", "-d", "-D", im.Dir, "--tcp-established"}, args...)
	status, output := tool(t, im, words...)
	if strings.Contains(output, "crpie itself was given id") { // once in 32768 processes
		status, output = tool(t, im, words...)
	}
	if status != 0 {
		t.Fatalf("crpie restore: status %d\n%s", status, output)
	}
	return im.Adopt(t), output
}

func trace(t *testing.T) string { return testenv.Plugin(t, "plugin-sdk/examples/trace.c") }

// victimArgs makes the gigabyte one once.
func victimArgs(name string, release testenv.Release) []string {
	switch {
	case name == "gigabyte" && (testing.Short() || release != testenv.Stable):
		return []string{"64"}
	case name == "names":
		return []string{"all"}
	}
	return nil
}

// digest sums up every file of a directory, piece by piece: one victim's pages are a gigabyte.
func digest(t *testing.T, dir string) string {
	t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%s %d\n", path, info.Size())
		_, err = io.Copy(sum, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

func TestDigestReadsInPieces(t *testing.T) {
	dir := t.TempDir()
	const size = 256 << 20
	must(t, os.WriteFile(filepath.Join(dir, "sparse"), nil, 0o600))
	must(t, os.Truncate(filepath.Join(dir, "sparse"), size))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	digest(t, dir)
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > size/16 {
		t.Errorf("%d bytes allocated for a file of %d", after.TotalAlloc-before.TotalAlloc, size)
	}
}

var stageOrder = []string{"TASK_CREATED", "POST_MEMORY", "POST_FILES", "POST_THREADS", "PRE_CREDS",
	"PRE_SIGRETURN_THREAD", "PRE_SIGRETURN"}

// stagesLogged extracts the stages in which the trace plugin logged, in order, by thread.
func stagesLogged(output string) map[int][]string {
	stages := map[int][]string{}
	for _, m := range regexp.MustCompile(`(\d+): trace: PIE_RST_([A-Z_]+): `).FindAllStringSubmatch(output, -1) {
		tid, _ := strconv.Atoi(m[1])
		stages[tid] = append(stages[tid], m[2])
	}
	return stages
}

// Every victim is restored twice from what each stock CRIU dumped, with a plugin on all stages, and finds itself
// unchanged.
func TestRestoreVictims(t *testing.T) {
	plugin := trace(t)
	testenv.EachDump(t, func(t *testing.T, name string, release testenv.Release) {
		victim := testenv.Start(t, name, victimArgs(name, release)...)
		victim.Release = release
		im := victim.Dump(t)
		before := digest(t, im.Dir)
		for range 2 {
			p, output := restore(t, im, "-v3", "--pie-plugin", plugin+",who=me")
			checkStages(t, im, stagesLogged(output), testenv.Threads(p.Pid))
			p.MustPass(t)
		}
		if left := im.Leftovers(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if digest(t, im.Dir) != before {
			t.Error("the images have changed")
		}
	})
}

// checkStages: the leader of each restored task goes through all stages, every other thread through its own. The
// processes may have started others since, and ended.
func checkStages(t *testing.T, im *testenv.Images, got map[int][]string, living map[int]bool) {
	t.Helper()
	dumped := func(tid int) bool {
		_, err := os.Stat(filepath.Join(im.Dir, fmt.Sprintf("core-%d.img", tid)))
		return err == nil
	}
	for tid, leader := range living {
		want := []string{"PRE_SIGRETURN_THREAD"}
		if leader {
			want = stageOrder
		}
		if dumped(tid) && !slices.Equal(got[tid], want) {
			t.Errorf("thread %d: stages %v, want %v", tid, got[tid], want)
		}
	}
	for tid := range got {
		if !dumped(tid) {
			t.Errorf("thread %d, which was not dumped, ran hooks", tid)
		}
	}
	if !living[im.Pid] || len(got) == 0 {
		t.Errorf("living threads %v, with hooks %v", living, got)
	}
}

func snapshot(t *testing.T, p *testenv.Process) testenv.Snapshot {
	t.Helper()
	if err := p.Settle(); err != nil {
		t.Fatal(err)
	}
	s, err := testenv.TakeSnapshot(p.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// comparable hides what docs/support.md names: the clocks go on because there is a new time namespace, and the kernel
// merges neighbouring anonymous mappings of the same kind that had grown apart.
func comparable(s testenv.Snapshot) testenv.Snapshot {
	s = s.Without("ns_time")
	var keys []string
	for key := range s {
		if strings.HasPrefix(key, "map ") {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		x, _ := strconv.ParseUint(a[len("map "):], 16, 64)
		y, _ := strconv.ParseUint(b[len("map "):], 16, 64)
		return int(int64(x - y))
	})
	for i := len(keys) - 1; i > 0; i-- {
		low, high := s[keys[i-1]], s[keys[i]]
		end, rest, _ := strings.Cut(low, " ")
		start := strings.TrimPrefix(keys[i], "map ")
		newEnd, highRest, _ := strings.Cut(high, " ")
		if strings.TrimPrefix(end, "-") == start && rest == highRest && strings.Contains(rest, " 00000000  [") {
			s[keys[i-1]] = newEnd + " " + rest
			delete(s, keys[i])
		}
	}
	return s
}

// likeCRIU hides what CRIU 4.1 itself does not bring back (docs/stages.md): it leaves the accounting flag "ac" on text
// that it wrote to, and turns shared anonymous memory into a memfd.
func likeCRIU(s testenv.Snapshot) testenv.Snapshot {
	hidden := testenv.Snapshot{}
	for key, line := range comparable(s) {
		if strings.HasPrefix(key, "map ") {
			line = strings.Replace(line, "/memfd:/dev/zero", "/dev/zero", 1)
			if strings.Contains(line, " r-xp ") {
				line = strings.Replace(line, " ac]", "]", 1)
			}
		}
		hidden[key] = line
	}
	return hidden
}

// What /proc says of a process restored by crpie is what it says of one restored by CRIU from the same images.
func TestRestoredAsByCRIU(t *testing.T) {
	testenv.NeedCRIU(t)
	for _, name := range []string{"static", "glibc", "threads", "seccomp", "python", "perl", "perthread"} {
		t.Run(name, func(t *testing.T) {
			im := testenv.Start(t, name).Dump(t)
			p, _ := restore(t, im)
			ours := likeCRIU(snapshot(t, p))
			if err := p.Kill(); err != nil {
				t.Fatal(err)
			}
			for _, line := range likeCRIU(snapshot(t, im.RestoreCRIU(t))).Diff(ours) {
				t.Error(line)
			}
		})
	}
}

// What /proc says of a restored process is what it said before the dump.
func TestRestoredAsBefore(t *testing.T) {
	testenv.NeedCRIU(t)
	plugin := trace(t)
	for _, name := range []string{"static", "glibc", "threads", "seccomp", "python", "perl", "ptys"} {
		t.Run(name, func(t *testing.T) {
			victim := testenv.Start(t, name)
			before := snapshot(t, victim)
			p, _ := restore(t, victim.Dump(t), "--pie-plugin", plugin)
			for _, line := range comparable(before).Diff(comparable(snapshot(t, p))) {
				t.Error(line)
			}
		})
	}
}

// Memory that parent and children have in common is still shared between them: the tree needs no more of it than
// CRIU's.
func TestTreeSharesMemory(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "tree", "12").Dump(t)
	p, _ := restore(t, im, "--pie-plugin", trace(t))
	ours := testenv.PSS(t, p.Pid)
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if criu := testenv.PSS(t, im.RestoreCRIU(t).Pid); ours > criu+criu/20 {
		t.Errorf("the tree needs %d KiB, after criu restore %d", ours, criu)
	} else {
		t.Logf("PSS %d KiB, after criu restore %d", ours, criu)
	}
}

// A restored process is as good as the first: CRIU dumps it again, and both restore that.
func TestDumpAgain(t *testing.T) {
	testenv.NeedCRIU(t)
	plugin := trace(t)
	for _, name := range []string{
		"static", "glibc", "threads", "python", "tree", "memfd", "deleted", "fifo", "owners",
		"pidfds", "specials", "sharing", "high", "mappings", "stopped", "unix", "inflight", "inet", "huge",
		"clonefiles", "ipc", "aio", "tcp", "perthread", "timens", "uts", "names", "netlink", "packet",
		"sockets",
		"bare", "ports", "ended",
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := restore(t, testenv.Start(t, name).Dump(t), "--pie-plugin", plugin)
			again := p.Dump(t)
			again.RestoreCRIU(t).MustPass(t)
			p, _ = restore(t, again)
			p.MustPass(t)
		})
	}
}

// Of watches, epoll sets, timers, terminals, guard regions, cgroups and some sockets CRIU brings back less. What it
// does bring back crpie does, too, and CRIU can dump and restore what crpie has restored.
func TestAsFarAsCRIU(t *testing.T) {
	plugin := trace(t)
	for _, name := range []string{"notify", "events", "ptys", "guards", "raw", "ping", "timers", "vgetrandom",
		"gone", "cgroups", "locks"} {
		t.Run(name, func(t *testing.T) {
			im := testenv.Start(t, name, testenv.ControlArgs(name)...).Dump(t)
			im.RestoreCRIU(t).MustPass(t)
			p, _ := restore(t, im, "--pie-plugin", plugin)
			again := p.Dump(t)
			again.RestoreCRIU(t).MustPass(t)
			p, _ = restore(t, again)
			p.MustPass(t)
		})
	}
}

// Whatever a hook does wrong, at whatever stage, undoes the restore and is reported with plugin, stage and place.
func TestHookFailures(t *testing.T) {
	im := testenv.Start(t, "threads").Dump(t)
	plugin := testenv.Plugin(t, "testdata/plugins/fail.c")
	ways := map[string]string{
		"error":    `plugin fail, hook PIE_RST_STAGE, thread \d+: fail_STAGE\+0x0 \(.*fail\.c:\d+\): returned -5 \(EIO\)`,
		"null":     `plugin fail, hook PIE_RST_STAGE, thread \d+: [a-z_]+(STAGE)?\+0x[0-9a-f]+ \(.*fail\.c:\d+\): crashed with SIGSEGV at address 0x0`,
		"ud2":      `plugin fail, hook PIE_RST_STAGE, thread \d+: [a-z_]+(STAGE)?\+0x[0-9a-f]+ \(.*fail\.c:\d+\): crashed with SIGILL at address 0x[0-9a-f]+`,
		"stack":    `plugin fail, hook PIE_RST_STAGE, thread \d+: grow\+0x[0-9a-f]+ \(.*fail\.c:\d+\): crashed with SIGSEGV at address 0x[0-9a-f]+, the guard of its stack`,
		"leap":     `plugin fail, hook PIE_RST_STAGE, thread \d+: leap\+0x[0-9a-f]+ \(.*fail\.c:\d+\): crashed with SIGSEGV at address 0x[0-9a-f]+, the guard of its stack`,
		"hang":     `plugin fail, hook PIE_RST_STAGE, thread \d+: [a-z_]+(STAGE)?\+0x[0-9a-f]+ \(.*\): still running after 100ms \(--pie-timeout\)`,
		"exit":     `plugin fail, hook PIE_RST_STAGE, thread \d+: [a-z_0-9]+(STAGE)?\+0x[0-9a-f]+ \(.*\): called exit_group\(7\)`,
		"exit1":    `plugin fail, hook PIE_RST_STAGE, thread \d+: [a-z_0-9]+(STAGE)?\+0x[0-9a-f]+ \(.*\): called exit\(7\)`,
		"exec":     `plugin fail, hook PIE_RST_STAGE, thread \d+: fail_STAGE\+0x0 \(.*fail\.c:\d+\): called execve: it is "/.*bin/true" now`,
		"fork":     `plugin fail, hook PIE_RST_STAGE, thread \d+: fail_STAGE\+0x0 \(.*fail\.c:\d+\): returned -5 \(EIO\)`,
		"positive": `plugin fail, hook PIE_RST_STAGE, thread \d+: fail_STAGE\+0x0 \(.*\): returned 1, which is neither 0 nor a negative errno`,
		"low":      `plugin fail, hook PIE_RST_STAGE, thread \d+: fail_STAGE\+0x0 \(.*\): returned -5000, which is neither 0 nor a negative errno`,
	}
	for _, stage := range stageOrder {
		for how, want := range ways {
			t.Run(stage+"/"+how, func(t *testing.T) {
				spec := fmt.Sprintf("%s,stage=%s,how=%s", plugin, stage, how)
				want := strings.ReplaceAll(want, "STAGE", stage)
				timeout := "20s"
				if how == "hang" {
					timeout = "100ms"
				}
				status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--pie-timeout", timeout,
					"--pie-plugin", spec)
				if status != exitFailed {
					t.Errorf("status %d, want %d", status, exitFailed)
				}
				if !regexp.MustCompile(want).MatchString(output) {
					t.Errorf("output:\n%s\nwant %s", output, want)
				}
				if left := im.Leftovers(); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
	p, _ := restore(t, im, "--pie-plugin", plugin+",stage=POST_FILES,how=notsup")
	p.MustPass(t)
}

// Without -d crpie waits and passes the exit status on.
func TestForeground(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	for name, tc := range map[string]struct {
		signal syscall.Signal
		want   int
	}{
		"exit":   {syscall.SIGUSR1, 0},
		"signal": {syscall.SIGKILL, 128 + 9},
	} {
		t.Run(name, func(t *testing.T) {
			pidfile := filepath.Join(t.TempDir(), "pid")
			done := make(chan struct{})
			go func() {
				defer close(done)
				for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(
					5 * time.Millisecond) {
					if b, err := os.ReadFile(pidfile); err == nil &&
						string(b) == strconv.Itoa(im.Pid) && untraced(im.Pid) {
						syscall.Kill(im.Pid, tc.signal)
						return
					}
				}
			}()
			status, output := tool(t, im, "restore", "-D", im.Dir, "--pidfile", pidfile)
			<-done
			if status != tc.want {
				t.Errorf("status %d, want %d\n%s", status, tc.want, output)
			}
		})
	}
}

// untraced: the restorer has let the process go.
func untraced(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return bytes.Contains(b, []byte("TracerPid:\t0\n"))
}

func TestLeaveStopped(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	p, _ := restore(t, im, "-s")
	var stat []byte
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && !bytes.Contains(stat, []byte(") T ")); {
		stat, _ = os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
	}
	if !bytes.Contains(stat, []byte(") T ")) {
		t.Errorf("not stopped: %s", stat)
	}
	syscall.Kill(p.Pid, syscall.SIGCONT)
	p.MustPass(t)
}

// What cannot be restored is said at once, all of it, and nothing is created.
func TestRefusals(t *testing.T) {
	victim := testenv.Start(t, "glibc")
	im := victim.Dump(t, "--leave-running")
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir)
	want := fmt.Sprintf("cannot restore: task %d thread %d: its id is taken by process \"glibc", im.Pid, im.Pid)
	if status != exitFailed || !strings.Contains(output, want) {
		t.Errorf("status %d, output:\n%s\nwant %s", status, output, want)
	}
}

// Plugins see what was dumped: parameters, times, the list of mappings.
func TestExamplePlugins(t *testing.T) {
	im := testenv.Start(t, "glibc").Dump(t)
	p, _ := restore(t, im, "--pie-plugin", testenv.Plugin(t, "plugin-sdk/examples/new-id.c")+",var=HOME,value=x")
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(env, []byte("HOME=x\x00")) {
		t.Errorf("environment %q, want HOME=x", env)
	}
}

// Hundreds of restores in a row, plugin on all stages: none fails, nothing is left. CRPIE_TEST_RESTORES is how many
// there are of a small process.
func TestManyRestores(t *testing.T) {
	plugin, small := trace(t), 500
	if n, err := strconv.Atoi(os.Getenv("CRPIE_TEST_RESTORES")); err == nil {
		small = n
	}
	for _, tc := range []struct {
		victim, size string
		count        int
	}{{"static", "", small}, {"threads", "32", 500}, {"threads", "500", 200}, {"tree", "50", 200}} {
		t.Run(tc.victim+tc.size, func(t *testing.T) {
			count := tc.count
			if testing.Short() {
				count /= 20
			}
			im := testenv.Start(t, tc.victim, tc.size).Dump(t)
			for i := range count {
				p, _ := restore(t, im, "--pie-plugin", plugin)
				if i%50 == 0 {
					p.MustPass(t)
				} else if err := p.Kill(); err != nil {
					t.Fatalf("restore %d: %v", i, err)
				}
			}
			if left := im.Leftovers(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// When crpie happens to be given the very pid that the restored process must have, it says so, and another crpie does
// the work; when only a thread of it was, it does the work itself.
func TestOwnPid(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	refused := 0
	for round := range 60 {
		last := im.Pid - 1 - round%4 // the next processes and threads are given the numbers after it
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(last)), 0); err != nil {
			t.Fatal(err)
		}
		status, output := tool(t, im, "restore", "-d", "-D", im.Dir)
		if strings.Contains(output, fmt.Sprintf("crpie itself was given id %d", im.Pid)) {
			refused++
			continue
		}
		if regexp.MustCompile(`its (id|pid) is taken by `).MatchString(output) {
			time.Sleep(20 * time.Millisecond) // somebody else on this machine was given it
			continue
		}
		if status != 0 {
			t.Fatalf("status %d\n%s", status, output)
		}
		if err := im.Adopt(t).Kill(); err != nil {
			t.Fatal(err)
		}
	}
	if refused == 0 || refused > 40 {
		t.Errorf("%d of 60 restores were given the pid", refused)
	}
}
