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
	"github.com/crpie/crpie/internal/trust"
)

// Chain is an image directory and those that it is incremental to, the nearest parent first.
type Chain struct {
	roots []*os.Root
	trust trust.Rule
}

// maxChain bounds the directories that are kept open.
const maxChain = 256

// Open follows the links "parent". A link to nowhere ends the chain, as it does for CRIU: the directory may need
// nothing from there. What the rule refuses is an error, each file when it is opened.
func Open(dir string, rule trust.Rule) (c *Chain, err error) {
	c = &Chain{trust: rule}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	for {
		root, err := files.OpenDir(dir)
		if len(c.roots) > 0 && errors.Is(err, fs.ErrNotExist) {
			return c, nil
		}
		if err != nil {
			return c, fmt.Errorf("images: %w", err)
		}
		c.roots = append(c.roots, root)
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

// checkLast refuses a chain that comes back to itself, and a directory that others could have changed.
func (c *Chain) checkLast() error {
	if len(c.roots) > maxChain {
		return fmt.Errorf("more than %d directories in a chain of parents", maxChain)
	}
	last, err := c.roots[len(c.roots)-1].Stat(".")
	for _, root := range c.roots[:len(c.roots)-1] {
		if err != nil {
			break
		}
		var other fs.FileInfo
		if other, err = root.Stat("."); err == nil && os.SameFile(last, other) {
			return errors.New("the link \"parent\" leads back here: a directory cannot be its own ancestor")
		}
	}
	if err != nil {
		return err
	}
	return c.trust.Check(last)
}

// Top is the directory itself.
func (c *Chain) Top() *os.Root { return c.roots[0] }

// FS gives the files of each directory.
func (c *Chain) FS() []fs.FS {
	all := make([]fs.FS, len(c.roots))
	for i := range c.roots {
		all[i] = c.level(i)
	}
	return all
}

// level gives the files of one directory, except for those that the rule refuses.
func (c *Chain) level(i int) fs.FS { return files.Checked(c.roots[i], c.trust.Check) }

// Close closes all directories; again, it does nothing.
func (c *Chain) Close() error {
	var all error
	for _, root := range c.roots {
		all = several.Join(all, root.Close())
	}
	c.roots = nil
	return all
}

// OpenImage opens a pages file. A directory is not trusted: nothing but a regular file is read, and none outside it.
func (c *Chain) OpenImage(level int, name string) (*os.File, error) {
	f, err := c.level(level).Open(name)
	if err != nil {
		return nil, err
	}
	return f.(*os.File), nil
}
