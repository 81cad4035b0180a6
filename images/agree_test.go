package images

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/crpie/crpie/images/internal/gocriu"
	"github.com/crpie/crpie/images/pb"
)

// rewritten decodes the data of a message with protobuf's library and go-criu's type, and encodes it again.
func rewritten(t testing.TB, m pb.Message, data []byte) []byte {
	t.Helper()
	same := gocriu.New(reflect.TypeOf(m).Elem().Name())
	if err := proto.Unmarshal(data, same); err != nil {
		t.Fatalf("accepted, but proto.Unmarshal says: %v", err)
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(same)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestLikeProtobuf reads and writes every message of the samples with both libraries, also with fields that neither
// knows.
func TestLikeProtobuf(t *testing.T) {
	messages := 0
	for _, name := range sampleNames(t) {
		dir := sample(t, name)
		for file := range dir {
			img, err := Read(dir, file)
			if err != nil {
				continue // a pages file
			}
			for _, e := range img.Entries {
				data := marshal(t, e.Message)
				for _, more := range []string{"", "\xf8\x3f\x07", "\xfa\x3f\x03abc",
					"\xfb\x3f\x08\x01\xfc\x3f"} {
					sameAgain(t, file, e.Message, append(bytes.Clone(data), more...))
				}
				messages++
			}
		}
	}
	if messages < 500 {
		t.Errorf("only %d messages", messages)
	}
}

// TestRequestsLikeProtobuf: a message with more fields than a word has bits is read and written as by protobuf, too.
func TestRequestsLikeProtobuf(t *testing.T) {
	kind := pb.CriuReqType_RESTORE
	data := marshal(t, &pb.CriuReq{Type: &kind, Opts: &pb.CriuOpts{
		ImagesDirFd: pb.Int32(-1), LogToStderr: pb.Bool(true), ConfigFile: pb.String("x"),
		CgRoot:  []*pb.CgroupRoot{{Ctrl: pb.String("cpu"), Path: pb.String("/a")}},
		Unknown: []byte("\xf8\x3f\x07"),
	}})
	sameAgain(t, "request", &pb.CriuReq{}, data)
	_, err := Unmarshal([]byte("\x08\x02\x12\x03\xb8\x04\x01"), &pb.CriuReq{}) // log_to_stderr alone
	if want := "field opts.images_dir_fd: missing"; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func sameAgain(t *testing.T, file string, like pb.Message, data []byte) {
	t.Helper()
	m := reflect.New(reflect.TypeOf(like).Elem()).Interface().(pb.Message)
	if _, err := Unmarshal(data, m); err != nil {
		t.Errorf("%s: %v", file, err)
		return
	}
	if got, want := marshal(t, m), rewritten(t, m, data); !bytes.Equal(got, want) || !bytes.Equal(got, data) {
		t.Errorf("%s: %T\n%x\nbecomes\n%x, with protobuf\n%x", file, m, data, got, want)
	}
	if c := pb.Clone(m); !reflect.DeepEqual(c, m) {
		t.Errorf("%s: the copy of %+v is %+v", file, m, c)
	}
}

// What both libraries make of an oddity of the encoding.
const (
	same     = "both read it and write the same"
	refused  = "both refuse it"
	stricter = "protobuf reads what is refused here"
)

// TestOddEncodings: each oddity that the encoding has room for, behind a message that is complete without it.
func TestOddEncodings(t *testing.T) {
	const ten = "\xff\xff\xff\xff\xff\xff\xff\xff\xff" // and one more make a varint of ten bytes
	const sas = "\x08\x01\x10\x02\x18\x03"
	thread := func(odd string) (pb.Message, string) { return &pb.ThreadCoreEntry{}, "\x08\x01\x10\x01" + odd }
	tree := func(odd string) (pb.Message, string) {
		return &pb.PstreeEntry{}, "\x08\x01\x10\x02\x18\x03\x20\x04" + odd
	}
	options := func(odd string) (pb.Message, string) {
		return &pb.SkOptsEntry{}, "\x08\x01\x10\x02\x18\x03\x20\x04\x28\x05\x30\x06" + odd
	}
	for _, tc := range []struct {
		name, want string
		in         func(string) (pb.Message, string)
		odd        string
	}{
		{"varint of ten bytes", same, thread, "\x30" + ten + "\x01"},
		{"varint of ten bytes for 32 bits", same, thread, "\x20" + ten + "\x01"},
		{"varint of 65 bits", refused, thread, "\x30" + ten + "\x02"},
		{"varint of eleven bytes", refused, thread, "\x30" + ten + "\x81\x00"},
		{"varint of ten bytes that goes on", refused, thread, "\x30" + ten + "\x80"},
		{"varint that ends early", refused, thread, "\x30\x80"},
		{"varint longer than it need be", same, thread, "\x30\x81\x80\x00"},
		{"tag longer than it need be", same, thread, "\xb0\x80\x00\x05"},
		{"unknown tag longer than it need be", same, thread, "\xf8\xbf\x00\x85\x00"},
		{"tag of ten bytes", refused, thread, "\xb0\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00"},
		{"highest number", same, thread, "\xf8\xff\xff\xff\x0f\x05"},
		{"number above the highest", refused, thread, "\x80\x80\x80\x80\x10\x05"},
		{"number zero", refused, thread, "\x00\x05"},
		{"wire type 6", refused, thread, "\xfe\x3f\x05"},
		{"wire type 7", refused, thread, "\xff\x3f\x05"},
		{"unknown fields of every type", same, thread, "\xf8\x3f\x05\xf9\x3f12345678\xfa\x3f\x01x\xfd\x3f1234"},
		{"unknown field twice, a known one between", same, thread, "\xf8\x3f\x05\x30\x07\xf8\x3f\x06"},
		{"known number with another type", stricter, thread, "\x31\x31\x32\x33\x34\x35\x36\x37\x38"},
		{"known number as a group", stricter, thread, "\x33\x34"},
		{"group", same, thread, "\xfb\x3f\x88\x00\x01\xfc\x3f"},
		{"group in a group", same, thread, "\xfb\x3f\x0b\x0c\xfc\x3f"},
		{"group with a long end", same, thread, "\xfb\x3f\xfc\xbf\x00"},
		{"group without an end", refused, thread, "\xfb\x3f\x08\x01"},
		{"group with another one's end", refused, thread, "\xfb\x3f\x0c"},
		{"end without a group", refused, thread, "\xfc\x3f"},
		{"number zero in a group", refused, thread, "\xfb\x3f\x00\x01\xfc\x3f"},
		{"number above the highest in a group", stricter, thread, "\xfb\x3f\x80\x80\x80\x80\x10\x05\xfc\x3f"},
		{"hundred groups", same, thread, strings.Repeat("\xfb\x3f", 100) + strings.Repeat("\xfc\x3f", 100)},
		{"more groups", stricter, thread, strings.Repeat("\xfb\x3f", 101) + strings.Repeat("\xfc\x3f", 101)},
		{"scalar twice", same, thread, "\x30\x05\x30\x06"},
		{"string twice", same, thread, "\x6a\x01a\x6a\x00"},
		{"string that is not UTF-8", same, thread, "\x6a\x03\xff\xc0\x00"},
		{"string longer than the rest", refused, thread, "\x6a\x02x"},
		{"string of 2⁶³ bytes", refused, thread, "\x6a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01x"},
		{"length longer than it need be", same, thread, "\x6a\x81\x80\x00x"},
		{"zigzag", same, thread, "\x18\x01"},
		{"zigzag wider than 32 bits", same, thread, "\x18" + ten + "\x01"},
		{"enum that nobody knows", same, thread, "\x58\x63"},
		{"negative enum", same, thread, "\x58" + ten + "\x01"},
		{"enum wider than 32 bits", same, thread, "\x58\x81\x80\x80\x80\x20"},
		{"message twice", same, thread, "\x3a\x06" + sas + "\x3a\x06\x08\x09\x10\x02\x18\x03"},
		{"message twice, unknown fields in both", same, thread,
			"\x3a\x09" + sas + "\xf8\x3f\x05\x3a\x0a" + sas + "\xf8\xbf\x00\x06"},
		{"message in two halves", stricter, thread, "\x3a\x04\x08\x01\x10\x02\x3a\x02\x18\x03"},
		{"message without a required field", refused, thread, "\x3a\x04\x08\x01\x10\x02"},
		{"end of a group in a message", refused, thread, "\x3a\x08" + sas + "\xfc\x3f"},
		{"packed", same, tree, "\x2a\x03\x05\x86\x00"},
		{"packed and not", same, tree, "\x28\x05\x2a\x01\x06\x28\x07"},
		{"packed, nothing in it", same, tree, "\x2a\x00"},
		{"packed, with half a number", refused, tree, "\x2a\x02\x05\x80"},
		{"64 bits, packed and not", same, options, "\x81\x0112345678\x82\x01\x1012345678abcdefgh"},
		{"64 bits, packed, half of them", refused, options, "\x82\x01\x041234"},
		{"bool of two", same, options, "\x38\x02"},
		{"bool of 64 bits", same, options, "\x38\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"},
	} {
		m, data := tc.in(tc.odd)
		if got := verdict(t, m, []byte(data)); got != tc.want {
			t.Errorf("%s: %s; want: %s", tc.name, got, tc.want)
		}
	}
}

func verdict(t *testing.T, m pb.Message, data []byte) string {
	t.Helper()
	_, here := Unmarshal(data, m)
	there := proto.Unmarshal(data, gocriu.New(reflect.TypeOf(m).Elem().Name()))
	switch {
	case here != nil && there != nil:
		return refused
	case here != nil:
		return stricter
	}
	if got, want := marshal(t, m), rewritten(t, m, data); !bytes.Equal(got, want) {
		return fmt.Sprintf("%x, protobuf %x", got, want)
	}
	return same
}

// TestTypesAreThoseOfGoCRIU compares every type with its model: members, and what accessors say of members that are
// missing.
func TestTypesAreThoseOfGoCRIU(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var compare func(reflect.Type)
	compare = func(typ reflect.Type) {
		if seen[typ] {
			return
		}
		seen[typ] = true
		model := reflect.TypeOf(gocriu.New(typ.Name()))
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Name == "Unknown" {
				continue
			}
			of, ok := model.Elem().FieldByName(f.Name)
			if !ok || of.Tag.Get("protobuf") != f.Tag.Get("protobuf") || of.Type.Kind() != f.Type.Kind() {
				t.Errorf("%v.%s is %v %s, in go-criu %v %s", typ, f.Name, f.Type, f.Tag, of.Type,
					of.Tag)
			}
			if got, want := absent(reflect.New(typ), f.Name),
				absent(reflect.New(model.Elem()), f.Name); got != want {
				t.Errorf("%v.%s is %s when it is missing, in go-criu %s", typ, f.Name, got, want)
			}
			if elem := planField(i, f.Type, f.Tag.Get("protobuf")).elem; elem.Kind() == reflect.Struct {
				compare(elem)
			}
		}
	}
	for _, k := range kinds {
		compare(reflect.TypeOf(k.new()).Elem())
	}
	if len(seen) < 100 {
		t.Errorf("only %d types", len(seen))
	}
}

func absent(m reflect.Value, field string) string {
	got := m.MethodByName("Get" + field).Call(nil)[0]
	return fmt.Sprint(got.Interface(), got.IsZero())
}

// TestTypesAreGenerated makes them again.
func TestTypesAreGenerated(t *testing.T) {
	out := filepath.Join(t.TempDir(), "types.go")
	if text, err := exec.Command("go", "run", "./internal/generate", out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("pb/types.go")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("pb/types.go is not what go generate ./images/pb makes: %v", err)
	}
}

// TestProtobufIsForTests: what crpie runs has no part of it.
func TestProtobufIsForTests(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "../cmd/crpie").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		if strings.Contains(path, "protobuf") || strings.Contains(path, "go-criu") ||
			strings.Contains(path, "images/internal/gocriu") {
			t.Errorf("crpie imports %s", path)
		}
	}
}
