package planner

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/planner/file"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// note is one of elf(5): header, owner and description, both filled up to words.
func note(owner string, kind uint32, desc []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(owner)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(desc)))
	b = binary.LittleEndian.AppendUint32(b, kind)
	return append(append(b, file.Padded([]byte(owner))...), file.Padded(bytes.Clone(desc))...)
}

func gnuNote(id []byte) []byte { return note("GNU\x00", host.GnuBuildID, id) }

// elf64 is as much of a file as the search looks at: a header, and a segment of notes for each argument.
func elf64(segments ...[]byte) []byte { return elfFile(2, 0, segments) }

func elfFile(class byte, gap int, segments [][]byte) []byte {
	l := host.ElfLayouts[class]
	file := make([]byte, l.Header+len(segments)*l.Phdr+gap)
	copy(file, "\x7fELF")
	file[4] = class
	put := func(at int, v uint64) { // a word of either class: what follows is written later, or zero
		binary.LittleEndian.PutUint32(file[at:], uint32(v))
	}
	put(l.Phoff, uint64(l.Header))
	binary.LittleEndian.PutUint16(file[l.Phnum:], uint16(len(segments)))
	for i, s := range segments {
		at := l.Header + i*l.Phdr
		put(at, host.PtNote)
		put(at+l.POffset, uint64(len(file)))
		put(at+l.PFilesz, uint64(len(s)))
		file = append(file, s...)
	}
	return file
}

