package graft

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
)

// grafted writes a sample and its graft below a new directory.
func grafted(t *testing.T, alone bool) (source, out string) {
	t.Helper()
	dir := t.TempDir()
	source, out = filepath.Join(dir, "source"), filepath.Join(dir, "out")
	files := sample(t, "static")
	if err := os.CopyFS(source, files); err != nil {
		t.Fatal(err)
	}
	opts := options(t)
	opts.Copy = alone
	plan, err := New(open(t, files), opts)
	if err == nil {
		err = plan.WriteDir(t.Context(), source, out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return source, out
}

// forge changes what a graft says about itself.
func forge(t *testing.T, dir string, change func(p *Provenance)) {
	t.Helper()
	p, err := ReadProvenance(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	change(p)
	data, err := json.Marshal(p)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, ProvenanceFile), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// relink makes name in dir a symbolic link.
func relink(t *testing.T, target, dir, name string) {
	t.Helper()
	os.Remove(filepath.Join(dir, name))
	if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// snapshotOf lists a directory with its contents.
func snapshotOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		b.WriteString(path + "\n")
		if err == nil && e.Type().IsRegular() {
			data, _ := os.ReadFile(path)
			b.Write(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A directory that lies about where it comes from, or leads out of itself, gives an error: nothing is written, and
// nothing elsewhere is read, linked or removed.
func TestRemoveBelievesNoDirectory(t *testing.T) {
	for _, c := range []struct {
		name  string
		alone bool
		forge func(t *testing.T, dir, secret string)
		want  string
	}{
		{"parent leads elsewhere", false, func(t *testing.T, dir, secret string) {
			relink(t, secret, dir, "parent")
		}, "is not the directory that was grafted"},
		{"nothing to compare", false, func(t *testing.T, dir, secret string) {
			relink(t, secret, dir, "parent")
			forge(t, dir, func(p *Provenance) { p.Replaced = nil })
		}, "no graft writes that"},
		{"the digest of a file elsewhere", false, func(t *testing.T, dir, secret string) {
			relink(t, secret, dir, "parent")
			forge(t, dir, func(p *Provenance) { p.Replaced = []Replaced{{"key", digestOf("secret")}} })
		}, "inventory.img"},
		{"an unknown mode", false, func(t *testing.T, dir, secret string) {
			forge(t, dir, func(p *Provenance) { p.Mode = "hostile" })
		}, "no graft writes that"},
		{"a path that climbs", true, func(t *testing.T, dir, secret string) {
			forge(t, dir, func(p *Provenance) {
				p.Replaced = []Replaced{{"../secret/key", digestOf("secret")}}
			})
		}, "is not the name of an image"},
		{"an image that is a link", true, func(t *testing.T, dir, secret string) {
			forge(t, dir, func(p *Provenance) {
				p.Inserted = []Inserted{{File: "pages-9.img", Offset: 0, Size: 0, Total: 6}}
			})
			relink(t, filepath.Join(secret, "key"), dir, "pages-9.img")
		}, "pages-9.img"},
		{"originals elsewhere", true, func(t *testing.T, dir, secret string) {
			if err := os.RemoveAll(filepath.Join(dir, originals)); err != nil {
				t.Fatal(err)
			}
			relink(t, secret, dir, originals)
			forge(t, dir, func(p *Provenance) { p.Replaced = []Replaced{{"key", digestOf("secret")}} })
		}, "graft crpie-graft.orig/key"},
		{"a FIFO in the place of an image", true, func(t *testing.T, dir, secret string) {
			if err := syscall.Mkfifo(filepath.Join(dir, originals, "x.img"), 0o600); err != nil {
				t.Fatal(err)
			}
			forge(t, dir, func(p *Provenance) { p.Replaced = append(p.Replaced, Replaced{"x.img", ""}) })
		}, "it is a FIFO, not a regular file"},
		{"a FIFO in the place of its description", true, func(t *testing.T, dir, secret string) {
			os.Remove(filepath.Join(dir, ProvenanceFile))
			if err := syscall.Mkfifo(filepath.Join(dir, ProvenanceFile), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "it is a FIFO, not a regular file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, dir := grafted(t, c.alone)
			base := filepath.Dir(dir)
			secret := filepath.Join(base, "secret")
			if err := os.CopyFS(secret, fstest.MapFS{"key": {Data: []byte("secret"),
				Mode: 0o600}}); err != nil {
				t.Fatal(err)
			}
			c.forge(t, dir, secret)
			before, back := snapshotOf(t, secret), filepath.Join(base, "back")
			if err := Remove(t.Context(), dir, back); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if snapshotOf(t, secret) != before {
				t.Error("what lies elsewhere has changed")
			}
			left, _ := filepath.Glob(filepath.Join(base, "*back*"))
			hidden, _ := filepath.Glob(filepath.Join(base, ".back*"))
			if len(left)+len(hidden) > 0 {
				t.Errorf("left behind: %v %v", left, hidden)
			}
		})
	}
}

// Mode and owner of the output are those of the input, whatever the umask.
func TestOutputIsLikeTheInput(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	for _, mode := range []fs.FileMode{0o755, 0o700, 0o750} {
		for _, alone := range []bool{false, true} {
			source, _ := grafted(t, alone)
			if err := os.Chmod(source, mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(source, "inventory.img"), 0o644); err != nil {
				t.Fatal(err)
			}
			uid := os.Getuid()
			if uid == 0 {
				uid = 12345
				for _, name := range []string{source, filepath.Join(source, "inventory.img")} {
					if err := os.Chown(name, uid, uid); err != nil {
						t.Fatal(err)
					}
				}
			}
			out, back := source+"2", source+"3"
			opts := options(t)
			opts.Copy = alone
			plan, err := New(open(t, sample(t, "static")), opts)
			if err == nil {
				err = plan.WriteDir(t.Context(), source, out)
			}
			if err == nil {
				err = Remove(t.Context(), out, back)
			}
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]fs.FileMode{out: mode, filepath.Join(out, ProvenanceFile): 0o644, back: mode}
			if alone {
				want[filepath.Join(out, originals)] = mode
			}
			for name, mode := range want {
				info, err := os.Stat(name)
				if err != nil {
					t.Fatal(err)
				}
				if got := info.Sys().(*syscall.Stat_t); info.Mode().Perm() != mode ||
					int(got.Uid) != uid {
					t.Errorf("copy=%v %s: mode %v owner %d, want %v and %d", alone,
						filepath.Base(name), info.Mode(), got.Uid, mode, uid)
				}
			}
		}
	}
}

func digestOf(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// So is that of an archive, and a file that is added to one is like its inventory.
func TestArchiveIsLikeTheInput(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.tar"), filepath.Join(dir, "out.tar")
	if err := os.WriteFile(in, checkpointTar(t, sample(t, "static")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(in, 0o664); err != nil {
		t.Fatal(err)
	}
	if _, err := Archive(t.Context(), in, out, options(t)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(out)
	if err != nil || info.Mode().Perm() != 0o664 {
		t.Errorf("%v, %v", info, err)
	}
}
