package planner

import (
	"testing"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

func TestNotifyRefusals(t *testing.T) {
	handle := &pb.FhEntry{Bytes: pb.Uint32(8), Type: pb.Uint32(1), Handle: []uint64{7}}
	watch := func(h *pb.FhEntry) *pb.FileEntry {
		return &pb.FileEntry{Type: pb.FdTypes_INOTIFY.Enum(), Ify: &pb.InotifyFileEntry{Fown: &pb.FownEntry{},
			Wd: []*pb.InotifyWdEntry{{Wd: pb.Uint32(3), IIno: pb.Uint64(9), SDev: pb.Uint32(254<<20 | 1),
				FHandle: h}}}}
	}
	mark := func(m *pb.FanotifyMarkEntry) *pb.FileEntry {
		return &pb.FileEntry{Type: pb.FdTypes_FANOTIFY.Enum(), Ffy: &pb.FanotifyFileEntry{Fown: &pb.FownEntry{},
			Mark: []*pb.FanotifyMarkEntry{m}}}
	}
	for name, tc := range map[string]struct {
		file *pb.FileEntry
		want string
	}{
		"name": {watch(&pb.FhEntry{Path: pb.String("/gone")}),
			"fd 0: watch 3: stat /gone: file does not exist\n  hint: put back the file that was there at dump time"},
		"handle": {watch(handle),
			"fd 0: watch 3: file 9 of device 254:1, which has no name, is not there any more"},
		"no handle": {watch(&pb.FhEntry{}),
			"fd 0: watch 3: file 9 of device 254:1, which has no name, is not there any more"},
		"long handle": {watch(&pb.FhEntry{Bytes: pb.Uint32(1 << 31), Handle: []uint64{7}}),
			"is not there any more"},
		"permission": {mark(&pb.FanotifyMarkEntry{Mask: pb.Uint32(0x10000)}),
			"fd 0: fanotify mark 0 asks for permission events: whatever restores the files would wait for them"},
		"mount": {mark(&pb.FanotifyMarkEntry{Type: pb.MarkType_MOUNT.Enum(),
			Me: &pb.FanotifyMountMarkEntry{Path: pb.String("/gone")}}),
			"fd 0: fanotify mark 0: stat /gone: file does not exist\n  hint: mount what was there at dump time"},
		"nothing": {mark(&pb.FanotifyMarkEntry{Type: pb.MarkType_MOUNT.Enum()}),
			"fd 0: fanotify mark 0 of type 2: nothing says what it marks"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			fd := dir.Tasks[0].Fds[0]
			fd.Type, dir.Files[fd.GetId()] = tc.file.Type, tc.file
			_, err := buildSample(t, dir, hosttest.New(dir), &job.Options{})
			wantRefusal(t, err, tc.want)
		})
	}
}
