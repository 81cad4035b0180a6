//go:build linux && amd64

package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/testenv"
)

// asChain writes a dump as a series of incremental ones of so many directories, each the parent of the one before.
// CRIU itself makes such a series only where the kernel tracks changes of memory (CONFIG_MEM_SOFT_DIRTY). Every third
// page of a parent is out of date: a page that was written to again later.
func asChain(t *testing.T, im *testenv.Images, levels int) *testenv.Images {
	t.Helper()
	base := t.TempDir()
	dirs := make([]string, levels)
	for level := range dirs {
		dirs[level] = filepath.Join(base, fmt.Sprint(level))
		if err := os.Mkdir(dirs[level], 0o755); err != nil {
			t.Fatal(err)
		}
		if level+1 < levels {
			if err := os.Symlink(fmt.Sprintf("../%d", level+1),
				filepath.Join(dirs[level], "parent")); err != nil {
				t.Fatal(err)
			}
		}
	}
	entries, err := os.ReadDir(im.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case strings.HasPrefix(name, "pagemap-"):
			splitPages(t, im.Dir, name, dirs)
		case strings.HasPrefix(name, "pages-"):
		default:
			for _, dir := range dirs {
				if err := os.Link(filepath.Join(im.Dir, name), filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(name, "inventory") {
					break // parents have only pages and what all directories have
				}
			}
		}
	}
	chained := *im
	chained.Dir = dirs[0]
	return &chained
}

// splitPages gives each page of a pagemap to one of the directories.
func splitPages(t *testing.T, source, name string, dirs []string) {
	t.Helper()
	pm, err := images.ReadPagemap(os.DirFS(source), name)
	if err != nil {
		t.Fatal(err)
	}
	type level struct {
		entries []*pb.PagemapEntry
		pages   bytes.Buffer
	}
	all := make([]level, len(dirs))
	n := 0
	for _, run := range pm.Runs {
		data, err := images.ReadRange(os.DirFS(source),
			images.Range{File: pm.PagesFile, Offset: run.Offset, Size: int64(run.Pages) * images.PageSize})
		if err != nil {
			t.Fatal(err)
		}
		for i := range run.Pages {
			owner := n * 7 / 16 % len(dirs)
			n++
			for k := range all {
				e := &pb.PagemapEntry{Vaddr: pb.Uint64(run.Vaddr + i*images.PageSize),
					CompatNrPages: pb.Uint32(1)}
				switch {
				case k < owner && k%2 == 0:
					e.Flags = pb.Uint32(images.PageInParent)
				case k < owner: // as before CRIU 3.6
					e.InParent = pb.Bool(true)
				case k == owner:
					e.Flags = pb.Uint32(images.PagePresent)
					all[k].pages.Write(data[i*images.PageSize:][:images.PageSize])
				case n%3 == 0:
					e.Flags = pb.Uint32(images.PagePresent)
					all[k].pages.Write(bytes.Repeat([]byte("stale"),
						images.PageSize)[:images.PageSize])
				default: // the task did not have it yet
					continue
				}
				all[k].entries = append(all[k].entries, e)
			}
		}
	}
	for k, dir := range dirs {
		var b bytes.Buffer
		w, err := images.NewWriter(&b, name, "PAGEMAP")
		if err == nil {
			err = w.Write(&pb.PagemapHead{PagesId: pb.Uint32(pm.PagesID)}, nil)
		}
		for _, e := range all[k].entries {
			if err == nil {
				err = w.Write(e, nil)
			}
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, pm.PagesFile), all[k].pages.Bytes(), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// blocks is what the pages files of a directory take on disk.
func blocks(t *testing.T, dir string) (total int64) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "pages-*.img"))
	for _, f := range files {
		var st unix.Stat_t
		if err := unix.Stat(f, &st); err != nil {
			t.Fatal(err)
		}
		total += st.Blocks
	}
	return total
}

// Pages that are in parents, several levels up, are found there; also after `criu dedup` has punched holes into what
// is out of date. CRIU restores the same images.
func TestRestoreChain(t *testing.T) {
	testenv.NeedCRIU(t)
	for name, levels := range map[string]int{"threads": 5, "tree": 5, "memfd": 5, "glibc": 5, "static": 60} {
		t.Run(name, func(t *testing.T) {
			im := asChain(t, testenv.Start(t, name).Dump(t), levels)
			p, _ := restore(t, im, "--pie-plugin", trace(t))
			p.MustPass(t)
			im.RestoreCRIU(t).MustPass(t)

			last := filepath.Join(filepath.Dir(im.Dir), fmt.Sprint(levels-1))
			before := blocks(t, last)
			im.CRIU(t, "dedup", "-D", im.Dir)
			if after := blocks(t, last); after >= before {
				t.Fatalf("criu dedup has punched no hole: %d blocks, then %d", before, after)
			}
			digestBefore := digest(t, filepath.Dir(im.Dir))
			p, _ = restore(t, im, "--pie-plugin", trace(t))
			p.MustPass(t)
			if digest(t, filepath.Dir(im.Dir)) != digestBefore {
				t.Error("the images have changed")
			}
			im.RestoreCRIU(t).MustPass(t)
		})
	}
}

