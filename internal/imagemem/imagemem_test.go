package imagemem

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/exports"
)

// Of two files of one name neither is taken for the other.
func TestFilesOfOneName(t *testing.T) {
	described := func(sizes ...uint64) *images.Dir {
		dir := &images.Dir{Files: map[uint32]*pb.FileEntry{}}
		for i, size := range sizes {
			dir.Files[uint32(i)] = &pb.FileEntry{Reg: &pb.RegFileEntry{Name: proto.String("/lib.so"), Size: proto.Uint64(size)}}
		}
		return dir
	}
	for _, c := range []struct {
		dir  *images.Dir
		same bool
	}{
		{described(), false}, {described(4), true}, {described(4, 4), true}, {described(5), false},
		{described(4, 5), false}, {described(5, 4), false},
	} {
		err := sameFile(c.dir, "/lib.so", bytes.NewReader([]byte("text")), 4)
		if (err == nil) != c.same || err != nil && !errors.Is(err, exports.ErrOtherFile) {
			t.Errorf("%v: %v", c.dir.Files, err)
		}
	}
}
