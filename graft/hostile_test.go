package graft

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// rawHeader is a header block as no writer makes it: with any type and size.
func rawHeader(name string, typ byte, size string) []byte {
	h := make([]byte, tarBlock)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[sizeField:], size)
	copy(h[136:], "00000000000\x00        ")
	h[typeField] = typ
	copy(h[257:], "ustar\x0000")
	return checksummed(h)
}

func checksummed(h []byte) []byte {
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

func octal(n int) string { return fmt.Sprintf("%011o\x00", n) }

// filled is data with zeros up to a whole number of blocks.
func filled(data string) []byte {
	return append([]byte(data), make([]byte, -len(data)&(tarBlock-1))...)
}

// paxHeader is a pax header with records of pairs of keys and values.
func paxHeader(pairs ...string) []byte {
	records := ""
	for i := 0; i < len(pairs); i += 2 {
		record := fmt.Sprintf(" %s=%s\n", pairs[i], pairs[i+1])
		length := len(record) + 1 // of the digits, too
		for len(strconv.Itoa(length))+len(record) != length {
			length++
		}
		records += strconv.Itoa(length) + record
	}
	return append(rawHeader("pax", 'x', octal(len(records))), filled(records)...)
}

// endless repeats bytes.
type endless struct {
	data []byte
	at   int
}

func (e *endless) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		k := copy(b[n:], e.data[e.at:])
		n, e.at = n+k, (e.at+k)%len(e.data)
	}
	return n, nil
}

