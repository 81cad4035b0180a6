//go:build linux && amd64

package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/testenv"
)

// told is crpie with everything that it says in one string.
func told(t *testing.T, args ...string) (status int, output string) {
	t.Helper()
	status, stdout, stderr := crpie(t, args...)
	return status, stdout + stderr
}

// graftOnto grafts onto a copy of im that is restored in its place.
func graftOnto(t *testing.T, im *testenv.Images, args ...string) *testenv.Images {
	t.Helper()
	grafted := *im
	grafted.Dir = filepath.Join(t.TempDir(), "grafted")
	if status, out := told(t, append([]string{"graft", "-D", im.Dir, "-o", grafted.Dir}, args...)...); status != 0 {
		t.Fatalf("crpie graft: status %d\n%s", status, out)
	}
	return &grafted
}

// traced are the arguments for the plugin that logs, from which every victim's standard error shows that hooks ran.
func traced(t *testing.T) []string {
	return []string{"--pie-plugin", trace(t), "--allow-skipped-stages", "-v3"}
}

// wantTraced wants the line of every thread, then that of the task, before anything of the victim.
func wantTraced(t *testing.T, output string, pid, threads int) {
	t.Helper()
	if n := strings.Count(output, fmt.Sprintf(": stage=PRE_SIGRETURN_THREAD pid=%d ", pid)); n != threads {
		t.Errorf("%d of %d threads ran their hook:\n%s", n, threads, output)
	}
	last := fmt.Sprintf(": stage=PRE_SIGRETURN pid=%d tid=%d threads=%d ", pid, pid, threads)
	if strings.Count(output, last) != 1 {
		t.Errorf("the hook of task %d did not run once:\n%s", pid, output)
	}
}

