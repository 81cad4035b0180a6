package graft

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// tarball is an uncompressed archive and where each entry lies in it.
type tarball struct {
	file    *os.File
	entries []tarEntry
	end     int64 // of the last entry: zeros follow
	prefix  string
	images  map[string]*tarEntry // what is below prefix, folders left out
}

// tarEntry is one file of the archive: headers at start, contents at data, padding up to end.
type tarEntry struct {
	*tar.Header
	start, data, end int64
}

const (
	tarBlock   = 512 // pax, "ustar Interchange Format"
	maxEntries = 1 << 20
)

// readTar lists the entries of an archive and finds the folder with the images.
func readTar(f *os.File) (*tarball, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	t := &tarball{file: f}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return t, t.findImages()
		}
		if err == nil && len(t.entries) == maxEntries {
			err = fmt.Errorf("more than %d entries", maxEntries)
		}
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", len(t.entries), err)
		}
		if err := t.add(h); err != nil {
			return nil, fmt.Errorf("entry %d, %s: %w", len(t.entries), h.Name, err)
		}
	}
}

func (t *tarball) add(h *tar.Header) error {
	if h.Typeflag == tar.TypeGNUSparse || h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.map"] != "" {
		return errors.New("sparse file: not supported")
	}
	data, err := t.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	e := tarEntry{Header: h, start: t.end, data: data, end: data}
	if h.Typeflag == tar.TypeReg {
		e.end += (h.Size + tarBlock - 1) / tarBlock * tarBlock
	}
	t.entries = append(t.entries, e)
	t.end = e.end
	return nil
}

// findImages takes the folder of inventory.img: checkpoint/ in what podman and CRI-O write.
func (t *tarball) findImages() error {
	found := 0
	for i := range t.entries {
		if name := path.Clean(t.entries[i].Name); path.Base(name) == "inventory.img" {
			t.prefix = path.Dir(name)
			found++
		}
	}
	if found != 1 {
		return fmt.Errorf("it has %d files inventory.img, want one", found)
	}
	t.images = map[string]*tarEntry{}
	for i := range t.entries {
		name, ok := t.image(&t.entries[i])
		if ok && t.images[name] != nil {
			return fmt.Errorf("%s occurs twice", t.entries[i].Name)
		}
		if ok {
			t.images[name] = &t.entries[i]
		}
	}
	return nil
}

// image gives the name of an entry among the images.
func (t *tarball) image(e *tarEntry) (name string, ok bool) {
	name = path.Clean(e.Name)
	if t.prefix == "." {
		return name, e.Typeflag != tar.TypeDir
	}
	name, ok = strings.CutPrefix(name, t.prefix+"/")
	return name, ok && e.Typeflag != tar.TypeDir
}

// Open makes the images of the archive a file system.
func (t *tarball) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if e := t.images[name]; e != nil {
		return &tarFile{e, io.NewSectionReader(t.file, e.data, e.end-e.data)}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadDir lists the images; folders among them are not.
func (t *tarball) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var list []fs.DirEntry
	for name, e := range t.images {
		if !strings.Contains(name, "/") {
			list = append(list, fs.FileInfoToDirEntry(e.FileInfo()))
		}
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return list, nil
}

// inventory is the entry of inventory.img, which CRIU writes last.
func (t *tarball) inventory() *tarEntry { return t.images["inventory.img"] }

// tarFile is one image of an archive.
type tarFile struct {
	entry *tarEntry
	*io.SectionReader
}

func (f *tarFile) Stat() (fs.FileInfo, error) { return f.entry.FileInfo(), nil }
func (f *tarFile) Close() error               { return nil }
func (f *tarFile) Read(b []byte) (int, error) {
	at, _ := f.Seek(0, io.SeekCurrent) // a section knows where it is
	if left := f.entry.Size - at; int64(len(b)) > left {
		if left <= 0 {
			return 0, io.EOF
		}
		b = b[:left]
	}
	return f.SectionReader.Read(b)
}
