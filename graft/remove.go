package graft

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/crpie/crpie/images"
)

// Remove makes the directory out with the images that source was grafted from.
func Remove(source, out string) error {
	root, err := os.OpenRoot(source)
	if err != nil {
		return fmt.Errorf("graft --remove: %w", err)
	}
	defer root.Close()
	p, err := ReadProvenance(root.FS())
	if err != nil {
		return err
	}
	if p.Mode == "incremental" {
		return removeIncremental(p, filepath.Join(source, "parent"), out)
	}
	files, err := p.Original(root.FS())
	if err != nil {
		return err
	}
	plan := &Plan{Files: files}
	return complete(out, func(tmp string) error {
		if err := plan.writeFiles(source, tmp); err != nil {
			return err
		}
		written := map[string]bool{ProvenanceFile: true}
		for _, f := range files {
			written[f.Name], written[path.Join(originals, f.Name)] = true, true
		}
		if err := takeOver(source, tmp, written, false); err != nil {
			return err
		}
		return os.Remove(filepath.Join(tmp, originals)) // empty by now
	})
}

// removeIncremental takes the directory that the graft refers to: nothing in it has been changed.
func removeIncremental(p *Provenance, parent, out string) error {
	root, err := os.OpenRoot(parent)
	if err != nil {
		return fmt.Errorf("graft --remove: the directory that was grafted: %w", err)
	}
	defer root.Close()
	for _, r := range p.Replaced {
		if _, err := readVerified(root.FS(), r.File, r); err != nil {
			return err
		}
	}
	real, err := filepath.EvalSymlinks(parent)
	if err != nil {
		return fmt.Errorf("graft --remove: %w", err)
	}
	return complete(out, func(tmp string) error { return takeOver(real, tmp, nil, false) })
}

// Original plans the files of a stand-alone graft as they were.
func (p *Provenance) Original(fsys fs.FS) ([]File, error) {
	var files []File
	for _, r := range p.Replaced {
		if !fs.ValidPath(r.File) || path.Base(r.File) != r.File {
			return nil, fmt.Errorf("graft %s: replaced file %q is no name of an image", ProvenanceFile, r.File)
		}
		data, err := readVerified(fsys, path.Join(originals, r.File), r)
		if err != nil {
			return nil, err
		}
		files = append(files, File{r.File, []Part{{Data: data}}})
	}
	for _, in := range p.Inserted {
		if path.Base(in.File) != in.File {
			return nil, fmt.Errorf("graft %s: inserted file %q is no name of an image", ProvenanceFile, in.File)
		}
		info, err := fs.Stat(fsys, in.File)
		if err != nil {
			return nil, fmt.Errorf("graft %s: %w", in.File, err)
		}
		if in.Offset < 0 || in.Size < 0 || in.Offset > in.Total || info.Size() < in.Total || info.Size()-in.Total != in.Size {
			return nil, fmt.Errorf("graft %s: %d bytes, want %d and the %d that were inserted at %d", in.File, info.Size(),
				in.Total, in.Size, in.Offset)
		}
		files = append(files, File{in.File, []Part{
			{From: in.File, Size: in.Offset}, {From: in.File, Offset: in.Offset + in.Size, Size: in.Total - in.Offset},
		}})
	}
	return files, nil
}

// maxReplaced bounds an image before it is read, bytes; images.Open takes no larger ones.
const maxReplaced = 64 << 20

func readVerified(fsys fs.FS, name string, r Replaced) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("graft %s: %w", name, err)
	}
	if info.Size() > maxReplaced {
		return nil, fmt.Errorf("graft %s: %d bytes, more than %d", name, info.Size(), maxReplaced)
	}
	data, err := images.ReadRange(fsys, images.Range{File: name, Size: info.Size()})
	if err != nil {
		return nil, err
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != r.SHA256 {
		return nil, fmt.Errorf("graft %s: sha256 is %s, was %s when it was grafted: it has been changed since", name, got, r.SHA256)
	}
	return data, nil
}
