//go:build linux

package sdktest

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// README's first five minutes, as an ordinary user does them.
func TestFirstPlugin(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"make", "cc", "python3", "gdb"} {
		testenv.NeedTool(t, tool)
	}
	crpie := testenv.CRPIE(t)
	if out, err := exec.Command(filepath.Join(root(t), "scripts", "first-plugin"), crpie).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
