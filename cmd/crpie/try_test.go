//go:build linux && amd64

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// The status is the program's, and the report says what ran.
func TestTryProgram(t *testing.T) {
	plugin := testenv.Plugin(t, "plugin-sdk/examples/trace.c")
	status, out, stderr := crpie(t, "try", "--stages", "pre-sigreturn", plugin, "--", "/bin/sh", "-c", "exit 7")
	if status != 7 || out != "" || !strings.Contains(stderr, "1 thread, at main") ||
		!strings.Contains(stderr, "trace: hook PIE_RST_PRE_SIGRETURN, thread ") ||
		!strings.Contains(stderr, ": trace: PIE_RST_PRE_SIGRETURN: stage=PRE_SIGRETURN") { // pr_info
		t.Errorf("status %d, %s%s", status, out, stderr)
	}
	status, out, stderr = crpie(t, "try", "-v2", "-f", "json", plugin, "--", "/bin/true")
	if status != 0 || stderr != "" || !strings.Contains(out, `"ok": true`) ||
		!strings.Contains(out, `"hook": "PIE_RST_TASK_CREATED"`) {
		t.Errorf("status %d, %s%s", status, out, stderr)
	}
}

// apart runs crpie in a process of its own: this one waits for victims, and a wait of any thread takes what a tracer
// waits for, wait(2).
func apart(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(executable(t), args...)
	cmd.Env = append(os.Environ(), asTool+"=1")
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if failed := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(failed)
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// A rehearsal says what would have been, and leaves the process alone.
func TestTryRehearsal(t *testing.T) {
	victim := testenv.Start(t, "threads")
	plugin := testenv.Plugin(t, "testdata/plugins/change.c")
	pid, out := strconv.Itoa(victim.Pid), filepath.Join(t.TempDir(), "report")
	status, _, stderr := apart(t, "try", "-p", pid, "--rehearse", "--trace", "-o", out, plugin+",then=null")
	text, err := os.ReadFile(out)
	if err != nil || status != 1 || !strings.Contains(stderr, "crashed with SIGSEGV at address 0x0") {
		t.Errorf("status %d, %v, %s", status, err, stderr)
	}
	for _, want := range []string{", and not changed: the hooks ran in a copy\n", "    chdir(\"/\") = 0\n",
		": new: /dev/null, position 0, flags 0100002\n", "  signal SIGUSR2: SIG_DFL -> SIG_IGN\n", "new: r--p\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	if info, err := os.Stat(out); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	status, json, stderr := apart(t, "try", "-p", pid, "--diff", "-f", "json",
		testenv.Plugin(t, "plugin-sdk/examples/trace.c"))
	if status != 0 || !strings.Contains(json, `"memory_bytes": 0`) || strings.Contains(json, `"rehearsed"`) {
		t.Errorf("status %d, %s%s", status, json, stderr)
	}
	victim.MustPass(t)
}

// All that is wrong with the arguments comes at once.
func TestTryArguments(t *testing.T) {
	status, _, stderr := crpie(t, "try", "--at", "later", "--stages", "X", "-f", "xml", "--tree", "--rehearse")
	for _, want := range []string{`"later" is no moment`, `stage "X" is not known`, "give the object of a plugin",
		"give -- PROGRAM, or -p PID", "--tree needs -p PID", "--rehearse needs -p PID", `unknown format "xml"`} {
		if status != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("status %d, %s; want %q", status, stderr, want)
		}
	}
	if status, _, stderr := crpie(t, "try", "x.o", "-p", "1", "--at", "main", "--", "true"); status != exitUsage ||
		!strings.Contains(stderr, "not both") || !strings.Contains(stderr, "--at is about") {
		t.Errorf("status %d, %s", status, stderr)
	}
}