// wantAllTraced wants the lines of every task and thread of the images that has a standard error in one of the files.
func wantAllTraced(t *testing.T, output, dir string, files ...string) {
	t.Helper()
	d, err := images.Open(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range d.Tasks {
		for _, fd := range task.Fds {
			if fd.GetFd() == 2 && slices.Contains(files, d.Files[fd.GetId()].GetReg().GetName()) {
				wantTraced(t, output, int(task.Pid), len(task.Threads))
			}
		}
	}
}

// Stock CRIU restores every victim with hooks grafted on, from images that refer to the original and from images that
// stand alone, and each finds itself unchanged.
func TestGraftVictims(t *testing.T) {
	testenv.NeedCRIU(t)
	for _, name := range testenv.Victims() {
		args := testenv.ControlArgs(name)
		if name == "seccomp" || name == "huge" || name == "mounts" {
			// TestGraftSeccomp, TestGraftHugePages; CRIU cannot restore a tree of this machine's mounts
			continue
		}
		t.Run(name, func(t *testing.T) {
			for _, mode := range []string{"--copy=false", "--copy"} {
				im := testenv.Start(t, name, args...).Dump(t)
				before := digest(t, im.Dir)
				p := graftOnto(t, im, append(traced(t), mode)...).RestoreCRIU(t)
				p.MustPass(t)
				wantAllTraced(t, p.Output(), im.Dir, im.Out())
				if digest(t, im.Dir) != before {
					t.Error("the images have changed")
				}
			}
		})
	}
}

// No line is lost or torn when many tasks write at once, each with its own position in standard error's file; and
// none with --log-file, whoever can open that and whoever cannot.
func TestGraftWriters(t *testing.T) {
	testenv.NeedCRIU(t)
	dir := shared(t)
	errors, log := filepath.Join(dir, "errors"), filepath.Join(dir, "log")
	write(t, errors, nil, 0o600)
	im := startSource(t, "writers", errors, t.TempDir()).Dump(t)
	for _, args := range [][]string{nil, {"--log-file", log}} {
		write(t, errors, nil, 0o600)
		p := graftOnto(t, im, append(traced(t), args...)...).RestoreCRIU(t)
		p.MustPass(t)
		logged, err := os.ReadFile(log)
		if (err == nil) != (args != nil) {
			t.Error(err)
		}
		wantAllTraced(t, p.Output()+readFile(t, errors)+string(logged), im.Dir, im.Out(), errors)
	}
}

// shared is a folder in which everybody may make files, as in /tmp.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "crpie-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Ten tasks, all of them and two selected ones.
func TestGraftTree(t *testing.T) {
	testenv.NeedCRIU(t)
	im := startSource(t, "family").Dump(t)
	pids := descendants(t, im.Dir)
	for _, pid := range pids[1:] { // orphans since the dump; their pids must be free
		syscall.Wait4(pid, nil, 0, nil)
	}
	p := graftOnto(t, im, traced(t)...).RestoreCRIU(t)
	p.MustPass(t)
	for _, pid := range pids {
		wantTraced(t, p.Output(), pid, 1)
	}
	p = graftOnto(t, im, append(traced(t), "--task", fmt.Sprint(pids[0]), "--task",
		fmt.Sprint(pids[7]))...).RestoreCRIU(t)
	p.MustPass(t)
	wantTraced(t, p.Output(), pids[7], 1)
	if n := strings.Count(p.Output(), "stage=PRE_SIGRETURN pid="); n != 2 {
		t.Errorf("hooks ran in %d tasks, want 2:\n%s", n, p.Output())
	}
}

// startSource starts a program of testdata/victims that is no victim of its own.
func startSource(t *testing.T, name string, args ...string) *testenv.Process {
	t.Helper()
	exe := filepath.Join(t.TempDir(), name)
	source := filepath.Join(testenv.Root(), "testdata", "victims", name+".c")
	out, err := exec.Command(testenv.NeedTool(t, "gcc"), "-O1", "-Wall", "-o", exe, source).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return testenv.StartCommand(t, name, append([]string{exe}, args...)...)
}

// descendants lists the tasks of an image directory.
func descendants(t *testing.T, dir string) []int {
	t.Helper()
	var pids []int
	status, out := told(t, "inspect", "-D", dir)
	for line := range strings.Lines(out) {
		var pid int
		if n, _ := fmt.Sscanf(strings.TrimSpace(line), "task %d ", &pid); n == 1 &&
			strings.Contains(line, ": alive,") {
			pids = append(pids, pid)
		}
	}
	if status != 0 || len(pids) != 10 {
		t.Fatalf("crpie inspect -D: status %d, tasks %v\n%s", status, pids, out)
	}
	return pids
}

// What /proc says after CRIU's restore of grafted images is what it says after its restore of the original ones, but
// for the memory that stays, which has a name.
func TestGraftLeavesNoOtherTrace(t *testing.T) {
	testenv.NeedCRIU(t)
	for _, name := range []string{"static", "glibc", "threads"} {
		t.Run(name, func(t *testing.T) {
			im := testenv.Start(t, name).Dump(t)
			plain := settled(t, im.RestoreCRIU(t), 0)
			got := settled(t, graftOnto(t, im, "--copy", "--pie-plugin", trace(t),
				"--allow-skipped-stages").RestoreCRIU(t), 2)
			delete(plain, "ns/time") // CRIU makes a new one each time
			delete(got, "ns/time")
			for _, line := range plain.Diff(got) {
				if !strings.Contains(line, "crpie graft") || !strings.Contains(line, ": new, ") {
					t.Error(line)
				}
			}
		})
	}
}

// settled takes a snapshot when the hooks are done (CRIU does not wait for them): so many mappings have our name then.
func settled(t *testing.T, p *testenv.Process, named int) (s testenv.Snapshot) {
	t.Helper()
	maps := fmt.Sprintf("/proc/%d/maps", p.Pid)
	for end := time.Now().Add(testenv.Timeout); ; time.Sleep(5 * time.Millisecond) {
		data, err := os.ReadFile(maps)
		if n := strings.Count(string(data), "crpie graft"); err != nil || n != named && time.Now().After(end) {
			t.Fatalf("%v, %d mappings named crpie graft, want %d", err, n, named)
		} else if n == named && !blobMapped(string(data)) {
			break
		}
	}
	err := p.Settle()
	if err == nil {
		s, err = testenv.TakeSnapshot(p.Pid)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.MustPass(t)
	return s
}

// blobMapped tells whether something follows what stays.
func blobMapped(maps string) bool {
	i := strings.LastIndex(maps, "crpie graft")
	if i < 0 {
		return false
	}
	_, line, _ := strings.Cut(maps[strings.LastIndex(maps[:i], "\n")+1:i], "-")
	end, _, _ := strings.Cut(line, " ")
	return strings.Contains(maps, "\n"+end+"-")
}

// A hook that fails, crashes or hangs ends its task with a line that says so, or with --on-error=continue only the
// hooks.
func TestGraftFailures(t *testing.T) {
	testenv.NeedCRIU(t)
	plugin, inits := testenv.Plugin(t, "testdata/plugins/fail.c"), testenv.Plugin(t, "testdata/plugins/init-ctx.c")
	im := testenv.Start(t, "threads").Dump(t)
	for _, c := range []struct{ how, stage, want string }{
		{"positive", "PRE_SIGRETURN", "plugin fail, hook PIE_RST_PRE_SIGRETURN, thread %d: returned 1\n"},
		{"low", "PRE_SIGRETURN", "plugin fail, hook PIE_RST_PRE_SIGRETURN, thread %d: returned -5000\n"},
		{"positive", "init", "plugin init-ctx, init, thread %d: returned 1\n"},
		{"null", "init", "plugin init-ctx, init, thread %d: crashed with signal 11 at address 0x0"},
		{"error,errno=22", "PRE_SIGRETURN",
			"plugin fail, hook PIE_RST_PRE_SIGRETURN, thread %d: returned -22\n"},
		{"null", "PRE_SIGRETURN", "plugin fail, hook PIE_RST_PRE_SIGRETURN, thread %d: crashed with signal 11 at address 0x0"},
		{"ud2", "PRE_SIGRETURN", "crashed with signal 4"},
		{"stack", "PRE_SIGRETURN", "the guard of its stack (a hook has 124 KiB)"},
		{"leap", "PRE_SIGRETURN", "the guard of its stack (a hook has 124 KiB)"},
		{"leap", "PRE_SIGRETURN_THREAD", "the guard of its stack (a hook has 124 KiB)"},
		{"hang", "PRE_SIGRETURN", "thread %d: still running after 150 ms (--pie-timeout)\n"},
		{"null", "PRE_SIGRETURN_THREAD", "hook PIE_RST_PRE_SIGRETURN_THREAD, thread "},
		{"hang", "PRE_SIGRETURN_THREAD", "still running after 150 ms (--pie-timeout)\n"},
	} {
		args := []string{"--pie-plugin", plugin + ",stage=" + c.stage + ",how=" + c.how,
			"--allow-skipped-stages", "--pie-timeout=150ms"}
		if c.stage == "init" {
			args[1] = inits + ",init=" + c.how
		}
		want := strings.ReplaceAll(c.want, "%d", fmt.Sprint(im.Pid))
		t.Run(c.stage+" "+c.how, func(t *testing.T) {
			ends := graftOnto(t, im, args...)
			cmd := ends.Command(t, testenv.NeedCRIU(t).Path, "restore", "-D", ends.Dir, "-W", t.TempDir(),
				"-o", "log")
			if err := cmd.Run(); cmd.ProcessState.ExitCode() < 0 {
				t.Fatal(err)
			}
			waitEnded(t, ends)
			if out := outputOf(t, ends); !strings.Contains(out, want) {
				t.Errorf("the output lacks %q:\n%s", want, out)
			}
			p := graftOnto(t, im, append(args, "--on-error=continue")...).RestoreCRIU(t)
			p.MustPass(t)
			if !strings.Contains(p.Output(), want) {
				t.Errorf("with --on-error=continue the output lacks %q:\n%s", want, p.Output())
			}
		})
	}
}

// init and exit of a graft get a context. A plugin whose init says -ENOTSUP sits out.
func TestGraftInit(t *testing.T) {
	testenv.NeedCRIU(t)
	plugin := testenv.Plugin(t, "testdata/plugins/init-ctx.c") + ",who=me"
	im := testenv.Start(t, "threads").Dump(t)
	p := graftOnto(t, im, "-v3", "--pie-plugin", plugin).RestoreCRIU(t)
	p.MustPass(t)
	for _, want := range []string{"init, thread %d: stage 2 hook 0xf0 who=me\n",
		"exit, thread %d: stage 2 hook 0xf1 ret 0 who=me\n",
		"hook PIE_RST_PRE_SIGRETURN, thread %d: hook 0x106 who=me\n"} {
		if want = fmt.Sprintf("plugin init-ctx, "+want, im.Pid); strings.Count(p.Output(), want) != 1 {
			t.Errorf("not once in the output: %s%s", want, p.Output())
		}
	}
	p = graftOnto(t, im, "-v3", "--pie-plugin", plugin+",init=notsup").RestoreCRIU(t)
	p.MustPass(t)
	if n := strings.Count(p.Output(), "plugin init-ctx, "); n != 1 {
		t.Errorf("after -ENOTSUP from init its plugin says %d lines, want 1:\n%s", n, p.Output())
	}
}

// waitEnded waits until the pid is free: if the task ends before CRIU is done with it, it becomes a zombie of ours.
func waitEnded(t *testing.T, im *testenv.Images) {
	t.Helper()
	for end := time.Now().Add(testenv.Timeout); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		syscall.Wait4(im.Pid, nil, syscall.WNOHANG, nil)
		if syscall.Kill(im.Pid, 0) != nil {
			return
		}
	}
	t.Errorf("process %d is still there", im.Pid)
}

func outputOf(t *testing.T, im *testenv.Images) string {
	t.Helper()
	data, err := os.ReadFile(im.Out())
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A filter that permits the core's calls needs no flag; inspect shows which filters there are.
func TestGraftSeccomp(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "seccomp").Dump(t)
	if status, text := told(t, "inspect", "-D", im.Dir); status != 0 || !strings.Contains(text, " filter 1,0\n") {
		t.Errorf("inspect: status %d\n%s", status, text)
	}
	p := graftOnto(t, im, traced(t)...).RestoreCRIU(t)
	p.MustPass(t)
	wantTraced(t, p.Output(), p.Pid, threadsIn(p.Output()))
}

// Filters that kill the watchdog and a thread's own signal stack: named with the thread, and nothing is written.
func TestGraftSeccompDenied(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "seccomp", "denied").Dump(t)
	out := filepath.Join(t.TempDir(), "out")
	status, text := told(t, "graft", "-D", im.Dir, "-o", out, "--pie-plugin", trace(t), "--allow-skipped-stages")
	want := "thread [0-9]+: its seccomp filters deny the graft's core sigaltstack: SECCOMP_RET_KILL_PROCESS, clone: SECCOMP_RET_ERRNO \\(79\\)\n" +
		"  hint: use crpie restore, .* --allow-seccomp\n"
	if status != exitFailed || !regexp.MustCompile(want).MatchString(text) {
		t.Errorf("status %d: %s", status, text)
	}
	if _, err := os.Lstat(out); err == nil {
		t.Error("something was written")
	}
}

