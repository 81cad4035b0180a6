//go:build linux && amd64

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/testenv"
)

// Incremental images in an archive are grafted with the links to their parents kept: those that are in the archive, and
// those that whoever restores it brings along. Stock CRIU restores them.
func TestGraftArchiveOfChain(t *testing.T) {
	testenv.NeedCRIU(t)
	for _, c := range []struct {
		name    string
		folders []string
	}{{"whole", []string{"0", "1", "2"}}, {"last dump only", []string{"0"}}} {
		t.Run(c.name, func(t *testing.T) {
			im := asChain(t, testenv.Start(t, "threads").Dump(t), 3)
			base, unpacked := t.TempDir(), t.TempDir()
			archive, grafted, back := filepath.Join(base, "a.tar"), filepath.Join(base, "g.tar"),
				filepath.Join(base, "b.tar")
			execute(t, "tar", append([]string{"-C", filepath.Dir(im.Dir), "-cf", archive}, c.folders...)...)
			status, out := told(t, append([]string{"graft", "--archive", archive, "-o", grafted},
				traced(t)...)...)
			if status != 0 {
				t.Fatal(out)
			}
			if status, out := told(t, "graft", "--remove", "--archive", grafted, "-o", back); status != 0 {
				t.Fatal(out)
			}
			for _, archive := range []string{back, grafted} {
				if err := os.RemoveAll(unpacked); err != nil {
					t.Fatal(err)
				}
				execute(t, "cp", "-a", filepath.Dir(im.Dir), unpacked)
				if err := os.RemoveAll(filepath.Join(unpacked, "0")); err != nil {
					t.Fatal(err)
				}
				execute(t, "tar", "-C", unpacked, "-xf", archive)
				if archive == back {
					execute(t, "diff", "-r", filepath.Join(unpacked, "0"), im.Dir)
				}
			}
			chained := *im
			chained.Dir = filepath.Join(unpacked, "0")
			p := chained.RestoreCRIU(t)
			p.MustPass(t)
			wantTraced(t, p.Output(), p.Pid, threadsIn(p.Output()))
		})
	}
}

func execute(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// Archives of a pod in one call, and back.
func TestGraftSeveralArchives(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "static").Dump(t)
	base := t.TempDir()
	a, b, out, back := filepath.Join(base, "a.tar"), filepath.Join(base, "b.tar"), filepath.Join(base, "out"),
		filepath.Join(base, "back")
	for _, archive := range []string{a, b} {
		execute(t, "tar", "-C", im.Dir, "-cf", archive, ".")
	}
	status, said := told(t, append([]string{"graft", "--archive", a, "--archive", b, "-o", out}, traced(t)...)...)
	if status != 0 || !strings.Contains(said, "archive "+a+":\n") || !strings.Contains(said, "archive "+b+":\n") ||
		strings.Count(said, "grafted task ") != 2 {
		t.Fatalf("status %d\n%s", status, said)
	}
	status, said = told(t, "graft", "--remove", "--archive", filepath.Join(out, "a.tar"), "--archive",
		filepath.Join(out, "b.tar"), "-o", back)
	if status != 0 {
		t.Fatal(said)
	}
	for _, name := range []string{"a", "b"} {
		unpacked := filepath.Join(base, name)
		if err := os.Mkdir(unpacked, 0o700); err != nil {
			t.Fatal(err)
		}
		execute(t, "tar", "-C", unpacked, "-xf", filepath.Join(back, name+".tar"))
		execute(t, "diff", "-r", unpacked, im.Dir)
	}
}

// The state of the vDSO's getrandom is renewed also where its page is in a parent: images of CRIU before 4.2 tell it by
// its contents only.
func TestGraftOfChainRenewsRandomState(t *testing.T) {
	im := allInParent(t, testenv.Start(t, "vgetrandom").Dump(t))
	grafted := graftOnto(t, im, "--pie-plugin", trace(t), "--allow-skipped-stages")
	grafted.RestoreCRIU(t).MustPass(t) // it looks whether its states are fresh
}

// allInParent writes a dump as an incremental one, after which no page has changed.
func allInParent(t *testing.T, im *testenv.Images) *testenv.Images {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "child")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Symlink(im.Dir, filepath.Join(dir, "parent")))
	entries, err := os.ReadDir(im.Dir)
	must(t, err)
	for _, e := range entries {
		switch name := e.Name(); {
		case strings.HasPrefix(name, "pagemap-"):
			referToParent(t, im.Dir, dir, name)
		case !strings.HasPrefix(name, "pages-"):
			must(t, os.Link(filepath.Join(im.Dir, name), filepath.Join(dir, name)))
		}
	}
	child := *im
	child.Dir = dir
	return &child
}

func referToParent(t *testing.T, from, to, name string) {
	t.Helper()
	pm, err := images.ReadPagemap(os.DirFS(from), name)
	must(t, err)
	var b bytes.Buffer
	w, err := images.NewWriter(&b, name, "PAGEMAP")
	must(t, err)
	must(t, w.Write(&pb.PagemapHead{PagesId: pb.Uint32(pm.PagesID)}, nil))
	for _, run := range pm.Runs {
		must(t, w.Write(&pb.PagemapEntry{Vaddr: pb.Uint64(run.Vaddr),
			CompatNrPages: pb.Uint32(uint32(run.Pages)),
			Flags:         pb.Uint32(images.PageInParent)}, nil))
	}
	must(t, os.WriteFile(filepath.Join(to, name), b.Bytes(), 0o600))
	must(t, os.WriteFile(filepath.Join(to, pm.PagesFile), nil, 0o600))
}
