package restorer

import (
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/memfd"
	"google.golang.org/protobuf/proto"

	"github.com/crpie/crpie/images"
)

func TestMemfdRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		inode *memfd.MemfdInodeEntry
		want  string
	}{
		"huge pages": {&memfd.MemfdInodeEntry{HugetlbFlag: proto.Uint32(1)}, "it is of huge pages (MFD_HUGETLB): not supported"},
		"two writers": {&memfd.MemfdInodeEntry{Seals: proto.Uint32(sealFutureWrite)},
			"have it mapped writable since before F_SEAL_FUTURE_WRITE: not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			tc.inode.Name = proto.String("x")
			dir.Memfds = map[uint32]*memfd.MemfdInodeEntry{7: tc.inode}
			dir.Files[99] = &fdinfo.FileEntry{Memfd: &memfd.MemfdFileEntry{InodeId: proto.Uint32(7)}}
			v := dir.Tasks[0].Mm.GetVmas()[0]
			v.Status, v.Flags, v.Prot = proto.Uint32(images.VmaMemfd|images.VmaFileShared), proto.Uint32(mapShared), proto.Uint32(protWrite)
			v.Shmid = proto.Uint64(99)
			dir.Tasks = append(dir.Tasks, dir.Tasks[0])
			_, err := buildSample(t, dir, fakeHost(dir), &PlanOptions{})
			wantRefusal(t, err, `memfd "x": `, tc.want)
		})
	}
}