func TestReadBuildID(t *testing.T) {
	id := []byte{1, 2, 3, 4, 5}
	other := note("GNU\x00", 1, make([]byte, 16))
	for name, tc := range map[string]struct {
		file, want []byte
	}{
		"64 bits":              {elf64(gnuNote(id)), id},
		"32 bits":              {elfFile(1, 0, [][]byte{gnuNote(id)}), id},
		"behind another":       {elf64(append(bytes.Clone(other), gnuNote(id)...)), id},
		"in the second":        {elf64(other, gnuNote(id)), id},
		"of another owner":     {elf64(append(note("Xen\x00", host.GnuBuildID, []byte{9}), gnuNote(id)...)), []byte{9}},
		"at the window's end":  {elfFile(2, host.NoteWindow-64-56-21, [][]byte{gnuNote(id)}), id},
		"across it":            {elfFile(2, host.NoteWindow-64-56-20, [][]byte{gnuNote(id)}), nil},
		"behind it":            {elfFile(2, host.NoteWindow, [][]byte{gnuNote(id)}), nil},
		"none":                 {elf64(other), nil},
		"no segment":           {elf64(), nil},
		"empty":                {elf64(gnuNote(nil)), nil},
		"too long":             {elf64(gnuNote(make([]byte, host.MaxBuildID+1))), nil},
		"cut":                  {elf64(gnuNote(id))[:140], nil},
		"no ELF file":          {[]byte("#!/bin/sh\n"), nil},
		"of an unknown class":  {elfFile(2, 0, nil)[:4], nil},
		"no file":              {nil, nil},
		"endless notes":        {elf64(make([]byte, 1<<20)), nil},
		"sizes near the limit": {elf64(note("", 1, nil)[:0], append([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00"), gnuNote(id)...)), nil},
	} {
		if got := host.ReadBuildID(bytes.NewReader(tc.file)); !bytes.Equal(got, tc.want) || (got == nil) != (tc.want == nil) {
			t.Errorf("%s: got %x, want %x", name, got, tc.want)
		}
	}
}

// What a linker was told to write is found, also in the programs of this machine.
func TestReadBuildIDOfCompiler(t *testing.T) {
	cc := testenv.NeedTool(t, "cc", "gcc")
	source, lib := filepath.Join(t.TempDir(), "x.c"), filepath.Join(t.TempDir(), "x.so")
	if err := os.WriteFile(source, []byte("int x;"), 0o644); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{"--build-id=0x0123456789abcd": "\x01\x23\x45\x67\x89\xab\xcd", "--build-id=none": ""} {
		if out, err := exec.Command(cc, "-shared", "-fPIC", "-Wl,"+flag, "-o", lib, source).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		file, err := os.Open(lib)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if got := host.ReadBuildID(file); string(got) != want {
			t.Errorf("%s: %x", flag, got)
		}
	}
}

// What a file is now decides whether the images fit to it. What is wrong is said once, however many mappings there are.
func TestFileValidation(t *testing.T) {
	const exe = "/srv/v/bin/static"
	other := elf64(gnuNote([]byte("another build of it.")))
	size := job.Options{FileValidation: job.ByFileSize}
	for name, tc := range map[string]struct {
		build  []byte
		mode   fs.FileMode
		opts   job.Options
		change func(d *images.Dir)
		want   string
	}{
		"another build": {build: other, want: "task 18827 memory 400000-401000: " + exe + " has build id 616e6f74686572206275696c64206f662069742e, " +
			"but had 02843221bf2e9d74189a063b1349f7d3f8e4044b at dump time: it is another build\n" +
			"  hint: put back the build that was there at dump time; --file-validation filesize compares only sizes"},
		"no build id any more":   {build: elf64(), want: exe + " has no build id, but had 02843221bf2e9d74189a063b1349f7d3f8e4044b at dump time"},
		"longer":                 {build: elf64(gnuNote(make([]byte, 24))), want: exe + " has build id 0000"},
		"by size":                {build: other, opts: size},
		"dumped by size":         {build: other, change: func(d *images.Dir) { dropBuildIDs(d) }},
		"dumped with a checksum": {change: func(d *images.Dir) { addChecksums(d) }, want: "the images have a checksum of " + exe},
		"checksum, by size":      {change: func(d *images.Dir) { addChecksums(d) }, opts: size},
		"mode": {mode: 0o700, want: exe + " has mode 0700, but had 0755 at dump time\n" +
			"  hint: chmod 0755 " + exe + ", or restore with --skip-file-rwx-check"},
		"mode, skipped":         {mode: 0o700, opts: job.Options{SkipFileRWX: true}},
		"set-user-ID":           {mode: 0o755 | fs.ModeSetuid, want: exe + " has mode 4755, but had 0755 at dump time\n  hint: chmod 0755 " + exe},
		"set-user-ID, not rwx":  {mode: 0o755 | fs.ModeSetuid, opts: job.Options{SkipFileRWX: true}, want: exe + " has mode 4000, but had 0000"},
		"mode is by no method":  {mode: 0o700, opts: size, want: exe + " has mode 0700"},
		"as it was":             {},
		"as it was, every size": {opts: size},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			if tc.change != nil {
				tc.change(dir)
			}
			host := hostWith(fakeHost(dir), exe, tc.build, tc.mode)
			_, err := buildSample(t, dir, host, &tc.opts)
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRefusal(t, err, tc.want)
			if n := strings.Count(err.Error(), exe+" has"); n > 1 {
				t.Errorf("it is said %d times:\n%v", n, err)
			}
		})
	}
}

// hostWith has another file in the place of one; nil and 0: the same.
func hostWith(host *host.Host, path string, data []byte, mode fs.FileMode) *host.Host {
	stat, read := host.Stat, host.ReadFileAt
	host.Stat = func(name string) (fs.FileInfo, error) {
		info, err := stat(name)
		if name == path && mode != 0 {
			return fakeInfo{info.Size(), mode}, err
		}
		return info, err
	}
	host.ReadFileAt = func(name string, b []byte, off int64) (int, error) {
		if name == path && data != nil {
			return bytes.NewReader(data).ReadAt(b, off)
		}
		return read(name, b, off)
	}
	return host
}

func dropBuildIDs(d *images.Dir) {
	for _, f := range d.Files {
		if f.Reg != nil {
			f.Reg.BuildId = nil
		}
	}
}

func addChecksums(d *images.Dir) {
	for _, f := range d.Files {
		if f.Reg != nil {
			f.Reg.Checksum = pb.Uint32(7)
		}
	}
}
