package files_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/crpie/crpie/internal/files"
)

func TestOpenRegular(t *testing.T) {
	dir := t.TempDir()
	fifo, plain := filepath.Join(dir, "fifo"), filepath.Join(dir, "plain")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(plain, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		dir:         "open " + dir + ": it is a directory, not a regular file",
		fifo:        "open " + fifo + ": it is a FIFO, not a regular file",
		"/dev/zero": "open /dev/zero: it is a device, not a regular file",
		plain:       "<nil>",
		"/none":     "open /none: no such file or directory",
	} {
		f, info, err := files.OpenRegular(name)
		if fmt.Sprint(err) != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		if err == nil && (info.Size() != 4 || f.Close() != nil) {
			t.Errorf("%s: %d bytes", name, info.Size())
		}
	}
	for name, want := range map[string]string{
		dir: "<nil>", fifo: "open " + fifo + ": it is a FIFO, not a directory",
		plain: "open " + plain + ": it is a regular file, not a directory",
	} {
		if root, err := files.OpenDir(name); fmt.Sprint(err) != want || err == nil && root.Close() != nil {
			t.Errorf("OpenDir %s: %v, want %s", name, err, want)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(os.DevNull, link); err != nil {
		t.Fatal(err)
	}
	if !files.IsNull(link) || !files.IsNull(os.DevNull) || files.IsNull("/dev/zero") || files.IsNull(plain) ||
		files.IsNull("/none") {
		t.Error("IsNull takes another file for /dev/null, or not /dev/null")
	}
	if got := files.Kind(fs.ModeSymlink | 0o777); got != "symbolic link" {
		t.Errorf("a symbolic link is called %s", got)
	}
}

// Names and links, absolute ones as well, lead through the root that is given, and never out of it.
func TestOpenBelow(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	write := func(name, text string) {
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err == nil {
			err = os.WriteFile(name, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(outside, "file")
	write(secret, "outside")
	write(filepath.Join(root, "lib/file"), "inside")
	for link, to := range map[string]string{
		"absolute": "/lib/file", "dir": "/lib", "up": "../../../../../../lib/file", "out": secret,
		"far": "../../../../../.." + secret, "null": "/dev/null",
	} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"/lib/file": "inside", "lib/file": "inside", "/absolute": "inside", "/dir/file": "inside",
		"/up": "inside", "/../lib/file": "inside",
		"/out": "", "/far": "", "/null": "", secret: "", "/lib": "", "/none": "",
	} {
		r, size, err := files.OpenBelow(root)(name)
		if want == "" {
			if err == nil {
				t.Errorf("%s leads to a file of %d bytes", name, size)
			}
			continue
		}
		got := make([]byte, len(want))
		if err == nil {
			_, err = r.ReadAt(got, 0)
		}
		if err != nil || string(got) != want || size != int64(len(want)) {
			t.Errorf("%s: %q of %d bytes, %v", name, got, size, err)
		}
	}
	if _, size, err := files.OpenBelow("/")(secret); err != nil || size != 7 {
		t.Errorf("%d bytes, %v", size, err)
	}
}

// What Stat describes below a root is what Open opens.
func TestStatAndOpenAgree(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600), os.Mkdir(filepath.Join(dir, "dir"), 0o700),
		os.WriteFile(filepath.Join(dir, "plain"), []byte("text"), 0o600), os.Symlink("plain", filepath.Join(dir, "link")),
		os.Symlink("/etc/passwd", filepath.Join(dir, "out"))); err != nil {
		t.Fatal(err)
	}
	root, err := files.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	fsys := files.FS(root)
	for name, opens := range map[string]bool{"plain": true, "link": true, "dir": true, ".": true, "fifo": false,
		"out": false, "none": false, "../x": false, "/plain": false} {
		info, err := fs.Stat(fsys, name)
		f, openErr := fsys.Open(name)
		if (err == nil) != opens || (openErr == nil) != opens {
			t.Errorf("%s: %v, opened: %v", name, err, openErr)
		}
		if openErr != nil {
			continue
		}
		defer f.Close()
		if same, err := f.Stat(); err != nil || !os.SameFile(info, same) {
			t.Errorf("%s: %v is described, opened %v, %v", name, info, same, err)
		}
	}
}
