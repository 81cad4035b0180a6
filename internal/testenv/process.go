//go:build linux

package testenv

import (
	"bytes"
	"errors"
	"fmt"
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
)

// markVariable is in the environment of every process that belongs to a victim; a restored process has it too.
const markVariable = "CRPIE_TEST_MARK"

// Process is a running victim, in its own session, with its output in a file.
type Process struct {
	Pid  int
	Dir  string // its working directory
	Out  string // its standard output and error
	Mark string // markVariable's value

	Connected bool    // it has TCP connections
	Release   Release // of the CRIU that dumps it; empty: Stable
	Init      bool    // it is process 1 of a pid namespace of its own

	done   chan struct{} // closed when it is gone
	status error         // after done: nil for exit status 0, or unknown
}

// becomeReaper makes orphans (a restored process whose restorer has exited) children of this process, so that it can
// wait for them and their pids become free. PR_SET_CHILD_SUBREAPER: prctl(2).
var becomeReaper = sync.OnceFunc(func() {
	const setChildSubreaper = 36
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		panic("testenv: PR_SET_CHILD_SUBREAPER: " + errno.Error())
	}
})

// KeepDescriptors keeps from the victims whatever descriptors a shell or editor has let this process inherit: CRIU
// may not know the mounts of their files, and they are no part of any test.
var KeepDescriptors = sync.OnceFunc(func() {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
})

// Start starts a victim and waits until it is ready. It is killed when the test ends.
func Start(tb testing.TB, name string, args ...string) *Process {
	tb.Helper()
	switch name {
	case "huge":
		reserveHugePages(tb)
	case "ping":
		allowPing(tb)
	}
	p := StartCommand(tb, name, append(Victim(tb, name), args...)...)
	p.Connected = name == "tcp" || slices.Contains(args, "connected")
	if slices.Contains(newVictims, name) {
		p.Release = Newest
	}
	return p
}

// StartIn starts a victim in namespaces of its own, CLONE_NEW* of clone(2).
func StartIn(tb testing.TB, namespaces uintptr, name string, args ...string) *Process {
	tb.Helper()
	return startCommand(tb, name, namespaces, append(Victim(tb, name), args...))
}

// StartCommand starts a program of another package that prints READY as victims do.
func StartCommand(tb testing.TB, name string, argv ...string) *Process {
	tb.Helper()
	return startCommand(tb, name, 0, argv)
}

