package images

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const samples = "../testdata/images"

// sampleNames lists the committed image directories: what CRIU wrote for several programs, without the page contents.
func sampleNames(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(samples)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// sample loads one of them and puts a pages file of zeros where the real one was.
func sample(t testing.TB, name string) fstest.MapFS {
	t.Helper()
	dir := fstest.MapFS{}
	paths, err := filepath.Glob(filepath.Join(samples, name, "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no sample %s: %v", name, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		dir[filepath.Base(path)] = &fstest.MapFile{Data: data}
	}
	addPages(t, dir)
	return dir
}

// addPages makes a pages file of the size that each pagemap needs.
func addPages(t testing.TB, dir fstest.MapFS) {
	t.Helper()
	for _, name := range fileNames(dir) {
		if !strings.HasPrefix(name, "pagemap-") {
			continue
		}
		img, err := Read(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		dir[pagesFile(img)] = &fstest.MapFile{Data: make([]byte, pagesSize(img))}
	}
}

func fileNames(dir fstest.MapFS) []string { return slices.Sorted(maps.Keys(dir)) }

// open decodes a sample that must be right.
func open(t testing.TB, dir fs.FS, parents ...fs.FS) *Dir {
	t.Helper()
	d, err := Open(dir, parents...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// wantError compares the whole report of Open.
func wantError(t *testing.T, dir fs.FS, want ...string) {
	t.Helper()
	_, err := Open(dir)
	if got := fmt.Sprint(err); got != strings.Join(want, "\n") {
		t.Errorf("Open:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

func hexOf(v uint64) string { return fmt.Sprintf("%x", v) }

func decimal(n int) string { return fmt.Sprint(n) }
