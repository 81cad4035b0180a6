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

	"github.com/crpie/crpie/internal/files"
)

// tarball is an uncompressed archive and where each entry lies in it.
type tarball struct {
	file    *os.File
	entries []tarEntry
	end     int64 // of the last entry: zeros follow
	headers int64 // bytes of all of them
	prefix  string
	parents []fs.FS              // of incremental images, the nearest first
	images  map[string]*tarEntry // what is below prefix, folders left out
}

// tarEntry is one file of the archive: headers at start, contents at data, padding up to end.
type tarEntry struct {
	*tar.Header
	start, data, end int64
	sparse           bool
}

// readTar lists the entries of an archive while it is unpacked.
func readTar(s *spool, limits Limits) (*tarball, error) {
	t := &tarball{file: s.file}
	for r := tar.NewReader(s); ; {
		h, err := r.Next()
		if err == io.EOF {
			return t, nil
		}
		if err == nil {
			err = t.add(h, s.size)
		}
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", len(t.entries), err)
		}
		e := &t.entries[len(t.entries)-1]
		if t.headers += e.data - e.start; t.headers > limits.Headers {
			return nil, &LimitError{"headers", limits.Headers}
		}
		if len(t.entries) > limits.Entries {
			return nil, &LimitError{"entries", int64(limits.Entries)}
		}
	}
}

// add notes an entry of whose headers the last byte is before read.
func (t *tarball) add(h *tar.Header, read int64) error {
	e := tarEntry{Header: h, start: t.end}
	var err error
	if e.data, e.end, err = physical(t.file, e.start); err != nil {
		return fmt.Errorf("%q: %w", h.Name, err)
	}
	if e.sparse = isSparse(h); !e.sparse && e.data != read {
		return fmt.Errorf("%q: its contents are at %d, expected at %d", h.Name, read, e.data)
	}
	t.entries = append(t.entries, e)
	t.end = e.end
	return nil
}

func isSparse(h *tar.Header) bool {
	return h.Typeflag == tar.TypeGNUSparse || h.PAXRecords["GNU.sparse.major"] != "" ||
		h.PAXRecords["GNU.sparse.map"] != "" ||
		h.PAXRecords["GNU.sparse.realsize"] != "" || h.PAXRecords["GNU.sparse.size"] != ""
}

// unfit tells why an entry cannot be an image; "" if it can.
func (e *tarEntry) unfit() string {
	switch {
	case e.sparse:
		return "it is a sparse file; pack it without --sparse"
	case e.Typeflag == tar.TypeLink:
		return "it is a hard link to another entry; pack it with --hard-dereference"
	case e.Typeflag != tar.TypeReg && e.FileInfo().Mode().IsRegular():
		return fmt.Sprintf("it is an entry of type %q, not a regular file", e.Typeflag)
	case e.Typeflag != tar.TypeReg:
		return "it is a " + files.Kind(e.FileInfo().Mode()) + ", not a regular file"
	}
	return ""
}

// hasInventory reports whether images may be found.
func (t *tarball) hasInventory() bool {
	return slices.ContainsFunc(t.entries, func(e tarEntry) bool {
		return path.Base(path.Clean(e.Name)) == "inventory.img"
	})
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
		if why := e.unfit(); why != "" {
			return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New(why)}
		}
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

// Read ends where the entry ends; the section goes on to the padding, from which archives are copied.
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
