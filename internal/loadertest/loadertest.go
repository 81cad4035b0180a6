// Package loadertest makes objects for tests with the compilers that plugin authors use. It never decides what a test
// expects, and it does not skip: a compiler that is missing is named, with the package that has it.
package loadertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/loader"
)

// packages names the Debian package of each tool.
var packages = map[string]string{
	"gcc": "gcc", "g++": "g++", "as": "binutils", "ld": "binutils", "strip": "binutils", "clang-14": "clang-14",
	"clang-19":              "clang-19",
	"aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu", "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
	"rustc": "rustc",
}

// Tool finds a tool, or fails the test with what to install.
func Tool(t testing.TB, name string) string {
	t.Helper()
	file, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("missing tool %s: install package %s, or run scripts/install-test-deps", name, packages[name])
	}
	return file
}

// Include is the directory of the SDK's headers.
func Include(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "plugin-sdk", "include")
		}
	}
	t.Fatal("no go.mod above the working directory")
	return ""
}

// Compile makes an object of source. tool is a compiler with its flags ("gcc -O2 -fPIC"); suffix chooses the language
// (".c", ".cc", ".S", ".rs"). It returns the name of the object.
func Compile(t testing.TB, tool, suffix, source string) string {
	t.Helper()
	dir := t.TempDir()
	src, obj := filepath.Join(dir, "plugin"+suffix), filepath.Join(dir, "plugin.o")
	if err := os.WriteFile(src, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(tool)
	args := append(words[1:], "-c", "-o", obj, "plugin"+suffix)
	if suffix == ".rs" {
		args = append(words[1:], "--crate-type=lib", "--emit=obj="+obj, "plugin.rs")
	} else {
		args = append([]string{"-I", Include(t)}, args...)
	}
	cmd := exec.Command(Tool(t, words[0]), args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", words[0], strings.Join(args, " "), err, out)
	}
	return obj
}

// Load compiles source and loads it; the name in messages is plugin.o.
func Load(t testing.TB, tool, suffix, source string, opts loader.Options) (*loader.Plugin, error) {
	t.Helper()
	data, err := os.ReadFile(Compile(t, tool, suffix, source))
	if err != nil {
		t.Fatal(err)
	}
	return loader.Parse(data, "plugin.o", opts)
}

// MustLoad is Load of an object that has nothing wrong with it.
func MustLoad(t testing.TB, tool, suffix, source string, opts loader.Options) *loader.Plugin {
	t.Helper()
	p, err := Load(t, tool, suffix, source, opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Link makes a linked file of source and returns its bytes.
func Link(t testing.TB, tool, suffix, source string) []byte {
	t.Helper()
	dir := t.TempDir()
	src, out := filepath.Join(dir, "plugin"+suffix), filepath.Join(dir, "plugin")
	if err := os.WriteFile(src, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(tool)
	return output(t, out, Tool(t, words[0]), append(words[1:], "-o", out, src)...)
}

// Strip removes the symbol table of an object and returns its bytes.
func Strip(t testing.TB, obj string) []byte {
	t.Helper()
	return output(t, obj, Tool(t, "strip"), "-s", obj)
}

// output runs a command and reads the file it made.
func output(t testing.TB, file, tool string, args ...string) []byte {
	t.Helper()
	if text, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, text)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Merge makes one object of several, as ld -r does, and returns its bytes.
func Merge(t testing.TB, objects ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "merged.o")
	return output(t, out, Tool(t, "ld"), append([]string{"-r", "-o", out}, objects...)...)
}
