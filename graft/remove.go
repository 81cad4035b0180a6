package graft

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/files"
)

// Remove makes the directory out with the images that source was grafted from. What source says about itself is not
// trusted: nothing outside of it is read but the directory that it was grafted from, once that has shown that it is.
func Remove(ctx context.Context, source, out string) error {
	root, err := files.OpenDir(source)
	if err != nil {
		return fmt.Errorf("graft --remove: %w", err)
	}
	defer root.Close()
	p, err := ReadProvenance(files.FS(root))
	if err != nil {
		return err
	}
	if p.Mode == incremental {
		return p.removeIncremental(ctx, root, out)
	}
	return p.removeCopy(ctx, root, out)
}

// removeCopy writes the images as they were before the graft to a new directory, and takes over all others.
func (p *Provenance) removeCopy(ctx context.Context, root *os.Root, out string) error {
	files, err := p.Original(files.FS(root))
	if err != nil {
		return err
	}
	plan := &Plan{Files: files}
	return complete(out, root, func(tmp string) error {
		if err := plan.writeFiles(ctx, root, tmp); err != nil {
			return err
		}
		written := map[string]bool{ProvenanceFile: true}
		for _, f := range files {
			written[f.Name], written[path.Join(originals, f.Name)] = true, true
		}
		if err := takeOver(ctx, root, tmp, written, false); err != nil {
			return err
		}
		return os.Remove(filepath.Join(tmp, originals)) // empty by now
	})
}

// removeIncremental takes the directory that the graft refers to: nothing in it has been changed.
func (p *Provenance) removeIncremental(ctx context.Context, root *os.Root, out string) error {
	parent, err := filepath.EvalSymlinks(filepath.Join(root.Name(), "parent"))
	if err != nil {
		return fmt.Errorf("graft --remove: the directory that was grafted: %w", err)
	}
	from, err := files.OpenDir(parent)
	if err != nil {
		return fmt.Errorf("graft --remove: the directory that was grafted: %w", err)
	}
	defer from.Close()
	if err := p.graftedFrom(files.FS(root), files.FS(from)); err != nil {
		return fmt.Errorf("graft --remove: %s is not the directory that was grafted: %w", parent, err)
	}
	return complete(out, from, func(tmp string) error { return takeOver(ctx, from, tmp, nil, false) })
}

// graftedFrom compares a directory with what the graft has of it: images that were replaced by their digests, those
// that every dump has and no graft changes by their bytes.
func (p *Provenance) graftedFrom(grafted, from fs.FS) error {
	for _, r := range p.Replaced {
		if _, err := readVerified(from, r.File, r); err != nil {
			return err
		}
	}
	for _, name := range []string{"inventory.img", "pstree.img"} {
		was, err := readSmall(from, name)
		if err != nil {
			return err
		}
		is, err := readSmall(grafted, name)
		if err != nil {
			return err
		}
		if !bytes.Equal(was, is) {
			return fmt.Errorf("graft %s: it is not the file that the graft wrote", name)
		}
	}
	return nil
}

// Original plans the files of a stand-alone graft as they were.
func (p *Provenance) Original(fsys fs.FS) ([]File, error) {
	var files []File
	for _, r := range p.Replaced {
		if !fs.ValidPath(r.File) || path.Base(r.File) != r.File {
			return nil, fmt.Errorf("graft %s: replaced file %q is not the name of an image",
				ProvenanceFile, r.File)
		}
		data, err := readVerified(fsys, path.Join(originals, r.File), r)
		if err != nil {
			return nil, err
		}
		files = append(files, File{r.File, []Part{{Data: data}}})
	}
	for _, in := range p.Inserted {
		if path.Base(in.File) != in.File {
			return nil, fmt.Errorf("graft %s: inserted file %q is not the name of an image",
				ProvenanceFile, in.File)
		}
		info, err := fs.Stat(fsys, in.File)
		if err != nil {
			return nil, fmt.Errorf("graft %s: %w", in.File, err)
		}
		if in.Offset < 0 || in.Size < 0 || in.Offset > in.Total || info.Size() < in.Total ||
			info.Size()-in.Total != in.Size {
			return nil, fmt.Errorf("graft %s: %d bytes, want %d and the %d that were inserted at %d",
				in.File,
				info.Size(),
				in.Total, in.Size, in.Offset)
		}
		files = append(files, File{in.File, []Part{
			{From: in.File, Size: in.Offset},
			{From: in.File, Offset: in.Offset + in.Size, Size: in.Total - in.Offset},
		}})
	}
	return files, nil
}

// maxReplaced bounds an image before it is read, bytes; images.Open takes no larger ones.
const maxReplaced = 64 << 20

// readVerified reads a file that the graft has written. One that somebody changed since is not replaced without a word.
func readVerified(fsys fs.FS, name string, r Replaced) ([]byte, error) {
	data, err := readSmall(fsys, name)
	if err != nil {
		return nil, err
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != r.SHA256 {
		return nil, fmt.Errorf("graft %s: sha256 is %s, was %s when it was grafted: it has been changed since",
			name,
			got, r.SHA256)
	}
	return data, nil
}

// readSmall reads an image of at most the size that images.Open takes.
func readSmall(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("graft %s: %w", name, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("graft %s: it is a %v, want a regular file", name, info.Mode().Type())
	case info.Size() > maxReplaced:
		return nil, fmt.Errorf("graft %s: %d bytes, more than %d", name, info.Size(), maxReplaced)
	}
	return images.ReadRange(fsys, images.Range{File: name, Size: info.Size()})
}