// Huge pages only with --copy: CRIU never ends when they are in a parent directory.
func TestGraftHugePages(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "huge").Dump(t)
	status, text := told(t, "graft", "-D", im.Dir, "-o", filepath.Join(t.TempDir(), "out"), "--pie-plugin",
		trace(t), "--allow-skipped-stages")
	want := "it has private huge pages, which CRIU up to 4.2 looks for in the new directory only, for ever\n  hint: write a directory that stands alone: --copy"
	if status != exitFailed || !strings.Contains(text, want) {
		t.Errorf("status %d: %s", status, text)
	}
	p := graftOnto(t, im, append(traced(t), "--copy")...).RestoreCRIU(t)
	p.MustPass(t)
	wantTraced(t, p.Output(), p.Pid, 1)
}

// threadsIn reads the number of threads from a line of the trace plugin.
func threadsIn(output string) int {
	var n int
	if _, after, ok := strings.Cut(output, " threads="); ok {
		fmt.Sscan(after, &n)
	}
	return n
}

// What --remove writes is the original, byte for byte.
func TestGraftRemove(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "threads").Dump(t)
	for _, mode := range []string{"--copy=false", "--copy"} {
		grafted := graftOnto(t, im, append(traced(t), mode)...)
		back := filepath.Join(t.TempDir(), "back")
		if status, out := told(t, "graft", "--remove", "-D", grafted.Dir, "-o", back); status != 0 {
			t.Fatalf("%s: %s", mode, out)
		}
		if out, err := exec.Command("diff", "-r", im.Dir, back).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", mode, err, out)
		}
	}
}

