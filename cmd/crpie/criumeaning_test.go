//go:build linux && amd64

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// The command of --exec-cmd has crpie's pid and is the parent of what was restored.
func TestExecCmd(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	status, output := tool(t, im, "restore", "-D", im.Dir, "--exec-cmd", "--", "sh", "-c",
		fmt.Sprintf(`grep PPid /proc/%d/status; echo "me $$"; exit 3`, im.Pid))
	var parent, shell int
	fmt.Sscanf(output, "PPid:\t%d\nme %d\n", &parent, &shell)
	if status != 3 || parent == 0 || parent != shell {
		t.Errorf("status %d\n%s", status, output)
	}
	im.Adopt(t).MustPass(t)
	status, output = tool(t, im, "restore", "-D", im.Dir, "--exec-cmd", "--", "/no/such/command")
	if left := im.Leftovers(); status != exitFailed || !strings.Contains(output, "--exec-cmd: ") || len(left) > 0 {
		t.Errorf("status %d, left %v\n%s", status, left, output)
	}
}

// With --log-pid what plugins log is in a file for each process, and the rest in the log.
func TestLogPid(t *testing.T) {
	im := testenv.Start(t, "tree", "3").Dump(t)
	dir := t.TempDir()
	p, output := restore(t, im, "-W", dir, "-o", "log", "--log-pid", "-v4", "--pie-plugin", trace(t))
	main, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil || output != "" || bytes.Contains(main, []byte("trace: PIE_RST")) ||
		!bytes.Contains(main, []byte("let them go")) {
		t.Errorf("%v, printed %q, log:\n%s", err, output, main)
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "log.*"))
	for _, name := range logs {
		pid := strings.TrimPrefix(filepath.Ext(name), ".")
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if !strings.Contains(line, ") "+pid+": trace: PIE_RST_") {
				t.Errorf("%s has %q", name, line)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, fmt.Sprintf("log.%d", p.Pid))); err != nil || len(logs) < 3 {
		t.Errorf("logs %v", logs)
	}
	p.MustPass(t)
}

// -R takes -s back, and the other way round.
func TestLeaveRunning(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	p, _ := restore(t, im, "-s", "--leave-running")
	p.MustPass(t)
}

func TestNoFileLocks(t *testing.T) {
	im := testenv.Start(t, "locks").Dump(t)
	for flag, want := range map[string]bool{"-l": true, "--no-file-locks": false} {
		status, output := tool(t, im, "restore", "-D", im.Dir, "--dry-run", flag)
		if got := strings.Contains(output, "lock of a range"); status != exitOK || got != want {
			t.Errorf("%s: status %d, locks in the plan: %v", flag, status, got)
		}
	}
}

// --close lets go of a descriptor before crpie does anything, so that whoever reads from its other end is not kept
// waiting.
func TestClose(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	im := testenv.Start(t, "static").Dump(t)
	cmd := im.Command(t, os.Args[0], "restore", "-D", im.Dir, "--close", "3", "--exec-cmd", "--", "sh", "-c",
		"[ ! -e /proc/self/fd/3 ]")
	cmd.Env = append(cmd.Env, asTool+"=1")
	cmd.ExtraFiles = []*os.File{w}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) || err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	im.Adopt(t).MustPass(t)
	w.Close()
	if _, err := r.Read(make([]byte, 1)); err == nil {
		t.Error("the pipe has an end left")
	}
}

// crpie's own options stand in criu's files in a form that criu skips.
func TestConfigurationServesBoth(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	conf := filepath.Join(t.TempDir(), "both.conf")
	text := "restore-detached\nlog-file \"criu.log\" # in the work directory\n#crpie: pie-plugin " + trace(t) + "\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	im.RestoreCRIU(t, "--config", conf).MustPass(t)
	status, output := tool(t, im, "restore", "-D", im.Dir, "--config", conf, "-o", "/dev/stderr", "-v3")
	if status != exitOK || !strings.Contains(output, "trace: PIE_RST_PRE_SIGRETURN: ") {
		t.Errorf("status %d\n%s", status, output)
	}
	im.Adopt(t).MustPass(t)
}
