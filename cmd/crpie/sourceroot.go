package main

import (
	"os"
	"path/filepath"

	"github.com/crpie/crpie/loader"
)

// sourceRoot is the directory from which reports for machines name files. Compilers write the working directory as the
// shell names it, so a root behind a symbolic link has two names.
type sourceRoot struct{ names []string }

// newSourceRoot takes the directory that is given, or the one with .git that the working directory is in, or that.
func newSourceRoot(given string) (sourceRoot, error) {
	if given == "" {
		given = checkout()
	}
	dir, err := filepath.Abs(given)
	if err != nil {
		return sourceRoot{}, err
	}
	physical, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return sourceRoot{}, err
	}
	return sourceRoot{[]string{dir, physical}}, nil
}

// checkout returns the closest directory with .git, which is a file in a linked worktree.
func checkout() string {
	here, err := os.Getwd()
	for dir := here; err == nil; dir = filepath.Dir(dir) {
		if exists(filepath.Join(dir, ".git")) {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return "."
}

// rename gives objects and source files of results their names below the root.
func (r sourceRoot) rename(results []checked) {
	for i := range results {
		c := &results[i]
		object := c.file
		if object != stdinName {
			c.file = r.name(object)
		}
		for _, all := range [][]loader.Violation{c.found, c.notes} {
			for _, v := range all {
				for j := range v.Places {
					if p := &v.Places[j]; p.File != "" {
						p.File = r.name(besides(object, p.File))
					}
				}
			}
		}
	}
}

// besides looks for a source file whose name is relative to where it was compiled, which before DWARF 5 nothing says:
// here, or in the object's directory.
func besides(object, source string) string {
	if filepath.IsAbs(source) || exists(source) {
		return source
	}
	if other := filepath.Join(filepath.Dir(object), source); exists(other) {
		return other
	}
	return source
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}

// name returns the name below the root with slashes, or the absolute one of a file elsewhere.
func (r sourceRoot) name(file string) string {
	abs, err := filepath.Abs(file)
	if err != nil {
		return filepath.ToSlash(file)
	}
	for _, root := range r.names {
		if rel, err := filepath.Rel(root, abs); err == nil && filepath.IsLocal(rel) {
			return filepath.ToSlash(rel)
		}
	}
	return filepath.ToSlash(abs)
}