// The output tells what was grafted, and no value of a parameter.
func TestGraftProvenance(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "static").Dump(t)
	plugin := trace(t)
	grafted := graftOnto(t, im, "--pie-plugin", plugin+",token=sEcReT", "--allow-skipped-stages")
	object, err := os.ReadFile(plugin)
	if err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(object))
	status, out := told(t, "inspect", "-D", grafted.Dir)
	for _, want := range []string{"plugin trace (trace.o, sha256 " + sum + ")", "parameters: token\n",
		"PIE_RST_PRE_SIGRETURN_THREAD"} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("inspect: status %d, no %q in\n%s", status, want, out)
		}
	}
	data, err := os.ReadFile(filepath.Join(grafted.Dir, "crpie-graft.json"))
	if err != nil || strings.Contains(string(data)+out, "sEcReT") {
		t.Errorf("the value of a parameter is told: %v", err)
	}
	status, out = told(t, "graft", "-D", grafted.Dir, "-o", grafted.Dir+"2", "--pie-plugin", plugin,
		"--allow-skipped-stages")
	if status != exitFailed || !strings.Contains(out, "these images are grafted already") {
		t.Errorf("a second graft: status %d: %s", status, out)
	}
}

// --log-file is opened by the task, and takes what standard error would have got.
func TestGraftLogFile(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "glibc").Dump(t)
	log := filepath.Join(t.TempDir(), "log")
	p := graftOnto(t, im, append(traced(t), "--log-file", log)...).RestoreCRIU(t)
	p.MustPass(t)
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	wantTraced(t, string(data), p.Pid, 1)
	if strings.Contains(p.Output(), "crpie graft") {
		t.Errorf("lines on standard error too:\n%s", p.Output())
	}
}

