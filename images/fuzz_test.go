package images

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// FuzzWire: what Unmarshal accepts, proto.Unmarshal accepts, and both write the same again. (The other way round does
// not hold: a known field with a wrong wire type is an error here.)
func FuzzWire(f *testing.F) {
	for _, name := range sampleNames(f) {
		dir := sample(f, name)
		for file := range dir {
			img, err := Read(dir, file)
			if err != nil {
				continue // a pages file
			}
			for _, e := range img.Entries {
				data := marshal(f, e.Message)
				f.Add(img.Kind.Name, data)
				// an unknown field whose tag is longer than it need be
				f.Add(img.Kind.Name, append(data, "\xf8\xbf\x00\x07"...))
			}
		}
	}
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		k, ok := kindByName(kind)
		if !ok {
			return
		}
		m := k.new()
		if _, err := Unmarshal(data, m); err != nil {
			return
		}
		if got, want := marshal(t, m), rewritten(t, m, data); !bytes.Equal(got, want) {
			t.Fatalf("%x, protobuf %x", got, want)
		}
	})
}

// FuzzOpen: whatever happens to one file of a directory, the answer is a directory or an error that names an image.
func FuzzOpen(f *testing.F) {
	dirs := map[string]fstest.MapFS{}
	for _, name := range sampleNames(f) {
		dirs[name] = sample(f, name)
		for file, content := range dirs[name] {
			if !strings.HasPrefix(file, "pages-") {
				f.Add(name, file, content.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, name, file string, data []byte) {
		dir, ok := dirs[name]
		if !ok || dir[file] == nil {
			return
		}
		if err := openWith(dir, file, data); err != nil && !strings.HasPrefix(err.Error(), "images ") {
			t.Fatalf("error without an image: %v", err)
		}
	})
}

// FuzzPieces: whatever two pagemaps say, each page that the upper one lists comes out once, in order, within the
// pages file of its directory, or there is an error.
func FuzzPieces(f *testing.F) {
	for _, name := range sampleNames(f) {
		for file, content := range sample(f, name) {
			if strings.HasPrefix(file, "pagemap-") {
				f.Add(content.Data, content.Data)
				f.Add(bytes.ReplaceAll(content.Data, []byte{0x20, PagePresent},
					[]byte{0x20, PageInParent}), content.Data)
			}
		}
	}
	pages := &fstest.MapFile{Data: make([]byte, 1<<20)}
	f.Fuzz(func(t *testing.T, upper, lower []byte) {
		dirs := [2]fstest.MapFS{}
		for i, data := range [][]byte{upper, lower} {
			dirs[i] = fstest.MapFS{"pagemap-1.img": &fstest.MapFile{Data: data}}
			for id := range 4 {
				dirs[i][fmt.Sprintf("pages-%d.img", id)] = pages
			}
		}
		pm, err := ReadPagemap(dirs[0], "pagemap-1.img")
		if err != nil {
			return
		}
		pieces, err := (&Dir{FS: dirs[0], Parent: &Dir{FS: dirs[1]}}).Pieces(pm)
		if err != nil {
			return
		}
		at := pieces
		for _, run := range pm.Runs {
			for addr := run.Vaddr; addr < run.End(); addr, at = at[0].End(), at[1:] {
				if len(at) == 0 || at[0].Vaddr != addr || at[0].End() > run.End() {
					t.Fatalf("page %#x is not next in %v", addr, at)
				}
				if r := at[0].Range(); r.Offset < 0 || r.Offset+r.Size > int64(len(pages.Data)) {
					t.Fatalf("%v lies outside of its file", at[0])
				}
			}
		}
	})
}

// openWith opens the directory with one file replaced and asks for every page.
func openWith(dir fstest.MapFS, file string, data []byte) error {
	changed := fstest.MapFS{}
	for name, content := range dir {
		changed[name] = content
	}
	changed[file] = &fstest.MapFile{Data: data}
	d, err := Open(changed)
	if err != nil {
		return err
	}
	for _, task := range d.Tasks {
		if task.Pagemap == nil {
			continue
		}
		if _, err := d.Pieces(task.Pagemap); err != nil {
			return err
		}
	}
	return nil
}

// Cut short at any byte and with any byte damaged: never a panic, and an image of one entry is not accepted in part.
func TestTruncatedAndFlipped(t *testing.T) {
	for _, name := range sampleNames(t) {
		dir, kinds := sample(t, name), map[string]bool{"pages": true}
		for _, file := range fileNames(dir) {
			// one core image of many threads is enough
			if kind, _, _ := strings.Cut(file, "-"); !kinds[kind] {
				kinds[kind] = true
				damage(t, dir, file, kind)
			}
		}
	}
}

func damage(t *testing.T, dir fstest.MapFS, file, kind string) {
	single := slices.Contains([]string{"core", "mm", "fs", "ids", "inventory.img", "timens"}, kind)
	data := dir[file].Data
	for n := 0; n < len(data); n += max(1, len(data)/100) {
		err := openWith(dir, file, data[:n])
		if single && (err == nil || !strings.Contains(err.Error(), "images "+file+": ")) {
			t.Errorf("%s cut to %d of %d bytes: %v", file, n, len(data), err)
		}
		flipped := bytes.Clone(data)
		flipped[n] ^= 1 << (n % 8)
		if err := openWith(dir, file, flipped); err != nil && !strings.HasPrefix(err.Error(), "images ") {
			t.Errorf("%s with byte %d damaged: %v", file, n, err)
		}
	}
}
