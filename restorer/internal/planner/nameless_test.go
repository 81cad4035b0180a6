package planner

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// deletedSample is a dump in which the working directory was deleted.
func deletedSample(t *testing.T, mode uint32) *images.Dir {
	t.Helper()
	dir := openSample(t, sampleFS(t, "static"))
	cwd := dir.Tasks[0].Fs.GetCwdId()
	dir.Files[cwd].Reg.Name = pb.String("/a/b")
	dir.Remaps = []*pb.RemapFilePathEntry{{OrigId: &cwd, RemapId: pb.Uint32(1),
		RemapType: pb.RemapType_GHOST.Enum()}}
	dir.Ghosts = map[uint32]*images.Ghost{1: {Entry: &pb.GhostFileEntry{Mode: &mode}}}
	return dir
}

func TestDeletedRefusals(t *testing.T) {
	folder := hosttest.Info{Kind: fs.ModeDir}
	for name, tc := range map[string]struct {
		mode  uint32
		there map[string]hosttest.Info
		want  string
	}{
		"names taken": {uapi.SIfdir, map[string]hosttest.Info{"/a": folder, "/a/b": {}, "/a/b.crpie-N": {}},
			"/a/b (deleted): its name and 99 like it are taken\n  hint: move what has a name like /a/b away"},
		"names of its directory taken": {uapi.SIfdir, map[string]hosttest.Info{"/a": {}, "/a.crpie-N": folder},
			"/a/b (deleted): its name and 99 like it are taken\n  hint: move what has a name like /a/b away"},
		"device": {0o020600, map[string]hosttest.Info{"/a": folder},
			"/a/b, deleted: crpie lacks CAP_MKNOD, which devices need\n  hint: run crpie as root"},
		"mode": {0o600, map[string]hosttest.Info{"/a": folder},
			"/a/b: it is a deleted file of mode 0600: not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := deletedSample(t, tc.mode)
			host := hosttest.New(dir)
			stat, others := host.Stat, regexp.MustCompile(`\.crpie-\d+$`)
			host.Stat = func(path string) (fs.FileInfo, error) {
				info, ok := tc.there[others.ReplaceAllString(path, ".crpie-N")]
				if !strings.HasPrefix(path, "/a") {
					return stat(path)
				} else if !ok {
					return nil, fs.ErrNotExist
				}
				return info, nil
			}
			host.Lstat, host.Caps = host.Stat, host.Caps&^(1<<uapi.CapMknod)
			_, err := buildSample(t, dir, host, &job.Options{})
			wantRefusal(t, err, tc.want)
		})
	}
}

func TestMemfdRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		inode *pb.MemfdInodeEntry
		want  string
	}{
		"huge flags": {&pb.MemfdInodeEntry{HugetlbFlag: pb.Uint32(1)},
			"0 bytes with flags 0x1 are not huge pages"},
		"huge size": {&pb.MemfdInodeEntry{HugetlbFlag: pb.Uint32(uapi.MfdHugetlb), Size: pb.Uint64(1 << 20)},
			"1048576 bytes with flags 0x4 are not huge pages"},
		"huge size of nonsense": {&pb.MemfdInodeEntry{HugetlbFlag: pb.Uint32(uapi.MfdHugetlb),
			Size: pb.Uint64(1 << 63)},
			"9223372036854775808 bytes with flags 0x4 are not huge pages"},
		"two writers": {&pb.MemfdInodeEntry{Seals: pb.Uint32(uapi.FSealFutureWrite)},
			"have it mapped writable since before F_SEAL_FUTURE_WRITE: not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			tc.inode.Name = pb.String("x")
			dir.Memfds = map[uint32]*pb.MemfdInodeEntry{7: tc.inode}
			dir.Files[99] = &pb.FileEntry{Memfd: &pb.MemfdFileEntry{InodeId: pb.Uint32(7)}}
			v := dir.Tasks[0].Mm.GetVmas()[0]
			v.Status, v.Flags, v.Prot = pb.Uint32(images.VmaMemfd|images.VmaFileShared),
				pb.Uint32(uapi.MapShared), pb.Uint32(uapi.ProtWrite)
			v.Shmid = pb.Uint64(99)
			dir.Tasks = append(dir.Tasks, dir.Tasks[0])
			_, err := buildSample(t, dir, hosttest.New(dir), &job.Options{})
			wantRefusal(t, err, `memfd "x": `, tc.want)
		})
	}
}
