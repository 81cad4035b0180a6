//go:build linux && amd64 && !faults

package swrk

import (
	"bytes"
	"os/exec"
	"testing"
)

// The tests of these names are in faults_test.go: they need fault points, which a program has with the build tag
// "faults" alone.
func TestEveryStepFails(t *testing.T)       { withFaultPoints(t) }
func TestEveryCallOfUndoFails(t *testing.T) { withFaultPoints(t) }

func withFaultPoints(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-tags=faults", "-run=^"+t.Name()+"$", "-count=1",
		"-v", ".")
	out, err := cmd.CombinedOutput()
	if passed := bytes.Contains(out, []byte("--- PASS: "+t.Name())); err != nil || !passed {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}
