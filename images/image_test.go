package images

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/fstest"

	"github.com/checkpoint-restore/go-criu/v8/crit"
	"github.com/checkpoint-restore/go-criu/v8/magic"
	"google.golang.org/protobuf/proto"

	"github.com/crpie/crpie/images/internal/gocriu"
	"github.com/crpie/crpie/images/pb"
)

func pagesFile(img *Image) string {
	return fmt.Sprintf("pages-%d.img", img.Entries[0].Message.(*pb.PagemapHead).GetPagesId())
}

func pagesSize(img *Image) (n int) {
	for _, e := range img.Entries[1:] {
		if m := e.Message.(*pb.PagemapEntry); m.GetFlags()&PagePresent != 0 {
			n += int(max(m.GetNrPages(), uint64(m.GetCompatNrPages()))) * PageSize
		}
	}
	return n
}

func TestMagicsAreCRIUs(t *testing.T) {
	numbers := magic.LoadMagic().ByName
	for _, k := range kinds {
		if numbers[k.Name] != uint64(k.Magic) {
			t.Errorf("%s is 0x%x, want 0x%x", k.Name, k.Magic, numbers[k.Name])
		}
	}
	if numbers["IMG_COMMON"] != magicCommon || numbers["IMG_SERVICE"] != magicService {
		t.Errorf("the words in front are 0x%x and 0x%x", numbers["IMG_COMMON"], numbers["IMG_SERVICE"])
	}
}

// Every image of every sample decodes to what go-criu's own reader makes of it, and encodes to the same bytes.
func TestReadAgreesWithCrit(t *testing.T) {
	for _, name := range sampleNames(t) {
		dir := sample(t, name)
		for _, file := range fileNames(dir) {
			if ok, _ := filepath.Match("pages-*", file); ok {
				continue
			}
			t.Run(name+"/"+file, func(t *testing.T) {
				img, err := Read(dir, file)
				if err != nil {
					t.Fatal(err)
				}
				compareWithCrit(t, img, filepath.Join(samples, name, file))
				compareBytes(t, dir, img)
			})
		}
	}
}

func compareWithCrit(t *testing.T, img *Image, path string) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	truth, err := crit.New(f, nil, "", false, true).Decode(gocriu.New(reflect.TypeOf(img.Kind.new()).Elem().Name()))
	if err != nil {
		t.Fatal(err)
	}
	if truth.Magic != img.Kind.Name || len(truth.Entries) != len(img.Entries) {
		t.Fatalf("%s with %d entries, crit: %s with %d", img.Kind.Name, len(img.Entries), truth.Magic,
			len(truth.Entries))
	}
	for i, e := range img.Entries {
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(truth.Entries[i].Message)
		if got := marshal(t, e.Message); err != nil || !bytes.Equal(got, want) {
			t.Errorf("entry %d: %x\ncrit: %x, %v", i, got, want, err)
		}
	}
}

func compareBytes(t *testing.T, dir fstest.MapFS, img *Image) {
	var out bytes.Buffer
	w, err := NewWriter(&out, img.Name, img.Kind.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range img.Entries {
		payload, err := ReadRange(dir, e.Payload)
		if e.Payload.Size > 0 && err != nil {
			t.Fatal(err)
		}
		if err := w.Write(e.Message, payload); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(out.Bytes(), dir[img.Name].Data) {
		t.Errorf("written again:\n%x\nwas:\n%x", out.Bytes(), dir[img.Name].Data)
	}
}
