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
