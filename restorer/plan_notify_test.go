package restorer

import (
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fh"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fsnotify"
	"google.golang.org/protobuf/proto"
)

func TestNotifyRefusals(t *testing.T) {
	handle := &fh.FhEntry{Bytes: proto.Uint32(8), Type: proto.Uint32(1), Handle: []uint64{7}}
	watch := func(h *fh.FhEntry) *fdinfo.FileEntry {
		return &fdinfo.FileEntry{Type: fdinfo.FdTypes_INOTIFY.Enum(), Ify: &fsnotify.InotifyFileEntry{Fown: &fown.FownEntry{},
			Wd: []*fsnotify.InotifyWdEntry{{Wd: proto.Uint32(3), IIno: proto.Uint64(9), SDev: proto.Uint32(254<<20 | 1), FHandle: h}}}}
	}
	mark := func(m *fsnotify.FanotifyMarkEntry) *fdinfo.FileEntry {
		return &fdinfo.FileEntry{Type: fdinfo.FdTypes_FANOTIFY.Enum(), Ffy: &fsnotify.FanotifyFileEntry{Fown: &fown.FownEntry{},
			Mark: []*fsnotify.FanotifyMarkEntry{m}}}
	}
	for name, tc := range map[string]struct {
		file *fdinfo.FileEntry
		want string
	}{
		"name": {watch(&fh.FhEntry{Path: proto.String("/gone")}),
			"fd 0: watch 3: stat /gone: file does not exist\n  hint: put back the file that was there at dump time"},
		"handle":      {watch(handle), "fd 0: watch 3: file 9 of device 254:1, which has no name, is not there any more"},
		"no handle":   {watch(&fh.FhEntry{}), "fd 0: watch 3: file 9 of device 254:1, which has no name, is not there any more"},
		"long handle": {watch(&fh.FhEntry{Bytes: proto.Uint32(1 << 31), Handle: []uint64{7}}), "is not there any more"},
		"permission": {mark(&fsnotify.FanotifyMarkEntry{Mask: proto.Uint32(0x10000)}),
			"fd 0: fanotify mark 0 asks for permission events: whatever restores the files would wait for them"},
		"mount": {mark(&fsnotify.FanotifyMarkEntry{Type: fsnotify.MarkType_MOUNT.Enum(),
			Me: &fsnotify.FanotifyMountMarkEntry{Path: proto.String("/gone")}}),
			"fd 0: fanotify mark 0: stat /gone: file does not exist\n  hint: mount what was there at dump time"},
		"nothing": {mark(&fsnotify.FanotifyMarkEntry{Type: fsnotify.MarkType_MOUNT.Enum()}),
			"fd 0: fanotify mark 0 of type 2: nothing says what it marks"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := openSample(t, sampleFS(t, "static"))
			fd := dir.Tasks[0].Fds[0]
			fd.Type, dir.Files[fd.GetId()] = tc.file.Type, tc.file
			_, err := buildSample(t, dir, fakeHost(dir), &PlanOptions{})
			wantRefusal(t, err, tc.want)
		})
	}
}
