//go:build linux && amd64

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/testenv"
)

// running is a crpie that somebody sends signals to.
type running struct {
	*exec.Cmd
	mu  sync.Mutex
	out bytes.Buffer
}

func (r *running) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(b)
}

func (r *running) output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// start starts a restore and does not wait for it.
func start(t *testing.T, im *testenv.Images, args ...string) *running {
	t.Helper()
	r := &running{Cmd: im.Command(t, os.Args[0], append([]string{"restore", "-D", im.Dir}, args...)...)}
	r.Env = append(r.Env, asTool+"=1")
	r.Stdout, r.Stderr = r, r
	must(t, r.Start())
	return r
}

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(testenv.Timeout); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not after %v: %s", testenv.Timeout, what)
		}
	}
}

func (r *running) says(t *testing.T, text string) {
	t.Helper()
	await(t, text, func() bool { return strings.Contains(r.output(), text) })
}

// ends waits for its end and gives the exit status, 128+N if signal N has ended it.
func (r *running) ends() int {
	_ = r.Wait()
	if ws := r.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return r.ProcessState.ExitCode()
}

// belongings are what a restore makes outside the tasks: cgroups, the files of sockets, names of deleted files for a
// moment.
type belongings struct {
	im      *testenv.Images
	cgroups cgroups
}

func dumpBelongings(t *testing.T, victim string) *belongings {
	t.Helper()
	b := &belongings{cgroups: newCgroups(t)}
	p := testenv.Start(t, victim)
	b.cgroups.make(t, dumped)
	join(t, b.cgroups.inner, p.Pid)
	b.im = p.Dump(t)
	b.cgroups.remove(t)
	return b
}

// wantNone: nothing is left of a restore that somebody has ended.
func (b *belongings) wantNone(t *testing.T, when string) {
	t.Helper()
	if left := b.im.Leftovers(); len(left) > 0 {
		t.Errorf("%s: processes are left: %v", when, left)
	}
	if left := b.im.Stray(t); len(left) > 0 {
		t.Errorf("%s: files are left: %v", when, left)
	}
	if state := b.cgroups.state(); state != "gone" {
		t.Errorf("%s: a cgroup is left", when)
	}
}

// A signal that ends crpie before the tasks are let go undoes the restore, whatever it is at.
func TestEndedRestore(t *testing.T) {
	plugin := testenv.Plugin(t, "testdata/plugins/fail.c")
	b := dumpBelongings(t, "unix")
	for i, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGPIPE, syscall.SIGTERM, syscall.SIGTERM} {
		stage := stageOrder[i]
		r := start(t, b.im, "-v3", "--pie-plugin", plugin+",how=hang,stage="+stage, "--pidfile", "pid", "-W",
			filepath.Dir(b.im.Out()))
		r.says(t, "hang in task")
		must(t, r.Process.Signal(sig))
		status, output := r.ends(), r.output()
		if status != 128+int(sig) || sig != syscall.SIGPIPE &&
			!strings.Contains(output, "crpie: restore: ended by SIG") {
			t.Errorf("%v at %s: status %d\n%s", sig, stage, status, output)
		}
		b.wantNone(t, fmt.Sprintf("%v at %s", sig, stage))
	}
	p, _ := restore(t, b.im)
	p.MustPass(t)
}

// A log that nobody reads any more ends a restore like a signal.
func TestClosedLog(t *testing.T) {
	b := dumpBelongings(t, "unix")
	read, write, err := os.Pipe()
	must(t, err)
	read.Close()
	defer write.Close()
	cmd := b.im.Command(t, os.Args[0], "restore", "-D", b.im.Dir, "-v4")
	cmd.Env, cmd.Stderr = append(cmd.Env, asTool+"=1"), write
	err = cmd.Run()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok ||
		ws.ExitStatus() != 128+int(syscall.SIGPIPE) && ws.Signal() != syscall.SIGPIPE {
		t.Errorf("crpie restore with a closed log: %v", err)
	}
	b.wantNone(t, "closed log")
}

