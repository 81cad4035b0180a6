package exports_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/exports"
	"github.com/crpie/crpie/internal/taskview"
)

const library = `
int counter = 3, plain;
__thread int own = 1;
static int hidden(int i) { return i + counter; }
int twice(int i) { return hidden(i) * 2; }
int old(void) { return 1; }
int new(void) { return 2; }
extern int elsewhere;
int uses(void) { return elsewhere; }
static void *choose(void) { return twice; }
int chosen(int) __attribute__((ifunc("choose")));
__asm__(".symver old, both@V1\n.symver new, both@@V2\n.symver ancient, ancient@V1\n"
	".globl ancient\n.type ancient, @function\nancient: ret\n");
`

const versions = "V1 { global: counter; plain; own; twice; uses; chosen; both; ancient; local: *; }; V2 { both; } V1;"

// build links the library, and returns its path.
func build(t testing.TB, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"lib.c": library, "lib.map": versions} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "libgame.so.1.2")
	args := append([]string{"-O1", "-fno-inline", "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libgame.so.1",
		"-Wl,--version-script=" + filepath.Join(
			dir,
			"lib.map",
		), "-o", out, filepath.Join(dir, "lib.c")}, flags...)
	if text, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, text)
	}
	return out
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// nm gives the value of a symbol as binutils say.
func nm(t *testing.T, lib, name string) uint64 {
	t.Helper()
	text, err := exec.Command("nm", lib).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var value uint64
		var kind, is string
		if n, _ := fmt.Sscanf(line, "%x %s %s", &value, &kind, &is); n == 3 && is == name {
			return value
		}
	}
	t.Fatalf("nm knows no %s:\n%s", name, text)
	return 0
}

func TestLookup(t *testing.T) {
	lib, stripped := build(t), build(t, "-s")
	for _, c := range []struct{ lib, name, version, same, absent string }{
		{lib, "twice", "", "twice", ""},
		{lib, "twice", "V1", "twice", ""},
		{lib, "twice", "V2", "", "it exports the symbol with version V1"},
		{lib, "counter", "", "counter", ""},
		{lib, "hidden", "", "hidden", ""},
		{lib, "hidden", "V1", "", "it exports no such symbol"},
		{lib, "both", "V1", "both@V1", ""},
		{lib, "both", "V2", "both@@V2", ""},
		{lib, "both", "", "both@@V2", ""},
		{lib, "ancient", "", "ancient@V1", ""},
		{lib, "own", "", "", "it is a variable that each thread has for itself (TLS)"},
		{lib, "chosen", "", "", "it is chosen when the program starts (IFUNC)"},
		{lib, "elsewhere", "", "", "it uses that symbol, which is another file's"},
		{lib, "nobody", "", "", "it has no such symbol"},
		{stripped, "nobody", "", "", "it exports no such symbol, and the names of others are stripped"},
		{stripped, "hidden", "", "", "it exports no such symbol, and the names of others are stripped"},
	} {
		f, err := exports.Read(bytes.NewReader(read(t, c.lib)))
		if err != nil {
			t.Fatal(err)
		}
		if f.Soname() != "libgame.so.1" {
			t.Errorf("SONAME %q", f.Soname())
		}
		got, err := f.Lookup(c.name, c.version)
		var absent *exports.Absent
		switch {
		case c.absent != "" && (!errors.As(err, &absent) || !strings.Contains(err.Error(), c.absent)):
			t.Errorf("%s@%s: %v, want %q", c.name, c.version, err, c.absent)
		case c.absent == "" && (err != nil || got.Value != nm(t, lib, c.same)):
			t.Errorf("%s@%s: %+v %v", c.name, c.version, got, err)
		}
	}
}

// mapped says where a library would lie with that bias, as the kernel maps its segments.
func mapped(t *testing.T, name string, b []byte, bias uint64) (all []taskview.VMA) {
	t.Helper()
	f, err := exports.Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range f.Segments {
		prot := s.Flags&2 | s.Flags>>2&1 | s.Flags&1<<2
		all = append(
			all,
			taskview.VMA{Start: (s.Vaddr + bias) &^ 0xfff, End: (s.Vaddr + bias + s.Memsz + 0xfff) &^ 0xfff,
				Pgoff: s.Off &^ 0xfff, Prot: prot, Name: name},
		)
	}
	return all
}