// redis answers after a restore with a hook what it was told before.
func TestGraftRedis(t *testing.T) {
	testenv.NeedCRIU(t)
	server, client := testenv.NeedTool(t, "redis-check-rdb"), testenv.NeedTool(t, "redis-cli")
	dir := t.TempDir()
	socket := filepath.Join(dir, "socket")
	// redis-check-rdb is the server under another name: the package redis-server would start one
	words := []string{"redis-server", "--port", "0", "--unixsocket", socket, "--save", "''", "--set-proc-title",
		"no", "--logfile", filepath.Join(dir, "log")}
	script := fmt.Sprintf("cd %s; echo READY $$; exec -a redis-server %s %s", dir, server,
		strings.Join(words[1:], " "))
	p := testenv.StartCommand(t, "redis-server", "/bin/bash", "-c", script)
	redis := func(want string, words ...string) {
		t.Helper()
		var out []byte
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if out, _ = exec.Command(client,
				append([]string{"-s", socket}, words...)...).CombinedOutput(); string(out) == want+
				"\n" {
				return
			}
		}
		t.Fatalf("redis %v: %q, want %q", words, out, want)
	}
	redis("OK", "SET", "before", "dump")
	im := p.Dump(t)
	p = graftOnto(t, im, traced(t)...).RestoreCRIU(t)
	redis("dump", "GET", "before")
	wantTraced(t, p.Output(), p.Pid, threadsIn(p.Output()))
}