// At whatever moment crpie is ended or killed: either nothing is left but what docs/restore.md names, or the tasks run.
// CRPIE_TEST_ENDS is how often it is tried.
func TestRandomEnds(t *testing.T) {
	testenv.NeedCRIU(t)
	ends, ended := 44, 0
	if n, err := strconv.Atoi(os.Getenv("CRPIE_TEST_ENDS")); err == nil {
		ends = n
	}
	victims := []string{"unix", "deleted", "static", "glibc", "threads", "tree", "inet", "memfd", "ptys", "fifo",
		"python"}
	for i, name := range victims {
		t.Run(name, func(t *testing.T) {
			b, mounts := dumpBelongings(t, name), readFile(t, "/proc/self/mountinfo")
			usual := b.usual(t)
			for range (ends + i) / len(victims) {
				ended += b.endAtRandom(t, usual)
			}
			if now := readFile(t, "/proc/self/mountinfo"); now != mounts {
				t.Errorf("mounts before:\n%s\nafter:\n%s", mounts, now)
			}
			p, _ := restore(t, b.im)
			p.MustPass(t)
		})
	}
	t.Logf("%d of %d restores were ended", ended, ends)
	if ended == 0 {
		t.Error("no restore was ended")
	}
}

// usual is how long a restore takes.
func (b *belongings) usual(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	p, _ := restore(t, b.im)
	defer b.cgroups.remove(t)
	defer func() { must(t, p.Kill()) }()
	return time.Since(began)
}

// endAtRandom gives 1 if a signal has ended a restore before its tasks ran.
func (b *belongings) endAtRandom(t *testing.T, usual time.Duration) int {
	t.Helper()
	r := start(t, b.im, "-d")
	time.Sleep(rand.N(2 * usual)) // any moment will do
	sig := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGKILL}[rand.IntN(4)]
	must(t, r.Process.Signal(sig))
	status := r.ends()
	switch {
	case sig == syscall.SIGKILL:
		b.settle(t)
		b.removeNamed(t)
	case status == 0:
		must(t, b.im.Adopt(t).Kill())
		b.cgroups.remove(t)
		return 0
	case status != 128+int(sig):
		t.Errorf("status %d after %v:\n%s", status, sig, r.output())
	}
	b.wantNone(t, sig.String())
	return 1
}

// removeNamed removes what may stay after SIGKILL: cgroups, files of unix sockets, empty names of deleted files.
func (b *belongings) removeNamed(t *testing.T) {
	t.Helper()
	b.cgroups.remove(t)
	for _, path := range b.im.Stray(t) {
		if info, err := os.Lstat(path); err == nil && (!info.Mode().IsRegular() || info.Size() == 0) {
			must(t, os.Remove(path))
		}
	}
}

// What is left of a restore whose crpie was killed is in no later one's way, and the cgroup's properties come back.
func TestKilledRestores(t *testing.T) {
	testenv.NeedCRIU(t)
	plugin := testenv.Plugin(t, "testdata/plugins/fail.c")
	for _, name := range []string{"unix", "deleted"} {
		t.Run(name, func(t *testing.T) {
			b := dumpBelongings(t, name)
			for range 20 {
				r := start(t, b.im, "-d")
				time.Sleep(rand.N(60 * time.Millisecond)) // any moment will do
				b.kill(t, r)
			}
			r := start(t, b.im, "-d", "-v3", "--pie-plugin", plugin+",how=hang,stage=POST_FILES")
			r.says(t, "hang in task")
			b.kill(t, r)
			if b.cgroups.state() == "gone" {
				t.Fatal("this is no test of what is left")
			}
			named := b.named(t)
			p, _ := restore(t, b.im)
			if state := b.cgroups.state(); state != dumped {
				t.Errorf("%s is %s, want %s", property, state, dumped)
			}
			if len(named) > 0 { // the victim looks for them
				must(t, p.Kill())
				b.removeNamed(t)
				p, _ = restore(t, b.im)
			}
			p.MustPass(t)
		})
	}
}

