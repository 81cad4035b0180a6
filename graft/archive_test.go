package graft

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// podman's own files around the images; the second has a header that Go's writer would spell differently.
func checkpointTar(t *testing.T, dir fstest.MapFS) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h tar.Header, data []byte) {
		h.Size, h.ModTime = int64(len(data)), time.Unix(1700000000, 0)
		if h.Mode == 0 {
			h.Mode = 0o600
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	put(tar.Header{Name: "config.dump", Uid: 7}, []byte(`{"id": "x"}`))
	put(tar.Header{Name: "bind.mounts/a", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd",
		Format: tar.FormatGNU}, nil)
	put(tar.Header{Name: "checkpoint/", Typeflag: tar.TypeDir, Mode: 0o700}, nil)
	for _, name := range slices.Sorted(maps.Keys(dir)) {
		put(tar.Header{Name: "checkpoint/" + name, Format: tar.FormatPAX}, dir[name].Data)
	}
	put(tar.Header{Name: "rootfs-diff.tar", Format: tar.FormatUSTAR}, bytes.Repeat([]byte("diff"), 1000))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), make([]byte, 7*512)...) // some tars end with more zeros than they must
}

func packed(t *testing.T, comp compression, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := comp.write(&b)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rawEntries gives the bytes of every entry with headers and padding, by name, and the rest of the file.
func rawEntries(t *testing.T, archive string) (entries map[string]string, rest string, comp compression) {
	t.Helper()
	c, err := openCheckpoint(t.Context(), archive, t.TempDir(), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	tb := c.outer
	all, err := io.ReadAll(io.NewSectionReader(tb.file, 0, 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	entries = map[string]string{}
	for _, e := range tb.entries {
		entries[e.Name] = string(all[e.start:e.end])
	}
	return entries, string(all[tb.end:]), c.comp
}

// Only the images of the grafted task change; there and back again, with every compression.
func TestArchive(t *testing.T) {
	dir := sample(t, "glibc")
	for _, comp := range append(slices.Clone(compressions), plain) {
		if comp.write == nil {
			continue
		}
		t.Run(comp.name, func(t *testing.T) {
			base := t.TempDir()
			in, out, back := filepath.Join(base, "in"), filepath.Join(base, "out"),
				filepath.Join(base, "back")
			if err := os.WriteFile(in, packed(t, comp, checkpointTar(t, dir)), 0o600); err != nil {
				t.Fatal(err)
			}
			plan, err := Archive(t.Context(), in, out, options(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := RemoveArchive(t.Context(), out, back, Limits{}); err != nil {
				t.Fatal(err)
			}
			changed := map[string]bool{}
			for _, f := range plan.Files {
				changed["checkpoint/"+f.Name] = true
			}
			compareEntries(t, in, out, changed)
			compareImages(t, back, dir)
			if left, err := filepath.Glob(filepath.Join(base, ".*")); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func compareEntries(t *testing.T, in, out string, changed map[string]bool) {
	t.Helper()
	was, wasRest, comp := rawEntries(t, in)
	is, rest, compIs := rawEntries(t, out)
	if rest != wasRest || comp.name != compIs.name {
		t.Errorf("the end of the archive has %d bytes, had %d; packed with %s, was %s", len(rest),
			len(wasRest), compIs.name, comp.name)
	}
	for name, raw := range was {
		if (is[name] == raw) == changed[name] {
			t.Errorf("%s: the same: %v, want %v", name, is[name] == raw, !changed[name])
		}
		delete(is, name)
	}
	for name := range is {
		if !changed[name] && name != "checkpoint/crpie-graft.orig/" {
			t.Errorf("%s is new", name)
		}
	}
}

// compareImages wants exactly the images of dir in an archive.
func compareImages(t *testing.T, archive string, dir fstest.MapFS) {
	t.Helper()
	err := ReadArchive(archive, Limits{}, func(fsys fs.FS) error {
		for name := range dir {
			data, err := fs.ReadFile(fsys, name)
			if err != nil || !bytes.Equal(data, dir[name].Data) {
				t.Errorf("%s is not what it was: %v", name, err)
			}
		}
		names, err := fs.ReadDir(fsys, ".")
		if len(names) != len(dir) {
			t.Errorf("%d images, want %d", len(names), len(dir))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Damaged archives give an error that names the archive or the image, and no output.
func TestDamagedArchives(t *testing.T) {
	whole := checkpointTar(t, sample(t, "static"))
	base := t.TempDir()
	in, out := filepath.Join(base, "in"), filepath.Join(base, "out")
	for name, data := range map[string][]byte{
		"empty": nil, "no archive": []byte("hello"), "half": whole[:len(whole)/2], "half a header": whole[:700],
		"no images":  checkpointTar(t, fstest.MapFS{}),
		"two images": append(bytes.Clone(whole[:len(whole)-9*512]), whole...),
		"half gzip":  packed(t, compressions[0], whole)[:500],
		"half zstd":  packed(t, compressions[1], whole)[:500],
	} {
		if err := os.WriteFile(in, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Archive(t.Context(), in, out, options(t))
		if err == nil || !strings.HasPrefix(err.Error(), "archive "+in+": ") &&
			!strings.HasPrefix(err.Error(), "images ") {
			t.Errorf("%s: %v", name, err)
		}
		if entries, _ := os.ReadDir(base); len(entries) != 1 {
			t.Errorf("%s: left behind: %v", name, entries)
		}
	}
}

// An archive is an fs.FS as the standard library understands it.
func TestTarballIsAFileSystem(t *testing.T) {
	in := filepath.Join(t.TempDir(), "in")
	dir := sample(t, "static")
	if err := os.WriteFile(in, checkpointTar(t, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ReadArchive(in, Limits{}, func(fsys fs.FS) error {
		for _, name := range []string{"inventory.img", "mm-18827.img"} {
			data, err := fs.ReadFile(fsys, name)
			if err != nil || !bytes.Equal(data, dir[name].Data) {
				return fmt.Errorf("%s: %d bytes, %w", name, len(data), err)
			}
		}
		if _, err := fsys.Open("../config.dump"); err == nil {
			return fmt.Errorf("a file outside of checkpoint/ is open")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// Several folders with an inventory are taken only if links make one chain of them.
func TestChainsInArchives(t *testing.T) {
	for _, c := range []struct {
		links  map[string]string // folder to target
		prefix string
		chain  []string
		want   string
	}{
		{map[string]string{"a": ""}, "a", nil, ""},
		{map[string]string{"a": "../b", "b": "../c", "c": ""}, "a", []string{"b", "c"}, ""},
		{map[string]string{"a/x": "../../a/y", "a/y": ""}, "a/x", []string{"a/y"}, ""},
		{map[string]string{"a": "../elsewhere"}, "a", nil, ""},
		{map[string]string{"a": "/b"}, "a", nil, ""},
		{map[string]string{"a": "", "b": ""}, "", nil,
			`it has 2 files inventory.img, expected one, or those of one chain of links "parent"`},
		{map[string]string{"a": "../c", "b": "../c", "c": ""}, "", nil,
			"it has 3 files inventory.img, expected one,"},
		{map[string]string{"a": "."}, "", nil, "it has 1 files inventory.img, expected one,"},
		{map[string]string{"a": "../b", "b": "../a"}, "", nil, "it has 2 files inventory.img, expected one,"},
		{map[string]string{"a": "", "b": "../c", "c": "../b"}, "", nil,
			"it has 3 files inventory.img, of which 1 are in one chain"},
		{nil, "", nil, "it has 0 files inventory.img, expected one,"},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, folder := range slices.Sorted(maps.Keys(c.links)) {
			err := w.WriteHeader(&tar.Header{Name: folder + "/inventory.img"})
			if target := c.links[folder]; target != "" && err == nil {
				err = w.WriteHeader(&tar.Header{Name: folder + "/parent", Typeflag: tar.TypeSymlink,
					Linkname: target})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		tb, _, err := unpackTemp(t, &b, Limits{})
		if c.want != "" {
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%v: got %v, want %s", c.links, err, c.want)
			}
			continue
		}
		var chain []string
		for _, p := range tb.parents {
			chain = append(chain, p.(*tarball).prefix)
		}
		if err != nil || tb.prefix != c.prefix || !slices.Equal(chain, c.chain) {
			t.Errorf("%v: %v, %q with parents %v", c.links, err, tb.prefix, chain)
		}
	}
}
