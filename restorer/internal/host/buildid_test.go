package host_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
)

func TestReadBuildID(t *testing.T) {
	id := []byte{1, 2, 3, 4, 5}
	other := hosttest.Note("GNU\x00", 1, make([]byte, 16))
	for name, tc := range map[string]struct {
		file, want []byte
	}{
		"64 bits":        {hosttest.ELF64(hosttest.BuildID(id)), id},
		"32 bits":        {hosttest.ELF(1, 0, [][]byte{hosttest.BuildID(id)}), id},
		"behind another": {hosttest.ELF64(append(bytes.Clone(other), hosttest.BuildID(id)...)), id},
		"in the second":  {hosttest.ELF64(other, hosttest.BuildID(id)), id},
		"of another owner": {hosttest.ELF64(
			append(hosttest.Note("Xen\x00", host.GnuBuildID, []byte{9}),
				hosttest.BuildID(id)...)), []byte{9}},
		"at the window's end": {hosttest.ELF(2, host.NoteWindow-64-56-21, [][]byte{hosttest.BuildID(id)}), id},
		"across it": {hosttest.ELF(2, host.NoteWindow-64-56-20, [][]byte{hosttest.BuildID(id)}),
			nil},
		"behind it":           {hosttest.ELF(2, host.NoteWindow, [][]byte{hosttest.BuildID(id)}), nil},
		"none":                {hosttest.ELF64(other), nil},
		"no segment":          {hosttest.ELF64(), nil},
		"empty":               {hosttest.ELF64(hosttest.BuildID(nil)), nil},
		"too long":            {hosttest.ELF64(hosttest.BuildID(make([]byte, host.MaxBuildID+1))), nil},
		"cut":                 {hosttest.ELF64(hosttest.BuildID(id))[:140], nil},
		"no ELF file":         {[]byte("#!/bin/sh\n"), nil},
		"of an unknown class": {hosttest.ELF(2, 0, nil)[:4], nil},
		"no file":             {nil, nil},
		"endless notes":       {hosttest.ELF64(make([]byte, 1<<20)), nil},
		"sizes near the limit": {hosttest.ELF64(hosttest.Note("", 1, nil)[:0],
			append([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00"),
				hosttest.BuildID(id)...)), nil},
	} {
		if got := host.ReadBuildID(bytes.NewReader(tc.file)); !bytes.Equal(got, tc.want) ||
			(got == nil) != (tc.want == nil) {
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
	for flag, want := range map[string]string{"--build-id=0x0123456789abcd": "\x01\x23\x45\x67\x89\xab\xcd",
		"--build-id=none": ""} {
		if out, err := exec.Command(cc, "-shared", "-fPIC", "-Wl,"+flag, "-o", lib,
			source).CombinedOutput(); err != nil {
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
