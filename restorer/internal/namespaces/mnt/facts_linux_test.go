//go:build amd64

package mnt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Only regular files of the tree are read.
func TestReadFileAt(t *testing.T) {
	dir, b := t.TempDir(), make([]byte, 1)
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("ab"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	p := &Plan{mounts: []*mount{{handle: &handle{mount: root}}}}
	if n, err := p.readFileAt("/file", b, 1); n != 1 || err != nil || b[0] != 'b' {
		t.Errorf("%d, %v, %q", n, err, b)
	}
	for _, name := range []string{"/pipe", "/"} {
		_, err := p.readFileAt(name, b, 0)
		if err == nil || err.Error() != "read "+name+": it is not a regular file" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := p.readFileAt("/missing", b, 0); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("missing: %v", err)
	}
}
