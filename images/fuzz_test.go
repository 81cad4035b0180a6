package images

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"google.golang.org/protobuf/proto"
)

// FuzzWire: what Unmarshal accepts, proto.Unmarshal accepts, with the same result. (The other way round does not hold:
// a known field with a wrong wire type is an error here.)
func FuzzWire(f *testing.F) {
	for _, name := range sampleNames(f) {
		dir := sample(f, name)
		for file := range dir {
			img, err := Read(dir, file)
			if err != nil {
				continue // a pages file
			}
			for _, e := range img.Entries {
				f.Add(img.Kind.Name, marshal(f, e.Message))
			}
		}
	}
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		k, ok := kindByName(kind)
		if !ok {
			return
		}
		got, want := k.new(), k.new()
		if _, err := Unmarshal(data, got); err != nil {
			return
		}
		if err := proto.Unmarshal(data, want); err != nil {
			t.Fatalf("accepted, but proto.Unmarshal says: %v", err)
		}
		if a, b := marshal(t, got), marshal(t, want); !bytes.Equal(a, b) {
			t.Fatalf("%x, proto.Unmarshal %x", a, b)
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
			if kind, _, _ := strings.Cut(file, "-"); !kinds[kind] { // one core image of many threads is enough
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
