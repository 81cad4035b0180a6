//go:build linux && amd64 && !faults

package restorer

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// The tests of these names are in controller_faults_test.go: they need fault points, which a program has with the build
// tag "faults" alone.
func TestEveryControllerCallFails(t *testing.T) { withFaultPoints(t) }
func TestEveryPreparationFails(t *testing.T)    { withFaultPoints(t) }
func TestSchedulingFails(t *testing.T)          { withFaultPoints(t) }

func withFaultPoints(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-tags=faults", "-run=^"+t.Name()+"$", "-count=1",
		"-timeout=30m", "-v", ".")
	out, err := cmd.CombinedOutput()
	if passed := bytes.Contains(out, []byte("--- PASS: "+t.Name())); err != nil || !passed {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// What users run has no fault points.
func TestNoFaultPoints(t *testing.T) {
	crpie := filepath.Join(t.TempDir(), "crpie")
	if out, err := exec.Command("go", "build", "-o", crpie, "../cmd/crpie").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	names, err := exec.Command("go", "tool", "nm", crpie).Output()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(names, []byte("crpie/internal/sys.Become")) {
		t.Error("the program has no sys.Become: nm does not show what is asked for")
	}
	if found := regexp.MustCompile(`(?i).*crpie/internal/sys\.fault.*`).FindAll(names, -1); found != nil {
		t.Errorf("the program has fault points:\n%s", bytes.Join(found, []byte("\n")))
	}
}
