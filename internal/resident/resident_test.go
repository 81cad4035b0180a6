package resident_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/exports"
	"github.com/crpie/crpie/internal/resident"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/stage"
)

const bias = 1 << 40

// carrier builds a library that exports a function and an array.
func carrier(t *testing.T) []byte {
	t.Helper()
	source, out := filepath.Join(t.TempDir(), "a.c"), filepath.Join(t.TempDir(), "a.so")
	text := "int hook(void *c) { return !c; }\nlong criu_hooks[4] = { 1 };\n"
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command("gcc", "-shared", "-fPIC", "-nostdlib", source, "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// carrying is a process that maps the library.
func carrying(t *testing.T, b []byte) *resident.Process {
	t.Helper()
	f, err := exports.Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	hook, err := f.Lookup("hook", "")
	if err != nil {
		t.Fatal(err)
	}
	space := &exports.Space{Open: func(string) (io.ReaderAt, error) { return bytes.NewReader(b), nil }}
	for _, s := range f.Segments {
		space.Mappings = append(space.Mappings, taskview.VMA{Start: bias + s.Vaddr&^0xfff,
			End: bias + (s.Vaddr+s.Memsz+0xfff)&^0xfff, Pgoff: s.Off &^ 0xfff,
			Prot: s.Flags&2 | s.Flags>>2&1 | s.Flags&1<<2, Name: "/a.so"})
	}
	return &resident.Process{Space: space, Read: func(_ uint64, b []byte) error {
		(&abi.ResidentRecord{Size: abi.ResidentRecordSize, ABI: 1, Stage: uint32(stage.PreSigreturn),
			Fn: bias + hook.Value}).Put(b)
		return nil
	}}
}

// What forbids that a task's hooks run makes none of them run, and is no refusal of what else is wrong.
func TestNoRoomAndNoFilters(t *testing.T) {
	b := carrier(t)
	for _, c := range []struct {
		plugins    int
		unfiltered bool
		want       string
	}{
		{0, false, "[]"},
		{abi.MaxPlugins - 1, false, "[]"},
		{abi.MaxPlugins, false, "1 files have an array criu_hooks, beside 1024 plugins: more than 1024"},
		{0, true, "suspended while hooks run"},
	} {
		p := carrying(t, b)
		p.Plugins, p.Unfiltered = c.plugins, c.unfiltered
		found := p.Find(resident.Auto)
		if len(found.Files) != 1 || !strings.Contains(fmt.Sprint(found.Damaged), c.want) {
			t.Errorf("%d plugins: %+v", c.plugins, found)
		}
	}
}
