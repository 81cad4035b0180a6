package images

import (
	"testing"

	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	"google.golang.org/protobuf/proto"
)

func TestUnmarshalNamesTheField(t *testing.T) {
	for _, tc := range []struct {
		in   string
		m    proto.Message
		want string
	}{
		{"\x08\x01", &pstree.PstreeEntry{}, "field ppid: missing"},
		{"\x08", &pstree.PstreeEntry{}, "field pid: unexpected EOF"},
		{"\x0a\x01x", &pstree.PstreeEntry{}, "field pid: wire type 2, want 0"},
		{"\x2a\x05\x01", &pstree.PstreeEntry{}, "field threads: unexpected EOF"},
		{"\x2a\x01\x80", &pstree.PstreeEntry{}, "field threads: unexpected EOF"},
		{"\x08\x01\x1a\x02\x08\x01", &criu_core.CoreEntry{}, "field tc.exit_code: missing"},
		{"\x00", &pstree.PstreeEntry{}, "field : bad field tag 0x00"},
		{"\x08\x01\x1a\x06\x7a\x04\x08\xff\xff\xff", &criu_core.CoreEntry{},
			"field tc.sigactions[0].sigaction: unexpected EOF"},
	} {
		if _, err := Unmarshal([]byte(tc.in), tc.m); err == nil || err.Error() != tc.want {
			t.Errorf("%q: %v, want %s", tc.in, err, tc.want)
		}
	}
}

// A field of a newer CRIU is reported, and not lost when the message is written again.
func TestUnknownFieldsSurvive(t *testing.T) {
	in := append(marshal(t, &pstree.PstreeEntry{
		Pid: proto.Uint32(7), Ppid: proto.Uint32(0), Pgid: proto.Uint32(7), Sid: proto.Uint32(7),
	}), 0x98, 0x06, 0x2a) // field 99, varint 42
	m := &pstree.PstreeEntry{}
	unknown, err := Unmarshal(in, m)
	if err != nil || len(unknown) != 1 || unknown[0] != "99" {
		t.Fatalf("unknown %v, %v; want field 99", unknown, err)
	}
	if out := marshal(t, m); string(out) != string(in) {
		t.Errorf("written again: %x, was %x", out, in)
	}
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
