// Package chain opens an image directory with those that it is incremental to.
package chain

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/several"
)

// Chain is an image directory and those that it is incremental to, the nearest parent first.
type Chain []*os.Root

// maxChain bounds the directories that are kept open.
const maxChain = 256

// Open follows the links "parent". A link to nowhere ends the chain, as it does for CRIU: the directory may need
// nothing from there.
func Open(dir string) (c Chain, err error) {
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	for {
		root, err := files.OpenDir(dir)
		if len(c) > 0 && errors.Is(err, fs.ErrNotExist) {
			return c, nil
		}
		if err != nil {
			return c, fmt.Errorf("images: %w", err)
		}
		c = append(c, root)
		if err := c.checkLast(); err != nil {
			return c, fmt.Errorf("images %s: %w", dir, err)
		}
		// resolved at each step, because a path may lead through only 40 links, path_resolution(7)
		dir, err = filepath.EvalSymlinks(filepath.Join(dir, "parent"))
		if errors.Is(err, fs.ErrNotExist) {
			return c, nil
		}
		if err != nil {
			return c, fmt.Errorf("images: %w", err)
		}
	}
}

// checkLast refuses a chain that comes back to itself.
func (c Chain) checkLast() error {
	if len(c) > maxChain {
		return fmt.Errorf("more than %d directories in a chain of parents", maxChain)
	}
	last, err := c[len(c)-1].Stat(".")
	for _, root := range c[:len(c)-1] {
		if err != nil {
			break
		}
		var other fs.FileInfo
		if other, err = root.Stat("."); err == nil && os.SameFile(last, other) {
			return errors.New("the link \"parent\" leads back here: a directory cannot be its own ancestor")
		}
	}
	return err
}

// FS gives the files of each directory.
func (c Chain) FS() []fs.FS {
	all := make([]fs.FS, len(c))
	for i, root := range c {
		all[i] = files.FS(root)
	}
	return all
}

// Close closes all directories.
func (c Chain) Close() error {
	var all error
	for _, root := range c {
		all = several.Join(all, root.Close())
	}
	return all
}

// OpenImage opens a pages file. A directory is not trusted: nothing but a regular file is read, and none outside it.
func (c Chain) OpenImage(level int, name string) (*os.File, error) {
	return files.OpenIn(c[level], name)
}
