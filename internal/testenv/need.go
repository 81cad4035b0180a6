//go:build linux

package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Need is the only way for a test to be skipped: what names the missing thing. Where the tests are known to be able to
// run (CI, or CRPIE_TEST_REQUIRE set), the missing thing is a failure.
func Need(tb testing.TB, ok bool, what string) {
	tb.Helper()
	if ok {
		return
	}
	if os.Getenv("CI") != "" || os.Getenv("CRPIE_TEST_REQUIRE") != "" {
		tb.Fatalf("missing: %s", what)
	}
	tb.Skipf("missing: %s", what)
}

// NeedRoot is for tests that dump or restore.
func NeedRoot(tb testing.TB) {
	tb.Helper()
	Need(tb, os.Geteuid() == 0, "root")
}

// NeedTool is for compilers and interpreters. It returns the path.
func NeedTool(tb testing.TB, names ...string) string {
	tb.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Need(tb, false, names[0])
	return ""
}

// Root is the directory of the repository.
var Root = sync.OnceValue(func() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for d := dir; d != "/"; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d
		}
	}
	panic("testenv: no go.mod above " + dir)
})