// kill kills a crpie.
func (b *belongings) kill(t *testing.T, r *running) {
	t.Helper()
	must(t, r.Process.Kill())
	r.ends()
	b.settle(t)
}

// named lists the names that a deleted file had at the moment of a SIGKILL. While they are there it comes back with
// another.
func (b *belongings) named(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(b.im.Stray(t), func(path string) bool {
		info, err := os.Lstat(path)
		return err == nil && info.Mode()&os.ModeSocket != 0
	})
}

// settle waits until the tasks of a crpie that was killed are gone as well, or run, and ends those.
func (b *belongings) settle(t *testing.T) {
	t.Helper()
	await(t, "the tasks are gone or run", func() bool {
		pid, err := 1, error(nil)
		for pid > 0 {
			pid, err = syscall.Wait4(-1, nil, syscall.WNOHANG|syscall.WALL, nil)
		}
		return err == syscall.ECHILD || keepsRunning(b.im.Pid)
	})
	if keepsRunning(b.im.Pid) { // it was too late
		must(t, b.im.Adopt(t).Kill())
	}
}

// In the foreground the restored process gets the signals that crpie gets, and crpie ends as it does.
func TestSignalsArePassedOn(t *testing.T) {
	im := testenv.Start(t, "signals", "all").Dump(t)
	r := start(t, im, "-v3")
	r.says(t, "restored")
	got := func(sig syscall.Signal) {
		t.Helper()
		must(t, r.Process.Signal(sig))
		want := fmt.Sprintf("GOT %d\n", sig)
		await(t, want, func() bool {
			out, err := os.ReadFile(im.Out())
			return err == nil && strings.Contains(string(out), want)
		})
	}
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM,
		syscall.SIGUSR2, syscall.SIGTSTP} {
		got(sig)
	}
	await(t, "crpie stops, too", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.Process.Pid))
		return err == nil && strings.Contains(string(stat), ") T ")
	})
	got(syscall.SIGCONT)
	must(t, r.Process.Signal(syscall.SIGPIPE)) // is nothing to the process
	must(t, r.Process.Signal(syscall.SIGUSR1))
	out := func() string { data, _ := os.ReadFile(im.Out()); return string(data) }
	if status := r.ends(); status != 0 || !strings.HasSuffix(out(), "\nPASS\n") {
		t.Errorf("status %d\n%s\n%s", status, r.output(), out())
	}
}

