package graft

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/crpie/crpie/internal/several"
)

// checkpoint is what --archive names: a tar with images, or a container image with one.
type checkpoint struct {
	images *tarball
	dir    *dirStore        // an OCI layout; nil for an archive
	outer  *tarball         // the archive
	comp   compression      // of the archive
	image  *checkpointImage // nil for a tar with images
}

// openCheckpoint unpacks what has to be unpacked into unnamed files in dir.
func openCheckpoint(ctx context.Context, archive, dir string, limits Limits) (*checkpoint, error) {
	limits = limits.withDefaults()
	b := &budget{limits, limits}
	d, err := layout(archive)
	switch {
	case err != nil:
		return nil, err
	case d == nil:
		return openArchive(ctx, archive, dir, b)
	}
	c := &checkpoint{dir: d, comp: plain}
	if c.image, err = readImage(ctx, d, dir, b); err != nil {
		return nil, several.Join(err, d.root.Close())
	}
	c.images = c.image.layer
	return c, nil
}

// openArchive unpacks an archive, and the image in it if there is one.
func openArchive(ctx context.Context, archive, dir string, b *budget) (*checkpoint, error) {
	f, err := os.Open(archive) // it may be a pipe
	if err != nil {
		return nil, err
	}
	defer f.Close()
	defer context.AfterFunc(ctx, func() { f.Close() })() // nothing more comes from a pipe
	c := &checkpoint{}
	if c.outer, c.comp, err = spend(ctx, f, dir, b); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	if err := c.findImages(ctx, dir, b); err != nil {
		return nil, several.Join(err, c.outer.file.Close())
	}
	return c, nil
}

// findImages takes the archive as it is, or an image in it.
func (c *checkpoint) findImages(ctx context.Context, dir string, b *budget) error {
	c.images = c.outer
	if c.outer.hasInventory() {
		return c.outer.findImages()
	}
	s, err := newTarStore(c.outer)
	if err != nil {
		return err
	}
	if !isImage(s) {
		return c.outer.findImages() // which says what is missing
	}
	if c.image, err = readImage(ctx, s, dir, b); err == nil {
		c.images = c.image.layer
	}
	return err
}

// close closes the unpacked layer, then what it came from: a directory, or the outer archive.
func (c *checkpoint) close() {
	if c.image != nil {
		c.image.close()
	}
	if c.dir != nil {
		c.dir.root.Close()
		return
	}
	c.outer.file.Close()
}

// writable returns an error if something is packed in a way that crpie only reads.
func (c *checkpoint) writable() error {
	packings := []compression{c.comp}
	if c.image != nil {
		packings = append(packings, c.image.comp)
	}
	for _, p := range packings {
		if p.write == nil {
			return fmt.Errorf("it is packed with %s, which is read but not written; %s it first", p.name,
				p.unpack)
		}
	}
	return nil
}

// writeArchive makes an archive: it gets its name when it is complete, and is removed when ctx ends before.
func (c *checkpoint) writeArchive(ctx context.Context, archive, out string, e edit) error {
	like, err := os.Stat(archive)
	if err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	w, err := os.CreateTemp(filepath.Dir(out), "."+filepath.Base(out)+".crpie-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	err = several.Join(c.compress(ctx, endingWriter{ctx, w}, filepath.Dir(out), e), w.Close())
	if err == nil {
		err = makeAlike(w.Name(), like)
	}
	if err == nil {
		err = os.Rename(w.Name(), out)
	}
	if err != nil {
		return several.Join(fmt.Errorf("write %s: %w", out, err), os.Remove(w.Name()))
	}
	return nil
}

func (c *checkpoint) compress(ctx context.Context, out io.Writer, dir string, e edit) error {
	w, err := c.comp.write(out)
	if err != nil {
		return err
	}
	return several.Join(c.write(ctx, w, dir, e), w.Close())
}

// write writes the archive again: directly, or as a layer of an image, whose digests have to be known before its
// manifest can be written.
func (c *checkpoint) write(ctx context.Context, w io.Writer, dir string, e edit) error {
	if c.image == nil {
		return c.outer.write(w, e)
	}
	list, layer, err := c.image.edit(ctx, e, dir)
	if err != nil {
		return err
	}
	return several.Join(c.image.store.(*tarStore).writeImage(w, list), layer.Close())
}

// writeLayout makes an OCI layout, complete or not at all.
func (c *checkpoint) writeLayout(ctx context.Context, out string, e edit) error {
	return complete(out, c.dir.root, func(tmp string) error {
		list, layer, err := c.image.edit(ctx, e, filepath.Dir(tmp))
		if err != nil {
			return err
		}
		return several.Join(c.dir.writeImage(ctx, tmp, list), layer.Close())
	})
}
