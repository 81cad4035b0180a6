//go:build linux

package testenv

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/crpie/crpie/internal/sys"
)

// guardVariable makes a test binary a guardian: it outlives the one that started it, and ends what that has left
// behind, which happens when it was killed or panicked. A victim cannot watch for that by itself: CRIU would dump
// PR_SET_PDEATHSIG. The value is the run to guard.
const guardVariable = "CRPIE_TEST_GUARD"

func init() {
	if run := os.Getenv(guardVariable); run != "" {
		guard(run, os.Stdin)
		os.Exit(0)
	}
}

// runID begins the marks of all victims of this test binary.
var runID = rand.Text()

// newMark returns a value for markVariable.
func newMark() string { return runID + rand.Text() }

// Mark is a variable for the environment of processes that are no victims, so that they do not outlive a killed test
// binary.
func Mark() string {
	watch("")
	return markVariable + "=" + newMark()
}

// CgroupName returns the name of a cgroup of the test's own, in any hierarchy. Pids would not do: they repeat in each
// namespace. The test removes it; if it is killed, the guardian does.
func CgroupName() string {
	watch("")
	return cgroupPrefix(runID) + rand.Text()
}

func cgroupPrefix(run string) string { return "crpie-test-" + run + "-" }

// Messages to the guardian, a line each. Programs that overwrite their environment, and with it the mark, are found
// by session.
const (
	saySession = "session "
	sayEnded   = "ended "
	sayFolder  = "folder "
)

// watched tells the guardian about a victim and its folder, and at the end of the test that they are gone.
func watched(tb testing.TB, p *Process) {
	watch(sayFolder + filepath.Dir(filepath.Dir(p.Out))) // the test's: it has a number for each TempDir
	watch(saySession + strconv.Itoa(p.Pid))
	tb.Cleanup(func() { watch(sayEnded + strconv.Itoa(p.Pid)) })
}

// watch sends a line to the guardian, which it starts before the first one.
func watch(line string) {
	if _, err := fmt.Fprintln(guardian(), line); err != nil {
		panic("testenv: the guardian has ended: " + err.Error())
	}
}

// guardian starts one and returns its standard input, which the kernel closes when this process ends, however it
// does. It has a session of its own, so that Ctrl-C does not reach it, and is its parent's child, so that tests can
// wait for all of theirs. The first process of a pid namespace cannot have such a sibling, clone(2), and needs none:
// all others end with it.
var guardian = sync.OnceValue(func() io.Writer {
	if os.Getpid() == 1 {
		return io.Discard
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), guardVariable+"="+runID)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_PARENT}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		panic("testenv: guardian: " + err.Error())
	}
	return in
})

// guard listens until the test binary has ended, and then cleans up after it. Nobody reads what goes wrong.
func guard(run string, from io.Reader) {
	sessions, folders := map[string]bool{}, map[string]bool{}
	for in := bufio.NewScanner(from); in.Scan(); {
		if session, ok := strings.CutPrefix(in.Text(), saySession); ok {
			sessions[session] = true
		} else if session, ok := strings.CutPrefix(in.Text(), sayEnded); ok {
			delete(sessions, session)
		} else if folder, ok := strings.CutPrefix(in.Text(), sayFolder); ok {
			folders[folder] = true
		}
	}
	killAll(run, sessions)
	removeCgroups(cgroupPrefix(run))
	for folder := range folders {
		os.RemoveAll(folder)
	}
}

// killAll ends processes until there are none: what is killed may just have started another one.
func killAll(run string, sessions map[string]bool) {
	for end := time.Now().Add(Timeout); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		left := leftBy(run, sessions)
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// leftBy lists the living processes of a run.
func leftBy(run string, sessions map[string]bool) []int {
	var pids []int
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range entries {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if s := stat(pid); err == nil && s[0] != "Z" && s[0] != "" && (sessions[s[3]] || markedFrom(pid, run)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// markedFrom tells whether a process carries a mark that begins so.
func markedFrom(pid int, run string) bool {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && strings.Contains("\x00"+string(env), "\x00"+markVariable+"="+run)
}

// removeCgroups removes the trees of cgroups whose name begins so, from the leaves on, in all hierarchies: tests make
// them at the top, runc below its own.
func removeCgroups(prefix string) {
	for _, dir := range append(cgroupMounts(), CgroupDirs(os.Getpid())...) {
		roots, _ := filepath.Glob(filepath.Join(dir, prefix+"*"))
		for _, root := range roots {
			removeCgroup(root)
		}
	}
}

// removeCgroup removes a tree of cgroups from the leaves on. A cgroup that has children or live processes cannot be
// removed (cgroup-v2.rst), so it waits for those that have been killed.
func removeCgroup(root string) {
	var dirs []string
	filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for i := len(dirs) - 1; i >= 0; i-- {
		err := os.Remove(dirs[i])
		for end := time.Now().Add(Timeout); err != nil && !os.IsNotExist(err) &&
			time.Now().Before(end); err = os.Remove(dirs[i]) {
			time.Sleep(time.Millisecond) // the killed are still leaving
		}
	}
}

// cgroupMounts lists where cgroups are mounted, proc_pid_mountinfo(5).
func cgroupMounts() []string {
	var mounts []string
	data, _ := os.ReadFile("/proc/self/mountinfo")
	for m := range sys.Mounts(string(data)) {
		if strings.HasPrefix(m.Type, "cgroup") {
			mounts = append(mounts, m.Point)
		}
	}
	return mounts
}
