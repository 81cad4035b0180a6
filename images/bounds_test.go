package images

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
)

// framed is an image of one kind whose entries are given as bytes.
func framed(t *testing.T, kind string, entries ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := NewWriter(&out, "test", kind); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(e))))
		out.Write(e)
	}
	return out.Bytes()
}

// What is claimed to be large costs nothing, and what is small cannot be made large.
func TestMemoryIsBounded(t *testing.T) {
	huge := framed(t, "CORE")
	huge = append(huge, 0xff, 0xff, 0xff, 0xff, 1, 2, 3)
	deep := []byte{}
	for range 3000 { // cgroup_entry.controllers.dirs.children.children...
		deep = append(binary.AppendUvarint([]byte{0x12}, uint64(len(deep))), deep...)
	}
	for _, tc := range []struct {
		name, want string
		image      []byte
	}{
		{"a size of 4 GiB", "entry 0: message at offset 12: 4294967295 bytes, but the file ends after 3", huge},
		{"many filters", "more than 1048576 messages in one entry",
			framed(t, "SECCOMP", bytes.Repeat([]byte("\x0a\x02\x0a\x00"), 2<<20))},
		{"many entries", "more than 1048576 entries", framed(t, "SECCOMP", make([][]byte, 1<<20+1)...)},
		{"deep nesting", "nested more than 100 levels deep", framed(t, "CGROUP", deep)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, used, err := readMeasured(tc.image)
			if !strings.HasSuffix(fmt.Sprint(err), tc.want) {
				t.Errorf("%.300v\nwant %s", err, tc.want)
			}
			if limit := uint64(1 << 29); used > limit {
				t.Errorf("%d bytes allocated for an image of %d, more than %d", used, len(tc.image),
					limit)
			}
		})
	}
}

func readMeasured(image []byte) (*Image, uint64, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	img, err := Read(fstest.MapFS{"x.img": &fstest.MapFile{Data: image}}, "x.img")
	runtime.ReadMemStats(&after)
	return img, after.TotalAlloc - before.TotalAlloc, err
}

// Of a field that nobody knows the whole path is reported, which is a thousand times as long as the field.
func TestUnknownFieldsAreBounded(t *testing.T) {
	dir := append([]byte{0x0a, 0}, bytes.Repeat([]byte{0x78, 0}, 100_000)...) // dir_name, fields 15
	inside := func(head, body []byte) []byte {
		return append(binary.AppendUvarint(append(head, 0x12), uint64(len(body))), body...)
	}
	for range 90 {
		dir = inside([]byte{0x0a, 0}, dir)
	}
	image := framed(t, "CGROUP", inside(nil, inside(nil, dir))) // controllers, dirs
	img, used, err := readMeasured(image)
	if err != nil {
		t.Fatal(err)
	}
	if used > 16<<20 {
		t.Errorf("%d bytes allocated for an image of %d", used, len(image))
	}
	if n := len(img.Unknown); n != 100 || !strings.HasSuffix(img.Unknown[n-1], ".children[0].15 and more") {
		t.Errorf("%d paths, the last is %.100s", n, img.Unknown[n-1])
	}
}