// Again and again, alternating between a task with one thread and one with many.
func TestGraftRepeatedly(t *testing.T) {
	testenv.NeedCRIU(t)
	times := 100
	if testing.Short() {
		times = 5
	}
	for _, name := range []string{"glibc", "threads"} {
		grafted := graftOnto(t, testenv.Start(t, name).Dump(t), traced(t)...)
		for i := range times {
			p := grafted.RestoreCRIU(t)
			if err := p.Finish(); err != nil {
				t.Fatalf("%s, restore %d: %v", name, i, err)
			}
		}
	}
}

// Grafting onto a gigabyte writes little.
func TestGraftGigabyteIsSmall(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "gigabyte", victimArgs("gigabyte", testenv.Stable)...).Dump(t)
	began := time.Now()
	grafted := graftOnto(t, im, traced(t)...)
	t.Logf("grafted in %v", time.Since(began))
	if n := ownBytes(t, grafted.Dir, im.Dir); n > 1<<20 {
		t.Errorf("%d bytes are new, want at most 1 MiB", n)
	}
	grafted.RestoreCRIU(t).MustPass(t)
}

// ownBytes sums up the files of dir that are not the same as in source.
func ownBytes(t *testing.T, dir, source string) (n int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := os.Lstat(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if was, err := os.Lstat(filepath.Join(source, e.Name())); err != nil || !os.SameFile(was, info) {
			n += info.Size()
		}
	}
	return n
}

// Images that refer to a parent themselves keep it, whichever way they are grafted. They come from a graft that nobody
// knows of any more, so its hooks run too, after the new ones.
func TestGraftIncrementalImages(t *testing.T) {
	testenv.NeedCRIU(t)
	im := graftOnto(t, testenv.Start(t, "threads").Dump(t), traced(t)...)
	if err := os.Remove(filepath.Join(im.Dir, "crpie-graft.json")); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"--copy=false", "--copy"} {
		p := graftOnto(t, im, append(traced(t), mode)...).RestoreCRIU(t)
		p.MustPass(t)
		if n := strings.Count(p.Output(), "stage=PRE_SIGRETURN pid="); n != 2 {
			t.Errorf("%s: the task's hook ran %d times, want 2:\n%s", mode, n, p.Output())
		}
	}
}

