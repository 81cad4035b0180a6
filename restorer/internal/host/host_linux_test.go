//go:build amd64

package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The clocks of a process that has ended are not known.
func TestReadClocks(t *testing.T) {
	name := filepath.Join(t.TempDir(), "timens_offsets")
	const monotonic, boottime = "monotonic           7         5\n", "boottime            8         0\n"
	for text, want := range map[string]*Clocks{
		monotonic + boottime: {7e9 + 5, 8e9}, "": nil, monotonic: nil, boottime: nil,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadClocks(name)
		if (err == nil) != (want != nil) || want != nil && *got != *want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	if _, err := ReadClocks(name + ".missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want %v", err, os.ErrNotExist)
	}
}

// Only regular files are read.
func TestReadFileAt(t *testing.T) {
	dir, b := t.TempDir(), make([]byte, 1)
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(file, []byte("ab"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := readFileAt(file, b, 1); n != 1 || err != nil || b[0] != 'b' {
		t.Errorf("%d, %v, %q", n, err, b)
	}
	for _, name := range []string{pipe, "/dev/zero", dir} {
		if _, err := readFileAt(name, b, 0); err == nil || !strings.HasSuffix(err.Error(), "it is not a regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
