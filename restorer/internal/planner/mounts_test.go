package planner

import (
	"encoding/binary"
	"testing"
	"testing/fstest"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// mountsImage is an image of mounts, which CRIU lists from the last to the first.
func mountsImage(t *testing.T, mounts ...*pb.MntEntry) *fstest.MapFile {
	t.Helper()
	image := []byte{0x19, 0x43, 0x56, 0x54, 0x28, 0x39, 0x56, 0x55} // common magic, MNTS
	for i := len(mounts) - 1; i >= 0; i-- {
		data, err := images.Marshal(mounts[i])
		if err != nil {
			t.Fatal(err)
		}
		image = append(binary.LittleEndian.AppendUint32(image, uint32(len(data))), data...)
	}
	return &fstest.MapFile{Data: image}
}

func mountEntry(id, parent uint32, kind pb.Fstype, root, point string) *pb.MntEntry {
	return &pb.MntEntry{
		Fstype: pb.Uint32(uint32(kind)), MntId: &id, RootDev: pb.Uint32(id), ParentMntId: &parent,
		Flags: pb.Uint32(0),
		Root:  &root, Mountpoint: &point, Source: pb.String("none"), Options: pb.String(""),
	}
}

// What a mount tree has that cannot be restored is refused by name, beside everything else.
func TestMountRefusals(t *testing.T) {
	const own = 99
	root := mountEntry(1, 0, pb.Fstype_UNSUPPORTED, "/", "/")
	pts := mountEntry(2, 1, pb.Fstype_DEVPTS, "/", "/pts")
	pts.Options = pb.String("newinstance")
	console := mountEntry(3, 1, pb.Fstype_DEVPTS, "/0", "/console")
	console.RootDev = pts.RootDev
	for name, tc := range map[string]struct {
		mounts []*pb.MntEntry
		change func(dir *images.Dir)
		want   string
	}{
		"covered": {[]*pb.MntEntry{root, mountEntry(2, 1, pb.Fstype_MQUEUE, "/", "/covered")},
			func(dir *images.Dir) {
				reg := dir.Files[dir.Tasks[0].Mm.GetExeFileId()].GetReg()
				reg.Name, reg.MntId = pb.String("/covered/program"), pb.Int32(1)
			}, "file /covered/program: it is on mount 1, which another mount covers there: not supported"},
		"terminal": {[]*pb.MntEntry{root, pts, console}, func(*images.Dir) {},
			"mount 3 at /console: the terminal /pts/0 is mounted, and no task has its master: not supported\n  hint: "},
		"file system": {[]*pb.MntEntry{root, mountEntry(2, 1, pb.Fstype_AUTOFS, "/", "/auto")},
			func(*images.Dir) {},
			"mount 2 at /auto: file system autofs of none: not supported\n  hint: dump with --external"},
		"several": {[]*pb.MntEntry{root}, func(dir *images.Dir) { dir.Tasks[1].Ids.MntNsId = pb.Uint32(98) },
			"it had a mount namespace of its own: not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := sampleFS(t, "tree")
			fsys["mountpoints-99.img"] = mountsImage(t, tc.mounts...)
			dir := openSample(t, fsys)
			for _, task := range dir.Tasks {
				if task.Ids != nil {
					task.Ids.MntNsId = pb.Uint32(own)
				}
			}
			tc.change(dir)
			_, err := buildSample(t, dir, hosttest.New(dir), &job.Options{})
			wantRefusal(t, err, tc.want)
		})
	}
}
