package graft

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/several"
)

// WriteDir makes the directory out from the one that was planned for: files of the plan are written, all others taken
// over as they are, by hard link where the file system allows. out has the mode and the owner of source, and appears
// complete or not at all, also when ctx ends.
func (p *Plan) WriteDir(ctx context.Context, source, out string) error {
	root, err := os.OpenRoot(source)
	if err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	defer root.Close()
	return complete(out, root, func(tmp string) error {
		if err := p.writeFiles(ctx, root, tmp); err != nil {
			return err
		}
		written := map[string]bool{}
		for _, f := range p.Files {
			written[f.Name] = true
		}
		if err := takeOver(ctx, root, tmp, written, p.Parent); err != nil || !p.Parent {
			return err
		}
		return linkParent(source, tmp)
	})
}

// complete fills a temporary directory beside out, and gives it its name, and mode and owner of source, when fill is
// done.
func complete(out string, source *os.Root, fill func(tmp string) error) error {
	if _, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: it exists already; name a new directory", out)
	}
	like, err := source.Stat(".")
	if err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(out)), "."+filepath.Base(out)+".crpie-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	err = fill(tmp)
	if err == nil {
		err = makeAlike(tmp, like)
	}
	if err == nil {
		err = os.Rename(tmp, out)
	}
	if err != nil {
		return several.Join(fmt.Errorf("write %s: %w", out, err), os.RemoveAll(tmp))
	}
	return nil
}

// makeAlike gives a file the mode and the owner of another. Only root can give files away: for others the owner stays.
func makeAlike(name string, like fs.FileInfo) error {
	if err := chown(name, like); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return os.Chmod(name, like.Mode().Perm()) // the umask does not matter
}

func (p *Plan) writeFiles(ctx context.Context, source *os.Root, dir string) error {
	for _, f := range p.Files {
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := makeFolder(source, dir, filepath.Dir(name)); err != nil {
			return err
		}
		if err := f.write(ctx, source, name); err != nil {
			return err
		}
	}
	return nil
}

// makeFolder makes a directory in dir, like the source of dir, unless it is there.
func makeFolder(source *os.Root, dir, name string) error {
	like, err := source.Stat(".")
	if err != nil || name == dir {
		return err
	}
	if err := os.Mkdir(name, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	return makeAlike(name, like)
}

// write makes one file, like the one that it replaces, or like the inventory: images are as secret as the memory they
// hold.
func (f *File) write(ctx context.Context, source *os.Root, name string) error {
	like, err := source.Stat(filepath.FromSlash(f.Name))
	if err != nil {
		like, err = source.Stat("inventory.img")
	}
	if err != nil {
		return err
	}
	w, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	for _, part := range f.Parts {
		if err == nil {
			err = part.write(ctx, w, source)
		}
	}
	if err = several.Join(err, w.Close()); err != nil {
		return err
	}
	return makeAlike(name, like)
}

// write appends new bytes, or a stretch of a file of the source, which is opened inside the source only: a link there
// could lead elsewhere.
func (p *Part) write(ctx context.Context, w *os.File, source *os.Root) error {
	if p.From == "" {
		_, err := w.Write(p.Data)
		return err
	}
	r, err := files.OpenIn(source, p.From)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := r.Seek(p.Offset, io.SeekStart); err != nil {
		return err
	}
	return copyN(ctx, w, r, p.Size)
}

// copyN copies size bytes, by copy_file_range(2) on Linux, which shares blocks where the file system can.
func copyN(ctx context.Context, w io.Writer, r io.Reader, size int64) error {
	const piece = 16 << 20 // bytes between two looks at ctx
	for size > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := io.CopyN(w, r, min(size, piece))
		if err != nil {
			return err
		}
		size -= n
	}
	return nil
}

// takeOver links or copies everything of source that has not been written. It follows no symbolic link out of source.
func takeOver(ctx context.Context, source *os.Root, dir string, written map[string]bool, own bool) error {
	return fs.WalkDir(files.FS(source), ".", func(name string, e fs.DirEntry, err error) error {
		to := filepath.Join(dir, filepath.FromSlash(name))
		switch {
		case err != nil || ctx.Err() != nil:
			return cmp.Or(err, context.Cause(ctx))
		case name == "." || written[name] || own && name == "parent":
			return nil
		case e.IsDir():
			return takeFolder(source, name, to)
		case e.Type()&fs.ModeSymlink != 0:
			return copySymlink(filepath.Join(source.Name(), filepath.FromSlash(name)), to)
		case !e.Type().IsRegular() && !images.IsImage(e.Name()):
			return nil // a socket or a FIFO beside the images
		case !e.Type().IsRegular():
			return fmt.Errorf("%s is a %v, want a regular file", name, e.Type())
		}
		return linkOrCopy(ctx, source, filepath.FromSlash(name), to)
	})
}

// takeFolder makes a folder with the mode and owner of one in the source.
func takeFolder(source *os.Root, name, to string) error {
	like, err := source.Lstat(filepath.FromSlash(name))
	if err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return makeAlike(to, like)
}

// linkOrCopy makes a hard link, link(2), which follows no symbolic link, or a copy.
func linkOrCopy(ctx context.Context, source *os.Root, name, to string) error {
	if os.Link(filepath.Join(source.Name(), name), to) == nil {
		if info, err := os.Lstat(to); err != nil || !info.Mode().IsRegular() {
			return several.Join(fmt.Errorf("%s is not a regular file any more", name), err)
		}
		return nil
	}
	r, err := files.OpenIn(source, name)
	if err != nil {
		return err
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return err
	}
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = copyN(ctx, w, r, info.Size())
	if err = several.Join(err, w.Close()); err != nil {
		return err
	}
	// plugins are told when inventory.img was written
	return several.Join(makeAlike(to, info), os.Chtimes(to, info.ModTime(), info.ModTime()))
}

// copySymlink keeps a relative link pointing to what it pointed to.
func copySymlink(from, to string) error {
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
func linkParent(source, tmp string) error {
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
