//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// script writes a program that appends what it is told to a log, and fails at the action that $FAIL names.
func script(t *testing.T, dir, name string) string {
	t.Helper()
	text := `#!/bin/sh
there=$(test -d "/proc/$CRTOOLS_INIT_PID/fd" -a -n "$CRTOOLS_INIT_PID" && echo yes || echo no)
images=$(test -e "$CRTOOLS_IMAGE_DIR/inventory.img" && echo yes || echo no)
echo "$(basename "$0") $CRTOOLS_SCRIPT_ACTION pid=$CRTOOLS_INIT_PID there=$there cwd=$PWD pidfile=$(cat pid 2>/dev/null) images=$images" >>"${0%/*}/log"
if [ -e "${0%/*}/fail-$CRTOOLS_SCRIPT_ACTION" ]; then exit 3; fi
`
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// taken reads the log and begins a new one.
func taken(t *testing.T, dir string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "log"))
	if err == nil {
		err = os.Remove(filepath.Join(dir, "log"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// Action scripts run when, how and in the order in which stock CRIU runs them.
func TestActionScripts(t *testing.T) {
	for _, name := range []string{"static", "ipc", "timens", "uts", "cgroups"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			flags := []string{"-W", dir, "--pidfile", "pid", "--action-script", script(t, dir, "one"),
				"--action-script", script(t, dir, "two")}
			im := testenv.Start(t, name, testenv.ControlArgs(name)...).Dump(t)
			if err := im.RestoreCRIU(t, flags...).Kill(); err != nil {
				t.Fatal(err)
			}
			// CRIU closes the image directory before the last action.
			want := regexp.MustCompile(`(post-resume .*images=)no`).ReplaceAllString(
				strings.Join(taken(t, dir), "\n"), "${1}yes")
			if err := os.Remove(filepath.Join(dir, "pid")); err != nil {
				t.Fatal(err)
			}
			p, _ := restore(t, im, flags...)
			p.MustPass(t)
			if got := strings.Join(taken(t, dir), "\n"); got != want ||
				strings.Count(got, "setup-namespaces") == 4 !=
					(name == "ipc" || name == "timens" || name == "uts") {
				t.Errorf("got\n%s\nfrom CRIU\n%s", got, want)
			}
		})
	}
}

// So they do for a tree that has a pid namespace of its own alone.
func TestActionScriptsInPidNamespace(t *testing.T) {
	dir := t.TempDir()
	flags := []string{"-W", dir, "--action-script", script(t, dir, "one")}
	im := testenv.StartIn(t, newPID, "static").Dump(t)
	steps := func() (all []string) {
		for _, line := range taken(t, dir) {
			words := strings.Fields(line)
			all = append(all, words[1]+" "+words[3])
		}
		return all
	}
	if err := im.RestoreCRIU(t, flags...).Kill(); err != nil {
		t.Fatal(err)
	}
	want := steps()
	p, _ := restore(t, im, flags...)
	p.MustPass(t)
	if got := steps(); !slices.Equal(got, want) || !slices.Contains(got, "setup-namespaces there=yes") {
		t.Errorf("got %q, from CRIU %q", got, want)
	}
}

// The time that a script takes is not the tasks': they may stand still as long as it runs.
func TestSlowScripts(t *testing.T) {
	im := testenv.Start(t, "uts").Dump(t)
	dir := t.TempDir()
	slow := filepath.Join(dir, "slow")
	text := "#!/bin/sh\necho $CRTOOLS_SCRIPT_ACTION >>${0%/*}/log\nsleep 2\n"
	if err := os.WriteFile(slow, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	p, _ := restore(t, im, "--progress-timeout", "1s", "--action-script", slow)
	p.MustPass(t)
	if got := taken(t, dir); len(got) != 6 {
		t.Errorf("took %q", got)
	}
}

// A script that fails undoes the restore, but for the last action, when there is nothing to undo any more.
func TestFailingScripts(t *testing.T) {
	for name, victim := range map[string]func() *testenv.Process{
		"IPC namespace": func() *testenv.Process { return testenv.Start(t, "ipc") },
		"pid namespace": func() *testenv.Process { return testenv.StartIn(t, newPID, "static") },
	} {
		t.Run(name, func(t *testing.T) { testFailingScripts(t, victim().Dump(t)) })
	}
}

func testFailingScripts(t *testing.T, im *testenv.Images) {
	dir := t.TempDir()
	flags := []string{"--action-script", script(t, dir, "one"), "--action-script", script(t, dir, "two")}
	for _, action := range []string{"pre-restore", "setup-namespaces", "post-setup-namespaces", "post-restore",
		"pre-resume", "post-resume"} {
		t.Run(action, func(t *testing.T) {
			fail := filepath.Join(dir, "fail-"+action)
			if err := os.WriteFile(fail, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(fail)
			status, output := tool(t, im, append([]string{"restore", "-d", "-D", im.Dir}, flags...)...)
			want := "script " + filepath.Join(dir, "two") + ", " + action + ": exit status 3\n"
			if !strings.Contains(output, want) ||
				!strings.Contains(output, strings.Replace(want, "/two,", "/one,", 1)) {
				t.Errorf("output:\n%s\nwant %s", output, want)
			}
			if action == "post-resume" {
				im.Adopt(t).MustPass(t)
			} else if left := im.Leftovers(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if wanted := map[bool]int{true: exitOK,
				false: exitFailed}[action == "post-resume"]; status != wanted {
				t.Errorf("status %d, want %d", status, wanted)
			}
			log := taken(t, dir)
			if last := log[len(log)-1]; !strings.HasPrefix(last, "one "+action+" ") {
				t.Errorf("the last that ran is %q", last)
			}
		})
	}
	status, output := tool(t, im, "restore", "-d", "-D", im.Dir, "--action-script", "/no/script",
		"--action-script", dir)
	if status != exitFailed || strings.Count(output, "action script: ") != 2 {
		t.Errorf("status %d\n%s", status, output)
	}
}

// A signal that ends a restore ends the script, too, and what that has started.
func TestSignalEndsScript(t *testing.T) {
	dir := t.TempDir()
	hang := filepath.Join(dir, "hang")
	if err := os.WriteFile(hang, []byte(
		"#!/bin/sh\n[ $CRTOOLS_SCRIPT_ACTION = post-restore ] || exit 0\nsleep 1000 & echo $! >${0%/*}/pid\nwait\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	im := testenv.Start(t, "static").Dump(t)
	r := start(t, im, "-d", "--action-script", hang)
	var sleeper int
	await(t, "the script", func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "pid"))
		n, _ := fmt.Sscan(string(b), &sleeper)
		return n == 1
	})
	must(t, r.Process.Signal(syscall.SIGTERM))
	if status := r.ends(); status != 128+int(syscall.SIGTERM) {
		t.Errorf("status %d\n%s", status, r.output())
	}
	await(t, "its end", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", sleeper))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
	if left := im.Leftovers(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
