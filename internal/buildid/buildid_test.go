package buildid_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/crpie/crpie/internal/buildid"
	"github.com/crpie/crpie/internal/buildid/buildidtest"
	"github.com/crpie/crpie/internal/testenv"
)

func TestReadBuildID(t *testing.T) {
	id := []byte{1, 2, 3, 4, 5}
	other := buildidtest.Note("GNU\x00", 1, make([]byte, 16))
	for name, tc := range map[string]struct {
		file, want []byte
	}{
		"64 bits":        {buildidtest.ELF64(buildidtest.BuildID(id)), id},
		"32 bits":        {buildidtest.ELF(1, 0, [][]byte{buildidtest.BuildID(id)}), id},
		"behind another": {buildidtest.ELF64(append(bytes.Clone(other), buildidtest.BuildID(id)...)), id},
		"in the second":  {buildidtest.ELF64(other, buildidtest.BuildID(id)), id},
		"of another owner": {buildidtest.ELF64(
			append(buildidtest.Note("Xen\x00", buildid.Type, []byte{9}),
				buildidtest.BuildID(id)...)), []byte{9}},
		"at the window's end": {buildidtest.ELF(2, buildid.Window-64-56-21, [][]byte{buildidtest.BuildID(id)}), id},
		"across it": {buildidtest.ELF(2, buildid.Window-64-56-20, [][]byte{buildidtest.BuildID(id)}),
			nil},
		"behind it":           {buildidtest.ELF(2, buildid.Window, [][]byte{buildidtest.BuildID(id)}), nil},
		"none":                {buildidtest.ELF64(other), nil},
		"no segment":          {buildidtest.ELF64(), nil},
		"empty":               {buildidtest.ELF64(buildidtest.BuildID(nil)), nil},
		"too long":            {buildidtest.ELF64(buildidtest.BuildID(make([]byte, buildid.Max+1))), nil},
		"cut":                 {buildidtest.ELF64(buildidtest.BuildID(id))[:140], nil},
		"no ELF file":         {[]byte("#!/bin/sh\n"), nil},
		"of an unknown class": {buildidtest.ELF(2, 0, nil)[:4], nil},
		"no file":             {nil, nil},
		"endless notes":       {buildidtest.ELF64(make([]byte, 1<<20)), nil},
		"sizes near the limit": {buildidtest.ELF64(buildidtest.Note("", 1, nil)[:0],
			append([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00"),
				buildidtest.BuildID(id)...)), nil},
	} {
		if got := buildid.Read(bytes.NewReader(tc.file)); !bytes.Equal(got, tc.want) ||
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
		if got := buildid.Read(file); string(got) != want {
			t.Errorf("%s: %x", flag, got)
		}
	}
}
