//go:build linux

package sdktest

import (
	"os/exec"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// The demonstration checks what its three plugins changed in a process that stock CRIU dumped.
func TestDemo(t *testing.T) {
	testenv.NeedCRIU(t)
	cmd := exec.Command("make", "demo")
	cmd.Dir = root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("make demo: %v\n%s", err, out)
	}
}