// A signal that the process does not catch ends it, and crpie says so.
func TestSignalEndsProcess(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	r := start(t, im, "-v3")
	r.says(t, "restored")
	must(t, r.Process.Signal(syscall.SIGTERM))
	if status := r.ends(); status != 128+int(syscall.SIGTERM) {
		t.Errorf("status %d\n%s", status, r.output())
	}
	if left := im.Leftovers(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What crpie was told to ignore, as by nohup(1), neither ends a restore nor reaches the process.
func TestIgnoredSignal(t *testing.T) {
	im := testenv.Start(t, "signals").Dump(t)
	cmd := im.Command(t, "/bin/sh", "-c", `trap "" HUP; exec "$@"`, "sh", os.Args[0], "restore", "-D", im.Dir,
		"-v3")
	r := &running{Cmd: cmd}
	cmd.Env, cmd.Stdout, cmd.Stderr = append(cmd.Env, asTool+"=1"), r, r
	must(t, cmd.Start())
	r.says(t, "restored")
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1} {
		must(t, cmd.Process.Signal(sig))
	}
	out := func() string { data, _ := os.ReadFile(im.Out()); return string(data) }
	if status := r.ends(); status != 0 || !strings.HasSuffix(out(), "\nPASS\n") || strings.Contains(out(), "GOT") {
		t.Errorf("status %d\n%s\n%s", status, r.output(), out())
	}
}

// keepsRunning tells a task that runs from one that PTRACE_O_EXITKILL is just ending.
func keepsRunning(pid int) bool {
	if !runs(pid) {
		return false
	}
	time.Sleep(50 * time.Millisecond)
	return runs(pid)
}

// runs reports whether a process has been let go: nothing of crpie's is mapped in it, and nobody traces it.
func runs(pid int) bool {
	maps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return len(maps) > 0 && !strings.Contains(string(maps), "memfd:crpie") &&
		strings.Contains(string(status), "\nTracerPid:\t0\n")
}

// A graft that is ended leaves nothing, also while it waits for the rest of an archive.
func TestEndedGraft(t *testing.T) {
	dir := t.TempDir()
	fifo, out := filepath.Join(dir, "fifo"), filepath.Join(dir, "out")
	must(t, syscall.Mkfifo(fifo, 0o600))
	cmd := exec.Command(os.Args[0], "graft", "--archive", fifo, "-o", out, "--pie-plugin", trace(t))
	cmd.Env = append(os.Environ(), asTool+"=1")
	r := &running{Cmd: cmd}
	cmd.Stdout, cmd.Stderr = r, r
	must(t, cmd.Start())
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0) // it has come so far
	must(t, err)
	defer w.Close()
	_, err = w.Write(make([]byte, 512))
	must(t, err)
	await(t, "it has read", func() bool { return waiting(t, w) == 0 })
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	if status := r.ends(); status != 128+int(syscall.SIGTERM) || !strings.Contains(r.output(), "ended by SIGTERM") {
		t.Errorf("status %d\n%s", status, r.output())
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// SIGQUIT ends what only reads, without the stacks of Go's goroutines.
func TestQuitReaders(t *testing.T) {
	for _, command := range []string{"check", "inspect"} {
		read, write, err := os.Pipe()
		must(t, err)
		defer write.Close()
		r := &running{Cmd: exec.Command(os.Args[0], command, "-")}
		r.Env, r.Stdin, r.Stdout, r.Stderr = append(os.Environ(), asTool+"=1"), read, r, r
		must(t, r.Start())
		read.Close()
		_, err = write.Write(make([]byte, 512))
		must(t, err)
		await(t, "it has read", func() bool { return waiting(t, write) == 0 })
		must(t, r.Process.Signal(syscall.SIGQUIT))
		if status := r.ends(); status != 128+int(syscall.SIGQUIT) || r.output() != "" {
			t.Errorf("%s: status %d\n%s", command, status, r.output())
		}
	}
}

// waiting is how much is in a pipe that nobody has read.
func waiting(t *testing.T, pipe *os.File) int {
	t.Helper()
	n, err := unix.IoctlGetInt(int(pipe.Fd()), unix.TIOCINQ)
	must(t, err)
	return n
}

// What crpie link cannot write to its end is not left half written.
func TestLinkLeavesNothingHalf(t *testing.T) {
	testenv.NeedRoot(t)
	full := t.TempDir()
	must(t, syscall.Mount("crpie-test", full, "tmpfs", 0, "size=4096"))
	t.Cleanup(func() { must(t, syscall.Unmount(full, 0)) })
	status, _, stderr := crpie(t, "link", "-o", filepath.Join(full, "image"), trace(t))
	if status != exitFailed || !strings.Contains(stderr, "no space left on device") {
		t.Errorf("status %d, %s", status, stderr)
	}
	if entries, _ := os.ReadDir(full); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
}

// A crpie that is killed when the kernel does not yet kill its tasks with it: they end by themselves.
func TestKilledBeforeTasksAreTraced(t *testing.T) {
	for _, flag := range []string{"-d", "-S"} {
		b := dumpBelongings(t, "static")
		for range 30 {
			r := start(t, b.im, "-d", flag, "-v4")
			r.says(t, "start the zygote")
			time.Sleep(rand.N(4 * time.Millisecond)) // any moment will do
			b.kill(t, r)
			b.cgroups.remove(t)
		}
	}
}