// startCommand starts a program in a session of its own: criu dumps only whole sessions without --shell-job. Its
// environment holds a mark, by which whatever it leaves can be found.
func startCommand(tb testing.TB, name string, namespaces uintptr, argv []string) *Process {
	tb.Helper()
	becomeReaper()
	KeepDescriptors()
	dir := tb.TempDir()
	p := &Process{Dir: filepath.Join(dir, "work"), Out: filepath.Join(dir, "out"), Mark: newMark(),
		Init: namespaces&syscall.CLONE_NEWPID != 0}
	p.done = make(chan struct{})
	if err := os.Mkdir(p.Dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	out, err := os.Create(p.Out)
	if err != nil {
		tb.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.Dir, out, out
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/", "LANG=C", markVariable + "=" + p.Mark}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: namespaces}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	p.Pid = cmd.Process.Pid
	go func() {
		p.status = cmd.Wait()
		close(p.done)
	}()
	watched(tb, p)
	cleanUp(tb, p)
	p.waitReady(tb, name)
	return p
}

// Inside is the pid that the process has for itself.
func (p *Process) Inside() int {
	if p.Init {
		return 1
	}
	return p.Pid
}

// waitReady waits for the line with the pid that the program has in its own pid namespace.
func (p *Process) waitReady(tb testing.TB, name string) {
	tb.Helper()
	want := fmt.Sprintf("READY %d\n", p.Inside())
	for end := time.Now().Add(Timeout); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if strings.HasSuffix(p.Output(), want) {
			return
		}
		if p.Gone() {
			break
		}
	}
	tb.Fatalf("victim %s does not get ready:\n%s", name, p.Output())
}

// Output is what the process has written so far.
func (p *Process) Output() string {
	data, err := os.ReadFile(p.Out)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// Gone reports whether the process has ended and been waited for.
func (p *Process) Gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// WaitGone waits for the end of the process.
func (p *Process) WaitGone() error {
	select {
	case <-p.done:
		return nil
	case <-time.After(Timeout):
		return fmt.Errorf("process %d is still there after %v", p.Pid, Timeout)
	}
}

// Settle waits until the process sleeps in the system call in which the dump met it: a snapshot taken earlier may show
// SIGUSR1 as blocked, which it is not while a victim waits for it. For victims that do sleep.
func (p *Process) Settle() error {
	for end := time.Now().Add(Timeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
		s := Snapshot{}
		if err := s.statOf(fmt.Sprintf("/proc/%d", p.Pid), "", map[int]string{3: "state"}); err != nil {
			return err
		}
		if s["state"] == "S" {
			return nil
		}
	}
	return fmt.Errorf("process %d does not go to sleep", p.Pid)
}

// Finish lets the victim go on, check itself and exit. The error has what it found.
func (p *Process) Finish() error {
	if err := syscall.Kill(p.Pid, syscall.SIGUSR1); err != nil {
		return fmt.Errorf("process %d: cannot send SIGUSR1: %w; its output:\n%s", p.Pid, err, p.Output())
	}
	if err := p.WaitGone(); err != nil {
		return fmt.Errorf("%w; its output:\n%s", err, p.Output())
	}
	if p.status != nil || !strings.HasSuffix(p.Output(), "\nPASS\n") {
		return fmt.Errorf("process %d: %v; its output:\n%s", p.Pid, p.status, p.Output())
	}
	return nil
}

// MustPass is Finish for a process that has to be right.
func (p *Process) MustPass(tb testing.TB) {
	tb.Helper()
	if err := p.Finish(); err != nil {
		tb.Fatal(err)
	}
}

// family lists the descendants of a process.
func family(pid int) []int {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		panic(err)
	}
	var all []int
	for _, file := range files {
		data, _ := os.ReadFile(file) // the thread may have ended
		for _, word := range strings.Fields(string(data)) {
			if child, err := strconv.Atoi(word); err == nil {
				all = append(append(all, child), family(child)...)
			}
		}
	}
	return all
}

// Kill ends the process and its descendants without asking them.
func (p *Process) Kill() error {
	if p.Gone() {
		return nil
	}
	descendants := map[int]string{}
	for _, pid := range family(p.Pid) {
		descendants[pid] = started(pid)
	}
	defer func() {
		for pid, start := range descendants {
			if start != "" && started(pid) == start {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		for pid := range descendants { // a child is ours to collect only when its parent is gone
			reap(pid)
		}
	}()
	if !marked(p.Pid, p.Mark) { // somebody else's by now
		return p.WaitGone()
	}
	if err := syscall.Kill(p.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return p.WaitGone()
}

// cleanUp kills p at the end of the test and then everything that carries its mark; that there was more is an error.
func cleanUp(tb testing.TB, p *Process) {
	tb.Cleanup(func() {
		if err := p.Kill(); err != nil {
			tb.Error(err)
		}
		left := append(Leftovers(p.Mark), orphans(p.Pid)...)
		for _, pid := range left {
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			tb.Errorf("process %d (%s) was left behind", pid, strings.TrimSpace(string(name)))
			syscall.Kill(pid, syscall.SIGKILL)
		}
		for _, pid := range left {
			reap(pid)
		}
	})
}

// orphans lists the living children of this process in the session that a victim has led, which is gone. Servers that
// show their state in their title have overwritten their environment, and with it the mark.
func orphans(session int) []int {
	var pids []int
	children, _ := filepath.Glob("/proc/self/task/*/children")
	for _, file := range children {
		list, _ := os.ReadFile(file)
		for _, word := range strings.Fields(string(list)) {
			if pid, err := strconv.Atoi(word); err == nil && stat(pid)[3] == strconv.Itoa(session) &&
				stat(pid)[0] != "Z" && pid != session {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// stat gives the fields of proc_pid_stat(5) from the state on, which is the third; empty ones if there is no such
// process.
func stat(pid int) []string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	return append(fields, make([]string, max(0, 20-len(fields)))...)
}

// started is when a process was started; no two of the same id were at the same time.
func started(pid int) string { return stat(pid)[19] }

// Leftovers lists the living processes that carry the mark of a victim.
func Leftovers(mark string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		panic(err)
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && marked(pid, mark) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func marked(pid int, mark string) bool {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && strings.Contains("\x00"+string(env), "\x00"+markVariable+"="+mark+"\x00")
}

// initOf finds the process 1 of a pid namespace among those that carry a mark.
func initOf(mark string) int {
	for _, pid := range Leftovers(mark) {
		if numbers := strings.Fields(field(pid, "NSpid")); len(numbers) > 1 && numbers[len(numbers)-1] == "1" {
			return pid
		}
	}
	return 0
}

// field gives a line of proc_pid_status(5).
func field(pid int, name string) string {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if key, value, _ := strings.Cut(line, ":"); key == name {
			return value
		}
	}
	return ""
}

// adopt watches a process that somebody else has made. If it is or becomes a child of this one, its exit status is
// collected; otherwise it is gone when /proc says so.
func (p *Process) adopt() {
	defer close(p.done)
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(p.Pid, &status, syscall.WNOHANG|syscall.WALL, nil)
		switch {
		case err == nil && pid == p.Pid && status.Exited() && status.ExitStatus() == 0:
			return
		case err == nil && pid == p.Pid:
			p.status = fmt.Errorf("wait status %#x", int(status))
			return
		case errors.Is(err, syscall.ECHILD) && !marked(p.Pid, p.Mark) && !exists(p.Pid):
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func exists(pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	return err == nil
}

// reap collects a killed orphan, if it is ours to collect.
func reap(pid int) {
	for end := time.Now().Add(Timeout); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		got, err := syscall.Wait4(pid, nil, syscall.WNOHANG|syscall.WALL, nil)
		if got == pid || errors.Is(err, syscall.ECHILD) && !exists(pid) {
			return
		}
	}
}

// Sockets names every socket of the process for criu dump, which looks only for those whose peer it does not dump.
func (p *Process) Sockets(tb testing.TB) (words []string) {
	tb.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.Pid))
	if err != nil {
		tb.Fatal(err)
	}
	for _, link := range links {
		if to, _ := os.Readlink(link); strings.HasPrefix(to, "socket:") {
			words = append(words, "--external", "unix"+strings.TrimPrefix(to, "socket:"))
		}
	}
	return words
}
