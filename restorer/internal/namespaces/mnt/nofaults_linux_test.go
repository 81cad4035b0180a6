//go:build !faults

package mnt

import (
	"bytes"
	"os/exec"
	"testing"
)

// The test of this name is in faults_linux_test.go: it needs fault points, which a program has with the build tag
// "faults" alone.
func TestEveryCallFails(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "test", "-tags=faults", "-run=^TestEveryCallFails$", "-count=1",
		"-timeout=10m", "-v", ".")
	out, err := cmd.CombinedOutput()
	if passed := bytes.Contains(out, []byte("--- PASS: TestEveryCallFails")); err != nil || !passed {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}
