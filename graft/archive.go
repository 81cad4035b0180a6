package graft

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/crpie/crpie/images"
)

// Archive grafts onto the images in a container checkpoint that podman or CRI-O wrote, and writes a new archive with the
// same compression. Whatever is no image of a grafted task is copied byte by byte.
func Archive(archive, out string, opts *Options) (plan *Plan, err error) {
	own := *opts
	own.ParentMissing = true
	err = rewrite(archive, out, func(t *tarball) (edit, error) {
		dir, err := images.Open(t)
		if err != nil {
			return edit{}, err
		}
		own.DumpTimeNs = t.inventory().ModTime.UnixNano()
		if plan, err = New(dir, &own); err != nil {
			return edit{}, err
		}
		return edit{files: plan.Files}, nil
	})
	return plan, err
}

// RemoveArchive writes an archive with the images from before the graft.
func RemoveArchive(archive, out string) error {
	return rewrite(archive, out, func(t *tarball) (edit, error) {
		p, err := ReadProvenance(t)
		if err != nil {
			return edit{}, err
		}
		files, err := p.Original(t)
		e := edit{files: files, drop: map[string]bool{ProvenanceFile: true, originals: true}}
		for _, f := range files {
			e.drop[path.Join(originals, f.Name)] = true
		}
		return e, err
	})
}

// ReadArchive calls read with the images of an archive.
func ReadArchive(archive string, read func(fsys fs.FS) error) error {
	t, _, err := openArchive(archive, os.TempDir())
	if err != nil {
		return fmt.Errorf("archive %s: %w", archive, err)
	}
	defer t.file.Close()
	return read(t)
}

// edit is what becomes of the images of an archive.
type edit struct {
	files []File          // new, or in place of those with the same name
	drop  map[string]bool // left out
}

// rewrite makes a new archive: it gets its name when it is complete.
func rewrite(archive, out string, plan func(*tarball) (edit, error)) error {
	if _, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: it exists already; name a new file", out)
	}
	t, comp, err := openArchive(archive, filepath.Dir(out))
	if err != nil {
		return fmt.Errorf("archive %s: %w", archive, err)
	}
	defer t.file.Close()
	e, err := plan(t)
	if err != nil {
		return err
	}
	like, err := os.Stat(archive)
	if err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	w, err := os.CreateTemp(filepath.Dir(out), "."+filepath.Base(out)+".crpie-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	err = errors.Join(t.compress(w, comp, e), w.Close())
	if err == nil {
		err = makeAlike(w.Name(), like)
	}
	if err == nil {
		err = os.Rename(w.Name(), out)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", out, err), os.Remove(w.Name()))
	}
	return nil
}

// compression is how an archive is packed, known by its first bytes.
type compression struct {
	name  string
	magic []byte
	read  func(io.Reader) (io.ReadCloser, error)
	write func(io.Writer) (io.WriteCloser, error)
}

var compressions = []compression{
	{
		"gzip", []byte{0x1f, 0x8b}, // RFC 1952
		func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) },
		func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
	},
	{
		"zstd", []byte{0x28, 0xb5, 0x2f, 0xfd}, // RFC 8878
		func(r io.Reader) (io.ReadCloser, error) {
			d, err := zstd.NewReader(r)
			if err != nil {
				return nil, err
			}
			return d.IOReadCloser(), nil
		},
		func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
	},
}

var plain = compression{
	name:  "none",
	read:  func(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(r), nil },
	write: func(w io.Writer) (io.WriteCloser, error) { return nopWriteCloser{w}, nil },
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }

// openArchive unpacks an archive into an unnamed file in dir and lists it.
func openArchive(archive, dir string) (t *tarball, comp compression, err error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, comp, err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	head, _ := in.Peek(4) // shorter is no archive, which readTar will say
	comp = plain
	for _, c := range compressions {
		if bytes.HasPrefix(head, c.magic) {
			comp = c
		}
	}
	r, err := comp.read(in)
	if err != nil {
		return nil, comp, err
	}
	defer r.Close()
	tmp, err := os.CreateTemp(dir, ".crpie-archive-*")
	if err != nil {
		return nil, comp, err
	}
	err = os.Remove(tmp.Name())
	if err == nil {
		_, err = io.Copy(tmp, r)
	}
	if err == nil {
		t, err = readTar(tmp)
	}
	if err != nil {
		return nil, comp, errors.Join(err, tmp.Close())
	}
	return t, comp, nil
}

func (t *tarball) compress(out io.Writer, comp compression, e edit) error {
	w, err := comp.write(out)
	if err != nil {
		return err
	}
	return errors.Join(t.write(w, e), w.Close())
}

// write copies what stays bit by bit; new files come after the last entry.
func (t *tarball) write(w io.Writer, e edit) error {
	files := map[string]*File{}
	for i := range e.files {
		files[e.files[i].Name] = &e.files[i]
	}
	for i := range t.entries {
		if err := t.writeEntry(w, &t.entries[i], files, e.drop); err != nil {
			return err
		}
	}
	if err := t.writeNew(w, e.files, files); err != nil {
		return err
	}
	_, err := io.Copy(w, io.NewSectionReader(t.file, t.end, 1<<62))
	return err
}

func (t *tarball) writeEntry(w io.Writer, e *tarEntry, files map[string]*File, drop map[string]bool) error {
	name, ok := t.image(e)
	folder := e.Typeflag == tar.TypeDir && path.Clean(e.Name) == path.Join(t.prefix, originals)
	if ok && drop[name] || folder && drop[originals] {
		return nil
	}
	if f := files[name]; ok && f != nil {
		delete(files, name)
		return t.writeFile(w, *e.Header, f)
	}
	_, err := io.Copy(w, io.NewSectionReader(t.file, e.start, e.end-e.start))
	return err
}

// writeNew appends the files that had no entry, owned like the images.
func (t *tarball) writeNew(w io.Writer, inOrder []File, left map[string]*File) error {
	like := t.inventory()
	folder := ""
	for i := range inOrder {
		f := &inOrder[i]
		if left[f.Name] == nil {
			continue
		}
		h := tar.Header{Uid: like.Uid, Gid: like.Gid, Uname: like.Uname, Gname: like.Gname, ModTime: like.ModTime}
		if dir := path.Dir(f.Name); dir != "." && dir != folder {
			folder = dir
			h.Typeflag, h.Name, h.Mode = tar.TypeDir, path.Join(t.prefix, dir)+"/", 0o700
			if err := t.writeFile(w, h, &File{}); err != nil {
				return err
			}
		}
		h.Typeflag, h.Name, h.Mode = tar.TypeReg, path.Join(t.prefix, f.Name), like.Mode
		if err := t.writeFile(w, h, f); err != nil {
			return err
		}
	}
	return nil
}

func (t *tarball) writeFile(w io.Writer, h tar.Header, f *File) error {
	h.Size = 0
	for _, p := range f.Parts {
		h.Size += p.Size + int64(len(p.Data))
	}
	tw := tar.NewWriter(w)
	if err := tw.WriteHeader(&h); err != nil {
		return err
	}
	for _, p := range f.Parts {
		if err := t.writePart(tw, &p); err != nil {
			return err
		}
	}
	return tw.Flush()
}

func (t *tarball) writePart(w io.Writer, p *Part) error {
	if p.From == "" {
		_, err := w.Write(p.Data)
		return err
	}
	f, err := t.Open(p.From)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, io.NewSectionReader(f.(*tarFile), p.Offset, p.Size))
	return err
}
