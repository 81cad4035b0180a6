package scaffold

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/several"
	sdk "github.com/crpie/crpie/plugin-sdk"
)

// Language is one in which plugins can begin.
type Language struct {
	Name  string   // for --lang
	Long  string   // for people
	Tools []string // what make runs
	dir   string   // below templates
}

// Languages are in the order of the help.
func Languages() []Language {
	return []Language{
		{"c", "C", []string{"make", "cc"}, "c"},
		{"c++", "C++", []string{"make", "c++"}, "cxx"},
		{"rust", "Rust", []string{"make", "cc", "rustc", "ld"}, "rust"},
		{"asm", "assembly", []string{"make", "cc"}, "asm"},
	}
}

// Find returns the language of a name.
func Find(name string) (Language, error) {
	var names []string
	for _, l := range Languages() {
		if l.Name == name {
			return l, nil
		}
		names = append(names, l.Name)
	}
	return Language{}, fmt.Errorf("there is no template in %q: it can be %s", name, strings.Join(names, ", "))
}

// file is one to be written.
type file struct {
	path string // below the directory, with the system's separators
	text []byte
}

// SDK writes the SDK below dir. Files that are there already, of another content, are left, and an error names them,
// unless replace is set; then nothing else was written either.
func SDK(dir string, replace bool) error {
	all, err := filesOf("")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	root, err := files.OpenDir(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if !replace {
		if err := different(root, all); err != nil {
			return err
		}
	}
	return writeAll(root, all)
}

// different names the files that exist with another content.
func different(root *os.Root, all []file) error {
	var problems []error
	for _, f := range all {
		if err := differs(root, f); err != nil {
			problems = append(problems, err)
		}
	}
	return several.Join(problems...)
}

// differs returns an error if something else than the file is in its place.
func differs(root *os.Root, f file) error {
	name := filepath.Join(root.Name(), f.path)
	info, err := root.Lstat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	case info.IsDir():
		return fmt.Errorf("%s is a directory: remove it", name)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is a %s: --force replaces it", name, files.Kind(info.Mode()))
	}
	old, err := root.ReadFile(f.path)
	if err == nil && !bytes.Equal(old, f.text) {
		return fmt.Errorf("%s is there, and differs: --force replaces it", name)
	}
	return err
}

// New makes the directory dir, whose last part is the plugin's name, with a plugin that works, its test and the SDK.
// If that fails nothing is left.
func New(dir string, in Language) (err error) {
	name, err := pluginName(dir)
	if err != nil {
		return err
	}
	all, err := filesFor(in, name)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		return mkdirError(dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := writeAll(root, all); err != nil {
		return err
	}
	return SDK(filepath.Join(dir, "sdk"), false)
}

// filesFor are the templates of a language, and those that all have, with the name filled in.
func filesFor(in Language, name string) (all []file, err error) {
	for _, from := range []string{"common", in.dir} {
		some, err := filesOf("templates/" + from)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	for i := range all {
		all[i].text = bytes.ReplaceAll(all[i].text, []byte("@NAME@"), []byte(name))
	}
	return all, nil
}

func mkdirError(dir string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: give another name", dir)
	}
	return err
}

// pluginName returns the last element of dir if it needs no quoting in shells, makefiles and C. A record has room for
// 47 bytes.
func pluginName(dir string) (string, error) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
	name := filepath.Base(dir)
	if strings.Trim(name, letters+"-.") != "" || strings.HasPrefix(name, "-") || strings.HasPrefix(name, ".") ||
		name == "" || len(name) > 47 {
		return "", fmt.Errorf("%q cannot be a plugin's name: letters, digits, - _ and . can, at most 47", name)
	}
	return name, nil
}

// filesOf are the files below a directory of the SDK. The templates are no part of the whole.
func filesOf(below string) (all []file, err error) {
	root := below
	if root == "" {
		root = "."
	}
	err = fs.WalkDir(sdk.Files, root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if below == "" && path == "templates" {
				return fs.SkipDir
			}
			return nil
		}
		text, err := sdk.Files.ReadFile(path)
		name := strings.TrimPrefix(strings.TrimPrefix(path, below), "/")
		all = append(all, file{filepath.FromSlash(name), text})
		return err
	})
	return all, err
}

// writeAll asks for the widest permissions, as compilers do; the umask narrows them.
func writeAll(root *os.Root, all []file) error {
	for _, f := range all {
		if err := root.MkdirAll(filepath.Dir(f.path), 0o777); err != nil {
			return fmt.Errorf("%s: %w", root.Name(), err)
		}
		if err := write(root, f); err != nil {
			return fmt.Errorf("%s: %w", root.Name(), err)
		}
	}
	return nil
}

// write puts a new file in the place of what has the name. A symbolic link is replaced, and not followed: another
// program's file is where it leads.
func write(root *os.Root, f file) error {
	name := fmt.Sprintf("%s.%d.tmp", f.path, os.Getpid())
	to, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = to.Write(f.text)
	err = errors.Join(err, to.Close())
	if err == nil {
		err = root.Rename(name, f.path)
	}
	if err != nil {
		return errors.Join(err, root.Remove(name))
	}
	return nil
}
