package scaffold

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/crpie/crpie/internal/pattern"
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
	path string // with the system's separators
	text []byte
}

// SDK writes the SDK below dir. Files that are there already, of another content, are left, and an error names them,
// unless replace is set; then nothing else was written either.
func SDK(dir string, replace bool) error {
	files, err := filesOf("", filepath.Clean(dir))
	if err != nil {
		return err
	}
	if !replace {
		if err := different(files); err != nil {
			return err
		}
	}
	return writeAll(files)
}

// different names the files that exist with another content.
func different(files []file) error {
	var problems []error
	for _, f := range files {
		old, err := os.ReadFile(f.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			problems = append(problems, err)
		case !bytes.Equal(old, f.text):
			problems = append(problems, fmt.Errorf("%s is there, and differs: --force replaces it", f.path))
		}
	}
	return several.Join(problems...)
}

// New makes the directory dir, whose last part is the plugin's name, with a plugin that works, its test and the SDK.
// If that fails nothing is left.
func New(dir string, in Language) (err error) {
	name, err := pluginName(dir)
	if err != nil {
		return err
	}
	files, err := filesFor(in, dir, name)
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
	if err := writeAll(files); err != nil {
		return err
	}
	return SDK(filepath.Join(dir, "sdk"), false)
}

// filesFor are the templates of a language, and those that all have, with the name filled in.
func filesFor(in Language, dir, name string) (files []file, err error) {
	for _, from := range []string{"common", in.dir} {
		some, err := filesOf("templates/"+from, dir)
		if err != nil {
			return nil, err
		}
		files = append(files, some...)
	}
	for i := range files {
		files[i].text = bytes.ReplaceAll(files[i].text, []byte("@NAME@"), []byte(name))
	}
	return files, nil
}

func mkdirError(dir string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: give another name", dir)
	}
	return err
}

// pluginNames are those that need no quoting in shells, makefiles and C. A record has room for 47 bytes.
const pluginNames = pattern.Pattern(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,46}$`)

func pluginName(dir string) (string, error) {
	name := filepath.Base(dir)
	if !pluginNames.MatchString(name) {
		return "", fmt.Errorf("%q cannot be a plugin's name: letters, digits, - _ and . can, at most 47", name)
	}
	return name, nil
}

// filesOf are the files below a directory of the SDK, to be written below dir. The templates are no part of the whole.
func filesOf(below, dir string) (files []file, err error) {
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
		to := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(path, below)))
		files = append(files, file{to, text})
		return err
	})
	return files, err
}

// writeAll asks for the widest permissions, as compilers do; the umask narrows them.
func writeAll(files []file) error {
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(f.path), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(f.path, f.text, 0o666); err != nil {
			return err
		}
	}
	return nil
}
