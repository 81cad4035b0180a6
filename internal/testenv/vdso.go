//go:build linux

package testenv

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
)

// WithVDSO is a dump as another kernel's would be: with another vDSO in every task. Everything else is in the parent
// directory.
func (im *Images) WithVDSO(tb testing.TB, other func(dumped []byte) []byte) *Images {
	tb.Helper()
	changed := *im
	changed.Dir = tb.TempDir()
	must(tb, os.Symlink(im.Dir, filepath.Join(changed.Dir, "parent")))
	entries, err := os.ReadDir(im.Dir)
	must(tb, err)
	for _, e := range entries {
		if name := e.Name(); !strings.HasPrefix(name, "pages-") && !strings.HasPrefix(name, "pagemap-") {
			must(tb, os.Link(filepath.Join(im.Dir, name), filepath.Join(changed.Dir, name)))
		}
	}
	dir, err := images.Open(os.DirFS(im.Dir))
	must(tb, err)
	for _, task := range dir.Tasks {
		if task.Mm != nil {
			replaceVDSO(tb, dir, task, changed.Dir, other)
		}
	}
	for id := range dir.Shmem {
		rewritePagemap(tb, dir.Shmem[id], changed.Dir, 0, 0, nil)
	}
	return &changed
}

// replaceVDSO gives one task another vDSO, no larger than the dumped one, and writes its mappings and page map anew.
func replaceVDSO(tb testing.TB, dir *images.Dir, task *images.Task, out string, other func([]byte) []byte) {
	tb.Helper()
	var start, end uint64
	var image []byte
	for i, v := range task.Mm.Vmas {
		if v.GetStatus()&images.VmaVdso == 0 {
			continue
		}
		start, end = v.GetStart(), v.GetEnd()
		image = other(vdsoOf(tb, dir, task, start, end))
		v.End = pb.Uint64(start + uint64(len(image)))
		if before := task.Mm.Vmas[i-1]; before.GetStatus()&images.VmaVvar != 0 && v.GetEnd() != end {
			before.Start = pb.Uint64(before.GetStart() + 2*images.PageSize) // as before Linux 6.13
		}
	}
	if start+uint64(len(image)) > end {
		tb.Fatalf("no room for a vDSO of %d bytes", len(image))
	}
	var b bytes.Buffer
	name := fmt.Sprintf("mm-%d.img", task.Pid)
	must(tb, images.WriteImage(&b, name, "MM", task.Mm))
	must(tb, os.Remove(filepath.Join(out, name))) // it is a link
	must(tb, os.WriteFile(filepath.Join(out, name), b.Bytes(), 0o600))
	rewritePagemap(tb, task.Pagemap, out, start, end, image)
}

// vdsoOf reads the dumped vDSO of a task.
func vdsoOf(tb testing.TB, dir *images.Dir, task *images.Task, start, end uint64) []byte {
	tb.Helper()
	pieces, err := dir.Pieces(task.Pagemap)
	must(tb, err)
	for _, p := range pieces {
		if p.Vaddr <= start && p.End() >= end {
			data, err := dir.Read(p.Cut(start, end).Range())
			must(tb, err)
			return data
		}
	}
	tb.Fatalf("task %d: its vDSO is not in the images", task.Pid)
	return nil
}

// rewritePagemap leaves all pages in the parent but those from start to end, in whose place image comes.
func rewritePagemap(tb testing.TB, pm *images.Pagemap, out string, start, end uint64, image []byte) {
	tb.Helper()
	var b bytes.Buffer
	w, err := images.NewWriter(&b, pm.Name, "PAGEMAP")
	must(tb, err)
	must(tb, w.Write(&pb.PagemapHead{PagesId: pb.Uint32(pm.PagesID)}, nil))
	entry := func(from, to uint64, flags uint32) {
		if from < to {
			must(tb, w.Write(&pb.PagemapEntry{Vaddr: &from,
				CompatNrPages: pb.Uint32(uint32((to - from) / images.PageSize)), Flags: &flags}, nil))
		}
	}
	for _, r := range pm.Runs {
		entry(r.Vaddr, min(r.End(), max(start, r.Vaddr)), images.PageInParent)
		if r.Vaddr <= start && start < r.End() {
			entry(start, start+uint64(len(image)), images.PagePresent)
		}
		entry(max(r.Vaddr, min(end, r.End())), r.End(), images.PageInParent)
	}
	must(tb, os.WriteFile(filepath.Join(out, pm.Name), b.Bytes(), 0o600))
	must(tb, os.WriteFile(filepath.Join(out, pm.PagesFile), image, 0o600))
}

// MarkVDSO makes the same vDSO with another note: as one of another build of the same kernel.
func MarkVDSO(tb testing.TB) func([]byte) []byte {
	return func(dumped []byte) []byte {
		file, err := elf.NewFile(bytes.NewReader(dumped))
		must(tb, err)
		other := bytes.Clone(dumped)
		for _, p := range file.Progs {
			if p.Type == elf.PT_NOTE {
				other[p.Off+p.Filesz-1] ^= 0xff
			}
		}
		return other
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
