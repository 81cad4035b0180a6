//go:build linux && amd64

package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// A program that was replaced by another build of the same size, or whose mode was changed, is restored by crpie
// where criu restores it, and otherwise refused. A graft keeps what criu compares.
func TestReplacedProgram(t *testing.T) {
	testenv.NeedCRIU(t)
	exe := filepath.Join(t.TempDir(), "program")
	same, err := os.ReadFile(testenv.Victim(t, "static")[0])
	if err != nil {
		t.Fatal(err)
	}
	other, ids := anotherBuild(t, same)
	write(t, exe, same, 0o755)
	im := testenv.StartCommand(t, "program", exe).Dump(t)
	grafted := graftOnto(t, im, traced(t)...)
	for name, tc := range map[string]struct {
		data  []byte
		mode  os.FileMode
		flags []string
		want  string // of crpie; criu fails, too, if there is one
	}{
		"as it was": {same, 0o755, nil, ""},
		"another build": {other, 0o755, nil,
			exe + " has build id " + ids[1] + ", but had " + ids[0] + " at dump time"},
		"another build, named": {other, 0o755, []string{"--file-validation", "buildid"},
			exe + " has build id " + ids[1]},
		"another build, by size": {other, 0o755, []string{"--file-validation=filesize"}, ""},
		"another size": {append(bytes.Clone(same), 0), 0o755, []string{"--file-validation=filesize"},
			fmt.Sprintf("%s has %d bytes, but had %d", exe, len(same)+1, len(same))},
		"mode":          {same, 0o711, nil, exe + " has mode 0711, but had 0755 at dump time"},
		"mode, skipped": {same, 0o711, []string{"--skip-file-rwx-check"}, ""},
		"set-user-ID, skipped": {same, 0o755 | os.ModeSetuid, []string{"--skip-file-rwx-check"},
			exe + " has mode 4000"},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, exe, tc.data, tc.mode)
			if tc.want == "" {
				p, _ := restore(t, im, tc.flags...)
				p.MustPass(t)
				im.RestoreCRIU(t, tc.flags...).MustPass(t)
				grafted.RestoreCRIU(t, tc.flags...).MustPass(t)
				return
			}
			if status, output := tool(t, im,
				append([]string{"restore", "-d", "-D", im.Dir},
					tc.flags...)...); status != exitFailed || strings.Count(output, tc.want) != 1 {
				t.Errorf("status %d, output:\n%s\nwant %s", status, output, tc.want)
			}
			for _, images := range []*testenv.Images{im, grafted} {
				if !images.CRIURefuses(t, tc.flags...) {
					t.Error("criu restores it")
				}
			}
		})
	}
}

func write(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	os.Remove(path) // what is executed cannot be written to
	if err := os.WriteFile(path, data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// anotherBuild changes the build id of a program; ids are the old and the new one.
func anotherBuild(t *testing.T, program []byte) (other []byte, ids [2]string) {
	t.Helper()
	file, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	section := file.Section(".note.gnu.build-id")
	if section == nil {
		t.Fatal("the compiler writes no build id")
	}
	const header = 16 // of the note, with its owner
	start, end := section.Offset+header, section.Offset+section.Size
	other = bytes.Clone(program)
	other[end-1] ^= 1
	return other, [2]string{fmt.Sprintf("%x", program[start:end]), fmt.Sprintf("%x", other[start:end])}
}
