//go:build linux

package testenv

import (
	"path/filepath"
	"testing"
)

// Plugin compiles a C plugin, named relative to the root of the repository, with the SDK's own flags and gives the
// object's path. It has debug information, so that messages name source lines.
func Plugin(tb testing.TB, source string, flags ...string) string {
	tb.Helper()
	object := filepath.Join(tb.TempDir(), filepath.Base(source[:len(source)-len(filepath.Ext(source))])+".o")
	cc := NeedTool(tb, "cc", "gcc")
	args := append([]string{"-O2", "-g", "-fPIC", "-ffreestanding", "-fno-stack-protector", "-fno-common",
		"-fno-lto",
		"-fno-asynchronous-unwind-tables", "-fcf-protection=none", "-Wall", "-Wextra", "-Werror",
		"-I" + filepath.Join(Root(), "plugin-sdk", "include"), "-c", "-o", object}, flags...)
	if err := run(command(tb, cc, append(args, filepath.Join(Root(), source))...), ""); err != nil {
		tb.Fatalf("plugin %s: %v", source, err)
	}
	return object
}
