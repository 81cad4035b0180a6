package tmpfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/testenv"
)

// pack makes an archive.
func pack(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	w := tar.NewWriter(zip)
	for _, h := range headers {
		h.ModTime = time.Unix(1, 0)
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, zeroReader{}, h.Size); h.Typeflag == tar.TypeReg && err != nil {
			t.Fatal(err)
		}
	}
	if w.Flush() != nil || w.Close() != nil || zip.Close() != nil {
		t.Fatal("the archive cannot be written")
	}
	return b.Bytes()
}

type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func unpack(t testing.TB, dir string, archive []byte) error {
	t.Helper()
	root, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	return Unpack(root, bytes.NewReader(archive))
}

// What leads out of the directory, is nothing that CRIU writes, or takes too much, is refused by name, and nothing has
// been written outside.
func TestHostileArchives(t *testing.T) {
	testenv.NeedRoot(t)
	outside := t.TempDir()
	link := func(name, to string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	file := func(name string) *tar.Header { return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }
	attributes := map[string]string{}
	for i := range 20 {
		attributes[fmt.Sprint("SCHILY.xattr.user.", i)] = "x"
	}
	for name, tc := range map[string]struct {
		entries []*tar.Header
		want    string
	}{
		"through a link": {[]*tar.Header{link("./l", outside), file("./l/x")},
			"entry 1, ./l/x: open l: too many levels of symbolic links"},
		"up": {[]*tar.Header{file("../x")}, "entry 0, ../x: open ..: invalid cross-device link"},
		"up again": {[]*tar.Header{file("./a/../../x")},
			"entry 0, ./a/../../x: open a/../..: no such file or directory"},
		"dots": {[]*tar.Header{{Typeflag: tar.TypeDir, Name: "./.."}},
			"entry 0, ./..: its name leads elsewhere"},
		"no directory": {[]*tar.Header{file("a/x")}, "entry 0, a/x: open a: no such file or directory"},
		"twice":        {[]*tar.Header{file("x"), file("x")}, "entry 1, x: make: file exists"},
		"over a link":  {[]*tar.Header{link("x", outside+"/y"), file("x")}, "entry 1, x: make: file exists"},
		"hard link": {[]*tar.Header{{Typeflag: tar.TypeLink, Name: "x", Linkname: "../../etc/passwd"}},
			"entry 0, x: link to ../../etc/passwd: open ../../etc: invalid cross-device link"},
		"link of nothing": {[]*tar.Header{{Typeflag: tar.TypeLink, Name: "x", Linkname: "y"}},
			"entry 0, x: link to y: no such file or directory"},
		"attribute": {[]*tar.Header{{Typeflag: tar.TypeReg, Name: "x", PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}}},
			"entry 0, x: it has an attribute that is not supported, SCHILY.xattr.user.a"},
		"attributes": {[]*tar.Header{{Typeflag: tar.TypeReg, Name: "x", PAXRecords: attributes}},
			"entry 0, x: it has an attribute that is not supported, SCHILY.xattr.user.0"},
		"odd name":  {[]*tar.Header{file("\n::error")}, ""},
		"long name": {[]*tar.Header{file(strings.Repeat("a/", 2048) + "x")}, "its name has more than 4095 bytes"},
		"device": {[]*tar.Header{{Typeflag: tar.TypeChar, Name: "x", Devmajor: 1 << 13}},
			"entry 0, x: device 8192:0 does not exist"},
		"owner": {[]*tar.Header{{Typeflag: tar.TypeDir, Name: "x", Uid: 1 << 32}},
			"entry 0, x: owner 4294967296:0 does not exist"},
		"file on top": {[]*tar.Header{file("./.")}, "entry 0, ./.: the top is not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			err := unpack(t, t.TempDir(), pack(t, tc.entries...))
			if got := fmt.Sprint(err); tc.want == "" && err != nil || !strings.Contains(got, tc.want) {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside: %v %v", left, err)
	}
}

// What is not a whole archive is an error.
func TestBrokenArchives(t *testing.T) {
	testenv.NeedRoot(t)
	good := pack(t, &tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: 100 << 10})
	changed := bytes.Clone(good)
	changed[len(changed)-8] ^= 1 // the checksum of its contents, RFC 1952
	for name, archive := range map[string][]byte{"empty": nil, "text": []byte("hello, world"), "cut": good[:len(good)/2],
		"changed": changed, "without its end": good[:len(good)-8]} {
		if err := unpack(t, t.TempDir(), archive); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A file with a hole of more than all archives may have is refused before its zeros are read.
func TestHugeHole(t *testing.T) {
	testenv.NeedRoot(t)
	dir := t.TempDir()
	name := filepath.Join(dir, "x")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 1<<40); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "archive")

	cmd := exec.Command(testenv.NeedTool(t, "tar"), "--create", "--gzip", "--sparse", "--file", archive,
		"--directory", dir, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v %s", err, out)
	}
	data, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	err = unpack(t, t.TempDir(), data)
	if err == nil ||
		!strings.Contains(err.Error(), "the files have more than 34359738368 bytes, with their holes") {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

// FuzzUnpack: whatever an archive holds, all that is made is in the directory.
func FuzzUnpack(f *testing.F) {
	testenv.NeedRoot(f)
	f.Add(
		plain(f, pack(
			f,
			&tar.Header{Typeflag: tar.TypeDir, Name: "./"},
			&tar.Header{Typeflag: tar.TypeReg, Name: "./x", Size: 5},
			&tar.Header{
				Typeflag: tar.TypeLink,
				Name:     "./y",
				Linkname: "./x",
			},
			&tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: ".."},
			&tar.Header{Typeflag: tar.TypeDir, Name: "./d"},
			&tar.Header{Typeflag: tar.TypeFifo, Name: "./d/f"},
		)),
	)
	top := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		dir, err := os.MkdirTemp(top, "")
		if err == nil {
			err = os.Mkdir(filepath.Join(dir, "in"), 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		if _, err := zip.Write(data); err != nil || zip.Close() != nil {
			t.Fatal(err)
		}
		_ = unpack(t, filepath.Join(dir, "in"), b.Bytes()) // most are broken
		if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
			t.Fatalf("beside the directory: %v %v", all, err)
		}
	})
}

func plain(t testing.TB, archive []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
