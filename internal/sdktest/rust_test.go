package sdktest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/stage"
)

// makeRust builds a plugin that uses the crate, and its unit test, as authors do.
func makeRust(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, file := range []string{name + ".rs", name + "_rs_test.c"} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, file), string(text))
	}
	write(t, filepath.Join(dir, "Makefile"), "CRPIE_PLUGIN = "+name+".o\nCRPIE_TEST = "+name+"_rs_test\nCRPIE_RUST = crate\n"+
		"include "+filepath.Join(root(t), "plugin-sdk", "plugin.mk")+"\n"+name+"_rs_test: "+name+".o\n")
	cmd := exec.Command(loadertest.Tool(t, "make"), "-C", dir, "crpie-plugins", "crpie-tests", "CC=gcc",
		"RUSTC="+loadertest.Tool(t, "rustc"))
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "warning") {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// The crate reads a context as abi.h lays it out, formats with core, floats included, and needs nobody else.
func TestRustCrate(t *testing.T) {
	t.Parallel()
	dir := makeRust(t, "unit")
	p := mustBePlugin(t, filepath.Join(dir, "unit.o"))
	if p.Name != "unit-rs" || len(p.Hooks) != 5 || p.Hooks[0].ID != stage.PreSigreturn || p.Hooks[0].Priority != 5 ||
		p.Init.Symbol == "" || p.Exit.Symbol == "" || len(p.Params) != 8 {
		t.Errorf("%+v", p)
	}
	if len(p.Imports) != 2 || p.Imports[0].String()+p.Imports[1].String() != "twice(int)@V1 of libtwice.so.1getpid of libc.so.6" &&
		p.Imports[1].String()+p.Imports[0].String() != "twice(int)@V1 of libtwice.so.1getpid of libc.so.6" {
		t.Errorf("imports %+v", p.Imports)
	}
	if got := fmt.Sprint(p.Syscalls); got != "{true [39 186 318] false}" { // getpid, gettid, getrandom
		t.Errorf("it declares %s", got)
	}
	out, err := exec.Command(filepath.Join(dir, "unit_rs_test"), "panic").CombinedOutput()
	for _, part := range []string{"error: panicked at ", "unit.rs:", "index out of bounds: the len is 3 but the index is"} {
		if err == nil || !strings.Contains(string(out), part) {
			t.Errorf("%v, no %q in\n%s", err, part, out)
		}
	}
}

// What the crate has for a whole process finds symbols, descriptors, environ and errno, and declares the calls that it
// makes for that.
func TestRustInAProcess(t *testing.T) {
	t.Parallel()
	dir := makeRust(t, "process")
	p := mustBePlugin(t, filepath.Join(dir, "process.o"))
	// close, lseek, mmap, munmap, gettid, getdents64, openat, readlinkat, process_vm_readv, process_vm_writev
	if got := fmt.Sprint(p.Syscalls); got != "{true [3 8 9 11 186 217 257 267 310 311] false}" {
		t.Errorf("it declares %s", got)
	}
	if out, err := exec.Command(filepath.Join(dir, "process_rs_test")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The plugin that the author's guide shows in Rust is one.
func TestRustInTheDocumentation(t *testing.T) {
	t.Parallel()
	found := regexp.MustCompile("(?s)```rust\n(.*?)```").FindSubmatch(read(t, "docs/plugin-guide.md"))
	if found == nil {
		t.Fatal("docs/plugin-guide.md shows no Rust")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "greet.rs"), string(found[1]))
	write(t, filepath.Join(dir, "Makefile"), "CRPIE_PLUGIN = greet.o\nCRPIE_RUST = crate\ninclude "+
		filepath.Join(root(t), "plugin-sdk", "plugin.mk")+"\n")
	cmd := exec.Command(loadertest.Tool(t, "make"), "-C", dir, "CC=gcc", "RUSTC="+loadertest.Tool(t, "rustc"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if p := mustBePlugin(t, filepath.Join(dir, "greet.o")); p.Name != "greet" || len(p.Params) != 1 {
		t.Errorf("%+v", p)
	}
}