// A task that was stopped runs its hooks when it is continued.
func TestGraftStoppedTask(t *testing.T) {
	testenv.NeedCRIU(t)
	p := testenv.Start(t, "static")
	if err := syscall.Kill(p.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p = graftOnto(t, p.Dump(t, "--shell-job"), traced(t)...).RestoreCRIU(t, "--shell-job")
	time.Sleep(20 * time.Millisecond)
	if strings.Contains(p.Output(), "stage=") {
		t.Errorf("a hook ran while the task was stopped:\n%s", p.Output())
	}
	if err := syscall.Kill(p.Pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.MustPass(t)
	wantTraced(t, p.Output(), p.Pid, 1)
}

// A signal that somebody sends while hooks run, of a kind that crashes use, is the application's afterwards.
func TestGraftKeepsForeignSignals(t *testing.T) {
	testenv.NeedCRIU(t)
	plugin := testenv.Plugin(t, "testdata/plugins/fail.c")
	im := testenv.Start(t, "static").Dump(t)
	grafted := graftOnto(t, im, "--pie-plugin", plugin+",stage=PRE_SIGRETURN,how=hang", "--allow-skipped-stages",
		"--on-error=continue", "--pie-timeout=400ms")
	p := grafted.RestoreCRIU(t)
	time.Sleep(50 * time.Millisecond)
	if err := syscall.Kill(p.Pid, syscall.SIGTRAP); err != nil { // no action: it kills, but only the application
		t.Fatal(err)
	}
	err := p.WaitGone()
	if err != nil || !strings.Contains(p.Output(), "still running after 400 ms") ||
		strings.Contains(p.Output(), "crashed") {
		t.Errorf("%v:\n%s", err, p.Output())
	}
}

// crpie inspect tells the same about a directory and an archive of it.
func TestInspectImages(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "glibc").Dump(t)
	archive := filepath.Join(t.TempDir(), "a.tar.gz")
	if out, err := exec.Command("tar", "-C", filepath.Dir(im.Dir), "-czf", archive,
		filepath.Base(im.Dir)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	status, of, _ := crpie(t, "inspect", "-f", "json", "-D", im.Dir)
	status2, in, _ := crpie(t, "inspect", "-f", "json", "--archive", archive)
	var v imagesView
	if err := json.Unmarshal([]byte(of), &v); err != nil || status != 0 || status2 != 0 || of != in {
		t.Fatalf("%v, status %d and %d:\n%s\n%s", err, status, status2, of, in)
	}
	task := v.Tasks[0]
	if len(v.Tasks) != 1 || int(task.Pid) != im.Pid || len(task.Threads) != 1 || len(task.Memory) < 10 ||
		task.Here == 0 {
		t.Errorf("got %+v", task)
	}
	if status, out := told(t, "inspect", "-D", im.Dir, "--base", "0x1000"); status != exitUsage {
		t.Errorf("--base with images: status %d: %s", status, out)
	}
}

// Every example of crpie graft --help does what it says, up to podman's own part.
func TestGraftExamples(t *testing.T) {
	testenv.NeedCRIU(t)
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	shell := func(line string, env ...string) string {
		cmd := exec.Command("/bin/bash", "-ec", line)
		cmd.Dir, cmd.Env = dir, append(os.Environ(),
			append(env, "PATH="+dir+":"+os.Getenv("PATH"), asTool+"=1")...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		return string(out)
	}
	source := file("app.c", `#include "victim.h"
int victim_failures;
unsigned long generation = 41;
int main(void)
{
	victim_begin();
	victim_wait();
	CHECK(generation == 42, "generation %lu", generation);
	return victim_end();
}
`, 0o600)
	shell("gcc -I " + filepath.Join(testenv.Root(), "testdata", "victims") + " -o app " + source)
	file("app.sh", "#!/bin/bash\nexport ID=00000000-0000-0000-0000-000000000000\nexec "+filepath.Join(dir, "app")+
		"\n", 0o700)
	im := testenv.StartCommand(t, "app", filepath.Join(dir, "app.sh")).Dump(t)
	if err := os.Symlink(os.Args[0], filepath.Join(dir, "crpie")); err != nil {
		t.Fatal(err)
	}
	file("criu", "#!/bin/sh\ntrue\n", 0o700) // restored below
	file("podman", "#!/bin/sh\ntest \"$*\" = 'container restore -i new.tar.zst'\n", 0o700)
	shell(fmt.Sprintf("cp -a %s ckpt; mkdir -p ctr; cp -a ckpt ctr/checkpoint; tar -C ctr -c checkpoint | zstd -q > ckpt.tar.zst", im.Dir))
	for _, plugin := range []string{"tell-app", "new-id"} {
		shell(fmt.Sprintf("cp %s .", testenv.Plugin(t, "plugin-sdk/examples/"+plugin+".c")))
	}
	for line := range strings.Lines(graftManual(&graftFlags{}).examples) {
		shell(line)
	}
	if out, err := exec.Command("diff", "-r", im.Dir, filepath.Join(dir, "ckpt3")).CombinedOutput(); err != nil {
		t.Errorf("--remove: %v\n%s", err, out)
	}
	grafted := *im
	grafted.Dir = filepath.Join(dir, "ckpt2")
	grafted.RestoreCRIU(t).MustPass(t)
}
