package graft

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteDir makes the directory out from the one that was planned for: files of the plan are written, all others taken
// over as they are, by hard link where the file system allows. out appears complete or not at all.
func (p *Plan) WriteDir(source, out string) error {
	return p.writeDir(source, out, p.Parent)
}

func (p *Plan) writeDir(source, out string, link bool) error {
	return complete(out, func(tmp string) error {
		if err := p.writeFiles(source, tmp); err != nil {
			return err
		}
		written := map[string]bool{}
		for _, f := range p.Files {
			written[f.Name] = true
		}
		if err := takeOver(source, tmp, written, link); err != nil {
			return err
		}
		if !link {
			return nil
		}
		return linkParent(source, tmp, out)
	})
}

// complete fills a temporary directory beside out and gives it its name when fill is done.
func complete(out string, fill func(tmp string) error) error {
	if _, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: it exists already; name a new directory", out)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(out)), "."+filepath.Base(out)+".crpie-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	err = fill(tmp)
	if err == nil {
		err = os.Rename(tmp, out)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", out, err), os.RemoveAll(tmp))
	}
	return nil
}

func (p *Plan) writeFiles(source, dir string) error {
	for _, f := range p.Files {
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		if err := f.write(source, name); err != nil {
			return err
		}
	}
	return nil
}

// write makes one file, with the mode of the one that it replaces: images are as secret as the memory they hold.
func (f *File) write(source, name string) error {
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(filepath.Join(source, filepath.FromSlash(f.Name))); err == nil {
		mode = info.Mode().Perm()
	}
	w, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	for _, part := range f.Parts {
		if err == nil {
			err = part.write(w, source)
		}
	}
	return errors.Join(err, w.Close())
}

func (p *Part) write(w *os.File, source string) error {
	if p.From == "" {
		_, err := w.Write(p.Data)
		return err
	}
	r, err := os.Open(filepath.Join(source, p.From))
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := r.Seek(p.Offset, io.SeekStart); err != nil {
		return err
	}
	_, err = io.CopyN(w, r, p.Size) // copy_file_range(2) on Linux, which shares blocks where the file system can
	return err
}

// takeOver links or copies everything of source that has not been written.
func takeOver(source, dir string, written map[string]bool, own bool) error {
	return filepath.WalkDir(source, func(path string, e fs.DirEntry, err error) error {
		name, rel := filepath.Rel(source, path)
		if err != nil || rel != nil {
			return errors.Join(err, rel)
		}
		to := filepath.Join(dir, name)
		switch {
		case name == "." || written[filepath.ToSlash(name)] || own && name == "parent":
			return nil
		case e.IsDir():
			return os.MkdirAll(to, 0o700)
		case e.Type()&fs.ModeSymlink != 0:
			return copySymlink(path, to, dir)
		case !e.Type().IsRegular():
			return fmt.Errorf("%s is a %v, want a regular file", path, e.Type())
		}
		return linkOrCopy(path, to)
	})
}

func linkOrCopy(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime()) // plugins are told when inventory.img was written
}

// copySymlink keeps a relative link pointing to what it pointed to.
func copySymlink(from, to, dir string) error {
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(target) {
		if target, err = relative(filepath.Join(filepath.Dir(from), target), filepath.Dir(to)); err != nil {
			return err
		}
	}
	return os.Symlink(target, to)
}

// linkParent makes the link by which CRIU finds the rest of an incremental dump. The temporary directory lies beside
// the final one, so the link is right for both.
func linkParent(source, tmp, out string) error {
	target, err := relative(source, tmp)
	if err != nil {
		return err
	}
	return os.Symlink(target, filepath.Join(tmp, "parent"))
}

// relative is the path from a directory to something, links in both resolved.
func relative(to, dir string) (string, error) {
	abs, err := filepath.Abs(to)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return "", err
	}
	return filepath.Rel(dir, abs)
}
