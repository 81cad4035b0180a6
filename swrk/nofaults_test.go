//go:build linux && amd64 && !faults

package swrk

import (
	"bytes"
	"os/exec"
	"testing"
)

// The test of this name is in faults_test.go: it needs fault points, which a program has with the build tag "faults"
// alone.
func TestEveryStepFails(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "test", "-tags=faults", "-run=^TestEveryStepFails$", "-count=1",
		"-v", ".")
	out, err := cmd.CombinedOutput()
	if passed := bytes.Contains(out, []byte("--- PASS: TestEveryStepFails")); err != nil || !passed {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}
