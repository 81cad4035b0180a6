//go:build linux && amd64

package main

import (
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// The status is the program's, and the report says what ran.
func TestTryProgram(t *testing.T) {
	plugin := testenv.Plugin(t, "plugin-sdk/examples/trace.c")
	status, out, stderr := crpie(t, "try", "--stages", "pre-sigreturn", plugin, "--", "/bin/sh", "-c", "exit 7")
	if status != 7 || out != "" || !strings.Contains(stderr, "1 thread, at main") ||
		!strings.Contains(stderr, "trace: hook PIE_RST_PRE_SIGRETURN, thread ") {
		t.Errorf("status %d, %s%s", status, out, stderr)
	}
	status, out, stderr = crpie(t, "try", "-f", "json", plugin, "--", "/bin/true")
	if status != 0 || stderr != "" || !strings.Contains(out, `"ok": true`) ||
		!strings.Contains(out, `"hook": "PIE_RST_TASK_CREATED"`) {
		t.Errorf("status %d, %s%s", status, out, stderr)
	}
}

// All that is wrong with the arguments comes at once.
func TestTryArguments(t *testing.T) {
	status, _, stderr := crpie(t, "try", "--at", "later", "--stages", "X", "-f", "xml", "--tree")
	for _, want := range []string{`"later" is no moment`, `stage "X" is not known`, "give the object of a plugin",
		"give -- PROGRAM, or -p PID", "--tree needs -p PID", `unknown format "xml"`} {
		if status != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("status %d, %s; want %q", status, stderr, want)
		}
	}
	if status, _, stderr := crpie(t, "try", "x.o", "-p", "1", "--at", "main", "--", "true"); status != exitUsage ||
		!strings.Contains(stderr, "not both") || !strings.Contains(stderr, "--at is about") {
		t.Errorf("status %d, %s", status, stderr)
	}
}
