package graft

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/several"
)

// Archive grafts onto the images in a container checkpoint that podman or CRI-O wrote, and writes a new archive with
// the same compression. All but the images of grafted tasks is copied byte by byte. The checkpoint may also be a
// layer of a container image: an OCI image layout, as a directory or archive, or what docker save writes.
func Archive(ctx context.Context, archive, out string, opts *Options) (plan *Plan, err error) {
	own := *opts
	own.ParentMissing = true
	err = rewrite(ctx, archive, out, opts.Limits, func(t *tarball) (edit, error) {
		dir, err := images.Open(t, t.parents...)
		if err != nil {
			return edit{}, err
		}
		own.DumpTime = t.inventory().ModTime
		if plan, err = New(dir, &own); err != nil {
			return edit{}, err
		}
		return edit{files: plan.Files, note: plan.Provenance.note()}, nil
	})
	return plan, err
}

// RemoveArchive writes an archive with the images from before the graft.
func RemoveArchive(ctx context.Context, archive, out string, limits Limits) error {
	return rewrite(ctx, archive, out, limits, func(t *tarball) (edit, error) {
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
func ReadArchive(archive string, limits Limits, read func(fsys fs.FS) error) error {
	c, err := openCheckpoint(context.Background(), archive, os.TempDir(), limits)
	if err != nil {
		return fmt.Errorf("archive %s: %w", archive, err)
	}
	defer c.close()
	return read(c.images)
}

// edit is what becomes of the images of an archive.
type edit struct {
	files []File          // new, or in place of those with the same name
	drop  map[string]bool // left out
	note  string          // of a container image; empty: none
}

// endingWriter fails when ctx has ended.
type endingWriter struct {
	ctx context.Context
	w   io.Writer
}

func (e endingWriter) Write(b []byte) (int, error) {
	if e.ctx.Err() != nil {
		return 0, context.Cause(e.ctx)
	}
	return e.w.Write(b)
}

// rewrite makes a new archive: it gets its name when it is complete, and is removed when ctx ends before.
func rewrite(ctx context.Context, archive, out string, limits Limits, plan func(*tarball) (edit, error)) error {
	if _, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: it exists already; name a new file", out)
	}
	c, err := openCheckpoint(ctx, archive, filepath.Dir(filepath.Clean(out)), limits)
	if err != nil {
		return fmt.Errorf("archive %s: %w", archive, err)
	}
	defer c.close()
	if err := c.writable(); err != nil {
		return fmt.Errorf("archive %s: %w", archive, err)
	}
	e, err := plan(c.images)
	if err != nil {
		return err
	}
	if c.dir != nil {
		return c.writeLayout(ctx, out, e)
	}
	return c.writeArchive(ctx, archive, out, e)
}

// compression is how an archive is packed, known by its first bytes. Some are read only, some are known by name only.
type compression struct {
	name, unpack string // unpack is the program that does it
	magic        string
	// read unpacks r, of which at most size bytes are taken.
	read  func(r io.Reader, size int64) (io.ReadCloser, error)
	write func(io.Writer) (io.WriteCloser, error)
}

// The memory that unpacking takes: a window that every decoder should have, RFC 8878, 3.1.1.1.2, however little is
// taken from the archive, and at most what zstd(1) allows without --long.
const (
	leastWindow = 8 << 20
	zstdWindow  = 128 << 20
)

var compressions = []compression{
	{
		"gzip", "gunzip", "\x1f\x8b", // RFC 1952
		func(r io.Reader, _ int64) (io.ReadCloser, error) { return gzip.NewReader(r) },
		func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
	},
	{
		"zstd", "unzstd", "\x28\xb5\x2f\xfd", // RFC 8878
		func(r io.Reader, size int64) (io.ReadCloser, error) {
			window := min(max(size, leastWindow), zstdWindow)
			d, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(uint64(window)),
				zstd.WithDecoderLowmem(true))
			if err != nil {
				return nil, err
			}
			return d.IOReadCloser(), nil
		},
		func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
	},
	{"bzip2", "bunzip2", "BZh", func(r io.Reader, _ int64) (io.ReadCloser, error) {
		return io.NopCloser(bzip2.NewReader(r)), nil
	}, nil},
	{"xz", "unxz", "\xfd7zXZ\x00", nil, nil},
	{"lzip", "lunzip", "LZIP", nil, nil},
	{"lz4", "unlz4", "\x04\x22\x4d\x18", nil, nil},
}

// packing tells by the first bytes how an archive is packed.
func packing(head []byte) compression {
	for _, c := range compressions {
		if bytes.HasPrefix(head, []byte(c.magic)) {
			return c
		}
	}
	return plain
}

var plain = compression{
	name:  "none",
	read:  func(r io.Reader, _ int64) (io.ReadCloser, error) { return io.NopCloser(r), nil },
	write: func(w io.Writer) (io.WriteCloser, error) { return nopWriteCloser{w}, nil },
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }

// unnamed makes a file without a name in dir.
func unnamed(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".crpie-archive-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, several.Join(err, f.Close())
	}
	return f, nil
}

// unpack writes an archive to a file as it is read, and so stops with the first limit that it exceeds.
func unpack(from io.Reader, to *os.File, limits Limits) (*tarball, compression, error) {
	in := bufio.NewReader(from)
	head, _ := in.Peek(6) // a shorter one is not an archive; readTar reports it
	comp := packing(head)
	if comp.read == nil {
		return nil, comp, fmt.Errorf("it is packed with %s, which is not read here; %s it first", comp.name,
			comp.unpack)
	}
	r, err := comp.read(in, limits.Size)
	if err != nil {
		return nil, comp, err
	}
	defer r.Close()
	s := &spool{from: r, file: to, limit: limits.Size}
	t, err := readTar(s, limits)
	if err == nil {
		_, err = io.Copy(io.Discard, s) // the zeros at the end
	}
	return t, comp, err
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

// writeEntry copies an entry as it stands, headers and padding included, unless it is an image that the graft replaces
// or drops.
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
		h := tar.Header{Uid: like.Uid, Gid: like.Gid, Uname: like.Uname, Gname: like.Gname,
			ModTime: like.ModTime}
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

// writeFile writes an image anew under the header of the old one. The writer is flushed, not closed: closing would end
// the archive.
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

// writePart writes bytes of the plan, or copies a range of an old image.
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
