//go:build linux

package testenv

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// leavesVariable makes TestKilledTestLeavesNothing the one that is killed.
const leavesVariable = "CRPIE_TEST_LEAVES"

// A test binary that is killed leaves nothing: no victim, not its child that has dropped mark and session leader, no
// other process with a mark, no cgroup, no file.
func TestKilledTestLeavesNothing(t *testing.T) {
	NeedRoot(t)
	if os.Getenv(leavesVariable) != "" {
		leave(t)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), leavesVariable+"=1", "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer cmd.Wait()
	line, err := bufio.NewReader(out).ReadString('\n')
	cmd.Process.Kill()
	var run, session, folder string
	if n, _ := fmt.Sscan(line, &run, &session, &folder); n != 3 {
		t.Fatalf("it says %q: %v", line, err)
	}
	for end := time.Now().Add(Timeout); ; time.Sleep(5 * time.Millisecond) {
		left := remains(run, session, folder)
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("left behind: %v", left)
		}
	}
}

// A program in namespaces of its own has pids of its own; its status is passed on; nothing outlives it when it is
// killed.
func TestInNamespaces(t *testing.T) {
	NeedRoot(t)
	script := filepath.Join(Root(), "scripts", "in-namespaces")
	err := exec.Command(script, "sh", "-c", "exit $$").Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() < 2 || exit.ExitCode() > 9 {
		t.Errorf("%v, want a small pid", err)
	}
	cmd := exec.Command(script, "sh", "-c", "setsid sleep 1001 & echo; wait")
	mark := Mark()
	cmd.Env = append(os.Environ(), mark)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Error(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	_, mark, _ = strings.Cut(mark, "=")
	for end := time.Now().Add(Timeout); len(Leftovers(mark)) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("left behind: %v", Leftovers(mark))
		}
	}
}

// leave starts what would stay behind, says what to look for, and waits to be killed.
func leave(t *testing.T) {
	p := StartCommand(t, "mother", "/bin/sh", "-c", "env -i sleep 1001 & echo READY $$; wait")
	other := exec.Command("setsid", "sleep", "1001")
	other.Env = append(os.Environ(), Mark())
	must(t, other.Start())
	for _, mount := range cgroupMounts() {
		if name := filepath.Join(mount, CgroupName(), "inner"); os.MkdirAll(name, 0o755) == nil {
			must(t, os.WriteFile(filepath.Join(name, "cgroup.procs"), fmt.Append(nil, other.Process.Pid),
				0))
			break
		}
	}
	fmt.Println(runID, p.Pid, filepath.Dir(p.Out))
	select {}
}

// remains lists what there is of a run.
func remains(run, session, folder string) (left []string) {
	for _, pid := range leftBy(run, map[string]bool{session: true}) {
		left = append(left, fmt.Sprintf("process %d", pid))
	}
	for _, mount := range cgroupMounts() {
		dirs, _ := filepath.Glob(filepath.Join(mount, cgroupPrefix(run)+"*"))
		left = append(left, dirs...)
	}
	if _, err := os.Stat(folder); err == nil {
		left = append(left, folder)
	}
	return left
}