func unpackTemp(t testing.TB, from io.Reader, limits Limits) (tb *tarball, disk int64, err error) {
	t.Helper()
	f, err := unnamed(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if tb, _, err = unpack(from, f, limits.withDefaults()); err == nil {
		err = tb.findImages()
	}
	info, serr := f.Stat()
	if serr != nil {
		t.Fatal(serr)
	}
	return tb, info.Size(), err
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// TestEndlessArchives are archives that never end: each limit ends one, and says how to raise it.
func TestEndlessArchives(t *testing.T) {
	for want, c := range map[string]struct {
		data []byte
		disk int64
	}{
		"the headers of its entries have more than 67108864 bytes\n  hint: if you trust it, raise the limit: --archive-limit headers=N": {
			append(paxHeader("comment", strings.Repeat("A", 1_000_000)), rawHeader("f", '0', octal(0))...),
			67 << 20},
		"it has more than 100000 entries\n  hint: if you trust it, raise the limit: --archive-limit entries=N": {
			rawHeader("f", '0', octal(0)), 52 << 20},
		"it has more than 104857600 bytes unpacked\n  hint: if you trust it, raise the limit: --archive-limit size=N": {
			append(rawHeader("f", '0', "77777777777\x00"), make([]byte, 1<<20)...), 100 << 20},
	} {
		before := allocated() // garbage counts, too
		_, disk, err := unpackTemp(t, &endless{data: c.data}, Limits{Size: 100 << 20})
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if memory := allocated() - before; memory > 512<<20 || disk > c.disk {
			t.Errorf("%s: %d bytes of memory, %d on disk", want, memory, disk)
		}
	}
}

// TestLimitsCanBeSet has two small files.
func TestLimitsCanBeSet(t *testing.T) {
	archive := checkpointTar(t, fstest.MapFS{"inventory.img": {Data: []byte("CRIU")}})
	for _, c := range []struct {
		limits Limits
		want   string
	}{
		{Limits{}, "<nil>"},
		{Limits{Size: int64(len(archive))}, "<nil>"},
		{Limits{Size: int64(len(archive)) - 1}, "it has more than "},
		{Limits{Entries: 5}, "<nil>"},
		{Limits{Entries: 4}, "it has more than 4 entries"},
		{Limits{Headers: 1000}, "the headers of its entries have more than 1000 bytes"},
	} {
		if _, _, err := unpackTemp(t, bytes.NewReader(archive), c.limits); !strings.HasPrefix(fmt.Sprint(err),
			c.want) {
			t.Errorf("%+v: %v, want %s", c.limits, err, c.want)
		}
	}
}

// oddities are entries that are no images and that archive/tar does not describe to the byte.
func oddities() map[string][]byte {
	gnuSparse := rawHeader("old-sparse", 'S', octal(5))
	copy(gnuSparse[257:], "ustar  \x00")
	copy(gnuSparse[386:], "00000000000\x0000000000005\x00")
	copy(gnuSparse[483:], octal(5))
	pax1 := bytes.Join([][]byte{
		paxHeader("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "new-sparse",
			"GNU.sparse.realsize", "1000"),
		rawHeader("GNUSparseFile.0/new-sparse", '0', octal(517)), filled("1\n995\n5\n"), filled("later"),
	}, nil)
	return map[string][]byte{
		"GNU sparse":   append(checksummed(gnuSparse), filled("later")...),
		"pax sparse":   pax1,
		"hard link":    rawHeader("link", '1', octal(77)), // a size without contents
		"unknown type": append(rawHeader("odd", 'Z', octal(5)), filled("later")...),
		"contiguous":   append(rawHeader("cont", '7', octal(5)), filled("later")...),
		"pax size": bytes.Join([][]byte{paxHeader("size", "5"), rawHeader("big", '0', octal(0)),
			filled("later")}, nil),
		"global": append(rawHeader("g", 'g', octal(len("14 comment=ab\n"))), filled("14 comment=ab\n")...),
	}
}

// TestOddEntriesPass puts an entry that is no image in front of the images: it is in the output bit by bit, and the
// images after it are changed as they should be.
func TestOddEntriesPass(t *testing.T) {
	whole := checkpointTar(t, sample(t, "static"))
	for name, odd := range oddities() {
		base := t.TempDir()
		in, out := filepath.Join(base, "in"), filepath.Join(base, "out")
		if err := os.WriteFile(in, append(bytes.Clone(odd), whole...), 0o600); err != nil {
			t.Fatal(err)
		}
		plan, err := Archive(t.Context(), in, out, options(t))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		changed := map[string]bool{}
		for _, f := range plan.Files {
			changed["checkpoint/"+f.Name] = true
		}
		compareEntries(t, in, out, changed)
		if data, err := os.ReadFile(out); err != nil || !bytes.HasPrefix(data, odd) {
			t.Errorf("%s: not the same in the output: %v", name, err)
		}
	}
}

// TestImagesAreRegularFiles has an image that is something else.
func TestImagesAreRegularFiles(t *testing.T) {
	for typ, want := range map[byte]string{
		tar.TypeLink:    "a hard link to another entry; pack it with --hard-dereference",
		tar.TypeSymlink: "a symbolic link, not a regular file",
		tar.TypeFifo:    "a FIFO, not a regular file", tar.TypeChar: "a device, not a regular file",
		tar.TypeCont: "an entry of type '7', not a regular file",
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range []tar.Header{{Name: "checkpoint/inventory.img"},
			{Name: "checkpoint/files.img", Typeflag: typ, Linkname: "/etc/passwd"}} {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		tb, _, err := unpackTemp(t, &b, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fs.ReadFile(tb, "files.img"); err == nil || err.Error() != "open files.img: it is "+want {
			t.Errorf("type %c: %v, want %s", typ, err, want)
		}
	}
}

// bzip2ed is an archive with a file checkpoint/inventory.img of four bytes.
const bzip2ed = "QlpoOTFBWSZTWfKOKOoAAHB/gMmAAAFAAfUACGASAGrr3yAICCAAdCCnqDQaBoaGg09R6gkpGgAAAAA+wjHEILGoQiXiiEZHC+gQwGHvc7RNYItcEMTdZVec06k/R5tzhwseoJycQYXtaIxflJSRwiIB+LuSKcKEh5RxR1A="

func TestOtherPackings(t *testing.T) {
	base := t.TempDir()
	in, out := filepath.Join(base, "in"), filepath.Join(base, "out")
	write := func(data string) {
		t.Helper()
		if err := os.WriteFile(in, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	packed, err := base64.StdEncoding.DecodeString(bzip2ed)
	if err != nil {
		t.Fatal(err)
	}
	write(string(packed))
	if err := ReadArchive(in, Limits{}, func(fsys fs.FS) error {
		if data, err := fs.ReadFile(fsys, "inventory.img"); err != nil || string(data) != "CRIU" {
			return fmt.Errorf("%q, %w", data, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	_, err = Archive(t.Context(), in, out, options(t))
	if want := "archive " + in + ": it is packed with bzip2, which is read but not written; bunzip2 it first"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	for magic, want := range map[string]string{"\xfd7zXZ\x00": "xz, which is not read here; unxz it first",
		"LZIP\x01": "lzip, ", "\x04\x22\x4d\x18": "lz4, "} {
		write(magic + "more")
		err := ReadArchive(in, Limits{}, func(fs.FS) error { return nil })
		if err == nil || !strings.HasPrefix(err.Error(), "archive "+in+": it is packed with "+want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// FuzzArchive: whatever an archive says, it costs no more than its limits, and what is listed lies in it.
func FuzzArchive(f *testing.F) {
	limits := Limits{Size: 1 << 20, Entries: 100, Headers: 64 << 10}
	for _, odd := range oddities() {
		f.Add(append(odd, rawHeader("checkpoint/inventory.img", '0', octal(0))...))
	}
	f.Add(bytes.Repeat(rawHeader("f", '0', octal(0)), 200))
	f.Add(append(paxHeader("comment", strings.Repeat("A", 100_000)), rawHeader("f", '0', octal(0))...))
	f.Add(rawHeader("x", '0', "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x00\xff\x00\x00"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x00\x80\x00\x00\x00")) // a window of 64 MiB for nothing
	f.Fuzz(func(t *testing.T, data []byte) {
		before := allocated()
		tb, disk, err := unpackTemp(t, bytes.NewReader(data), limits)
		if memory := allocated() - before; memory > 32<<20 || disk > limits.Size+1 {
			t.Errorf("%d bytes of memory, %d on disk for %d", memory, disk, len(data))
		}
		if err != nil {
			return
		}
		end := int64(0)
		for _, e := range tb.entries {
			if e.start != end || e.data <= e.start || e.end < e.data {
				t.Fatalf("entry %q from %d, contents from %d to %d, expected from %d", e.Name, e.start,
					e.data, e.end, end)
			}
			end = e.end
		}
	})
}