// Huge pages in parent directories, where CRIU does not find them.
func TestRestoreHugeChain(t *testing.T) {
	testenv.NeedCRIU(t)
	p, _ := restore(t, asChain(t, testenv.Start(t, "huge").Dump(t), 3))
	p.MustPass(t)
}

// Files of a hugetlbfs are mapped as other files are, but with huge pages.
func TestRestoreHugeFiles(t *testing.T) {
	testenv.NeedCRIU(t)
	dir := t.TempDir()
	must(t, unix.Mount("none", dir, "hugetlbfs", 0, ""))
	defer unix.Unmount(dir, unix.MNT_DETACH)
	im := testenv.Start(t, "huge", dir).Dump(t)
	p, _ := restore(t, im, "--pie-plugin", trace(t))
	p.MustPass(t)
	im.RestoreCRIU(t).MustPass(t)
	p, _ = restore(t, im)
	again := p.Dump(t)
	p, _ = restore(t, again)
	p.MustPass(t)
}

// Memory that a parent task and its children share is still shared when its pages come from several directories.
func TestChainSharesMemory(t *testing.T) {
	testenv.NeedCRIU(t)
	whole := testenv.Start(t, "tree", "6").Dump(t)
	p, _ := restore(t, whole)
	want := testenv.PSS(t, p.Pid)
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	p, _ = restore(t, asChain(t, whole, 3))
	if got := testenv.PSS(t, p.Pid); got > want+want/20 {
		t.Errorf("the tree needs %d KiB, restored from a whole dump %d", got, want)
	}
}

// A graft refers to the dump by a link "parent": crpie restores it as CRIU does, and the grafted hooks run. So does a
// graft onto a chain.
func TestRestoreGraft(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "threads").Dump(t)
	for name, base := range map[string]*testenv.Images{"dump": im, "chain": asChain(t, im, 3)} {
		t.Run(name, func(t *testing.T) {
			p, _ := restore(t, graftOnto(t, base, traced(t)...))
			p.MustPass(t)
			wantTraced(t, p.Output(), p.Pid, threadsIn(p.Output()))
		})
	}
}

// A restored task is dumped and restored again, whatever it came from.
func TestDumpChainAgain(t *testing.T) {
	testenv.NeedCRIU(t)
	p, _ := restore(t, asChain(t, testenv.Start(t, "tree").Dump(t), 3))
	again := p.Dump(t)
	again.RestoreCRIU(t).MustPass(t)
	p, _ = restore(t, asChain(t, again, 2))
	p.MustPass(t)
}

func TestChainRefusals(t *testing.T) {
	im := testenv.Start(t, "static").Dump(t)
	for name, tc := range map[string]struct {
		damage func(t *testing.T, dir string)
		want   string
	}{
		"no parent": {func(t *testing.T, dir string) { must(t, os.RemoveAll(filepath.Join(dir, "..", "1"))) },
			`which is missing`},
		"a file": {func(t *testing.T, dir string) {
			must(t, os.RemoveAll(filepath.Join(dir, "..", "1")))
			must(t, os.WriteFile(filepath.Join(dir, "..", "1"), nil, 0o600))
		}, "1: it is a regular file, not a directory"},
		"loop": {func(t *testing.T, dir string) {
			must(t, os.Symlink("../0", filepath.Join(dir, "..", "2", "parent")))
		},
			`0: the link "parent" leads back here: a directory cannot be its own ancestor`},
		"itself": {func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, "parent")))
			must(t, os.Symlink(".", filepath.Join(dir, "parent")))
		}, `0: the link "parent" leads back here: a directory cannot be its own ancestor`},
		"long": {func(t *testing.T, dir string) {
			for i := 2; i < 300; i++ {
				must(t, os.MkdirAll(filepath.Join(dir, "..", fmt.Sprint(i+1)), 0o755))
				must(t, os.Symlink(fmt.Sprintf("../%d", i+1),
					filepath.Join(dir, "..", fmt.Sprint(i), "parent")))
			}
		}, "256: more than 256 directories in a chain of parents"},
		"link to itself": {func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, "parent")))
			must(t, os.Symlink("parent", filepath.Join(dir, "parent")))
		}, "too many links"},
		"no pagemap": {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "..", "1"), "pagemap-") },
			"parent directory: images pagemap-"},
		"no pages": {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "..", "2"), "pages-") },
			"field pages_id: pages-1.img: no such file or directory"},
		"fifo": {func(t *testing.T, dir string) {
			names := remove(t, filepath.Join(dir, "..", "1"), "pagemap-")
			must(t, unix.Mkfifo(names[0], 0o600))
		}, "it is a FIFO, not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			chain := asChain(t, im, 3)
			tc.damage(t, chain.Dir)
			status, output := tool(t, chain, "restore", "-d", "-D", chain.Dir)
			if status != exitFailed || !strings.Contains(output, tc.want) {
				t.Errorf("status %d, output:\n%s\nwant %s", status, output, tc.want)
			}
			if left := chain.Leftovers(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// remove deletes files of a directory and gives their paths.
func remove(t *testing.T, dir, prefix string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), prefix) })
	if len(entries) == 0 {
		t.Fatalf("%s has no %s*", dir, prefix)
	}
	var names []string
	for _, e := range entries {
		names = append(names, filepath.Join(dir, e.Name()))
		must(t, os.Remove(names[len(names)-1]))
	}
	return names
}