func TestFind(t *testing.T) {
	lib := build(t)
	b := read(t, lib)
	const bias, path = 0x7f0000000000, "/usr/lib/libgame.so.1.2"
	moved := mapped(t, path, b, bias)
	for i := range moved {
		if moved[i].Prot == 5 {
			moved[i].Pgoff += 0x100000
		}
	}
	gone := mapped(t, path, b, bias)[:2]
	for _, c := range []struct {
		what, library string
		mappings      []taskview.VMA
		want          string
	}{
		{"by SONAME", "libgame.so.1", mapped(t, path, b, bias), ""},
		{"by its file's name", "libgame.so.1.2", mapped(t, path, b, bias), ""},
		{"by path", path, mapped(t, path, b, bias), ""},
		{"not there", "libgame.so.2", mapped(t, path, b, bias), "it is not mapped"},
		{"other path", "/lib/libgame.so.1.2", mapped(t, path, b, bias), "it is not mapped"},
		{"program", "", mapped(t, path, b, bias), "it is not mapped"},
		{"two files", "libgame.so.1.2", append(mapped(t, path, b, bias), mapped(t, "/other/libgame.so.1.2", b, 2*bias)...),
			"it is mapped more than once, from /usr/lib/libgame.so.1.2 and /other/libgame.so.1.2: give the path"},
		{"two places", path, append(mapped(t, path, b, bias), mapped(t, path, b, 2*bias)...),
			"is mapped at two places"},
		{"other offset", path, moved, "is mapped otherwise than its segments say"},
		{"unreadable", "libgame.so.1", mapped(t, "/nowhere/x", b, bias),
			"no file of that name is mapped, and read /nowhere/x: file does not exist"},
		{"unusable", "libgame.so.1", append(mapped(t, "/other build/x", b, bias), mapped(t, "/nowhere/x", b, 2*bias)...),
			"no file of that name is mapped, and read /other build/x: invalid argument"},
		{"data unmapped", path, gone, "its memory is no longer mapped where the file has it"},
	} {
		s := exports.Space{
			Mappings: c.mappings,
			Program:  "/bin/none",
			Open: func(name string) (io.ReaderAt, error) {
				if strings.HasPrefix(name, "/nowhere") {
					return nil, fs.ErrNotExist
				}
				if strings.HasPrefix(name, "/other build") {
					return nil, fs.ErrInvalid
				}
				return bytes.NewReader(b), nil
			},
		}
		for _, name := range []string{"counter", "hidden"} {
			if name == "hidden" && c.what == "data unmapped" {
				continue
			}
			addr, err := s.Find(c.library, name, "")
			absent := new(exports.Absent)
			if c.what == "unusable" && (errors.As(err, &absent) || !errors.Is(err, fs.ErrInvalid)) {
				t.Errorf("%s: %v is absent, or has lost its chain", name, err)
			}
			switch {
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%s: %v, want %q", c.what, err, c.want)
			case c.want == "" && (err != nil || addr != bias+nm(t, lib, name)):
				t.Errorf("%s: %s at %#x, %v", c.what, name, addr, err)
			}
		}
	}
}

// endless is a file that says it has everything.
type endless struct{ head []byte }

func (e endless) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	if off < int64(len(e.head)) {
		copy(b, e.head[off:])
	}
	return len(b), nil
}

// Sizes of a file are refused before memory is taken for them.
func TestHostileSizes(t *testing.T) {
	good := read(t, build(t))
	shoff := binary.LittleEndian.Uint64(good[40:])
	for _, size := range []uint64{128<<20 + 1, 1 << 40, 1<<64 - 1} {
		b := bytes.Clone(good)
		for i := range binary.LittleEndian.Uint16(b[60:]) {
			if kind := binary.LittleEndian.Uint32(b[shoff+64*uint64(i)+4:]); kind == 11 ||
				kind == 2 { // SHT_DYNSYM, SHT_SYMTAB
				binary.LittleEndian.PutUint64(b[shoff+64*uint64(i)+32:], size)
			}
		}
		f, err := exports.Read(endless{b})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Lookup("twice", ""); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("size %#x: %v", size, err)
		}
	}
	for _, at := range []uint64{1 << 62, 1<<63 - 1, 1<<64 - 1} {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint64(b[40:], at)
		if _, err := exports.Read(bytes.NewReader(b)); err == nil {
			t.Errorf("section headers at %#x are read", at)
		}
	}
}

// FuzzRead holds that no file makes the reader fail otherwise than by an error.
func FuzzRead(f *testing.F) {
	good := read(f, build(f))
	f.Add(good)
	f.Add(good[:64])
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := exports.Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		file.Soname()
		s := exports.Space{
			Program: "/x",
			Open:    func(string) (io.ReaderAt, error) { return bytes.NewReader(b), nil },
			Mappings: []taskview.VMA{
				{Start: 1 << 40, End: 1<<40 + 1<<20, Prot: 5, Pgoff: 0x1000, Name: "/x"},
			},
		}
		for _, name := range []string{"twice", "both", "hidden", ""} {
			if addr, err := s.Find("", name, ""); err == nil && s.At(addr) == nil {
				t.Errorf("%s is at %#x, where nothing is", name, addr)
			}
		}
	})
}
