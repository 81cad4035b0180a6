package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// CRPIE builds crpie as make build does, but with its symbols, and gives the path. It is alone in its directory, which
// PATH can name.
func CRPIE(tb testing.TB) string {
	tb.Helper()
	crpie := filepath.Join(tb.TempDir(), "crpie")
	build := exec.Command("go", "build", "-trimpath", "-o", crpie, "./cmd/crpie")
	build.Dir, build.Env = Root(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("go build: %v\n%s", err, out)
	}
	return crpie
}
