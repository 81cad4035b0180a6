package trust

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// Who may own a file, and who may write it.
func TestCheck(t *testing.T) {
	testenv.NeedRoot(t)
	t.Setenv("SUDO_UID", "1001")
	t.Setenv("PKEXEC_UID", "4294967295x")
	dir := t.TempDir()
	for i, c := range []struct {
		mode     fs.FileMode
		uid, gid int
		want     string
	}{
		{0o644, 0, 0, ""},
		{0o400, 0, 7, ""},
		{0o644, 1001, 1001, ""},
		{0o664, 1001, 1001, ""},
		{0o664, 0, 1001, ""},
		{0o664, 1001, 100, "mode 0664 lets others write it,"},
		{0o664, 0, 0, ""},
		{0o664, 0, 5, "mode 0664 lets others write it,"},
		{0o646, 1001, 1001, "mode 0646 lets others write it"},
		{0o602, 0, 0, "mode 0602 lets others write it"},
		{0o666 | fs.ModeSticky, 0, 0, "mode 0666 lets others write it"},
		{0o600, 1002, 0, "belongs to user 1002,"},
		{0o600, 1<<32 - 2, 0, "belongs to user 4294967294,"},
		{0o755 | fs.ModeDir, 0, 0, ""},
		{0o777 | fs.ModeDir, 0, 0, "mode 0777 lets others write it"},
		{0o777 | fs.ModeDir | fs.ModeSticky, 0, 0, ""},
		{0o777 | fs.ModeDir | fs.ModeSticky, 1002, 0, "belongs to user 1002,"},
	} {
		name := filepath.Join(dir, string(rune('a'+i)))
		make := func() error { return os.WriteFile(name, nil, 0o600) }
		if c.mode.IsDir() {
			make = func() error { return os.Mkdir(name, 0o700) }
		}
		if err := errors.Join(make(), os.Chown(name, c.uid, c.gid), os.Chmod(name, c.mode)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		err = Rule{Option: "--so"}.Check(info)
		const way = ", or say --so"
		if (err == nil) != (c.want == "") ||
			err != nil && (!strings.HasPrefix(err.Error(), c.want) ||
				!strings.HasSuffix(err.Error(), way)) {
			t.Errorf("%v %d:%d: %v, want %q", c.mode, c.uid, c.gid, err, c.want)
		}
		if err := (Rule{Untrusted: true}).Check(info); err != nil {
			t.Error(err)
		}
	}
}
