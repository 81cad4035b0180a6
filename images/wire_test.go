package images

import (
	"reflect"
	"testing"

	"github.com/crpie/crpie/images/pb"
)

func TestUnmarshalNamesTheField(t *testing.T) {
	for _, tc := range []struct {
		in   string
		m    pb.Message
		want string
	}{
		{"\x08\x01", &pb.PstreeEntry{}, "field ppid: missing"},
		{"\x08", &pb.PstreeEntry{}, "field pid: unexpected EOF"},
		{"\x0a\x01x", &pb.PstreeEntry{}, "field pid: wire type 2, want 0"},
		{"\x2a\x05\x01", &pb.PstreeEntry{}, "field threads: unexpected EOF"},
		{"\x2a\x01\x80", &pb.PstreeEntry{}, "field threads: unexpected EOF"},
		{"\x08\x01\x1a\x02\x08\x01", &pb.CoreEntry{}, "field tc.exit_code: missing"},
		{"\x00", &pb.PstreeEntry{}, "field : bad field tag 0x00"},
		{"\x08\x01\x1a\x06\x7a\x04\x08\xff\xff\xff", &pb.CoreEntry{},
			"field tc.sigactions[0].sigaction: unexpected EOF"},
	} {
		if _, err := Unmarshal([]byte(tc.in), tc.m); err == nil || err.Error() != tc.want {
			t.Errorf("%q: %v, want %s", tc.in, err, tc.want)
		}
	}
}

func TestMarshalNamesTheField(t *testing.T) {
	core := &pb.CoreEntry{Mtype: pb.CoreEntry_X86_64.Enum(), Tc: &pb.TaskCoreEntry{}}
	if _, err := Marshal(core); err == nil || err.Error() != "field tc.task_state: missing" {
		t.Errorf("got %v", err)
	}
}

// A field of a newer CRIU is reported, and not lost when the message is written again.
func TestUnknownFieldsSurvive(t *testing.T) {
	in := append(marshal(t, &pb.PstreeEntry{
		Pid: pb.Uint32(7), Ppid: pb.Uint32(0), Pgid: pb.Uint32(7), Sid: pb.Uint32(7),
	}), 0x98, 0x06, 0x2a) // field 99, varint 42
	m := &pb.PstreeEntry{}
	unknown, err := Unmarshal(in, m)
	if err != nil || len(unknown) != 1 || unknown[0] != "99" {
		t.Fatalf("unknown %v, %v; want field 99", unknown, err)
	}
	if out := marshal(t, m); string(out) != string(in) {
		t.Errorf("written again: %x, was %x", out, in)
	}
}

func marshal(t testing.TB, m pb.Message) []byte {
	t.Helper()
	b, err := (&wireEncoder{partial: true}).message(nil, reflect.ValueOf(m).Elem())
	if err != nil {
		t.Fatal(err)
	}
	return b
}
