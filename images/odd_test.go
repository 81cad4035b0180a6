package images

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/crpie/crpie/images/pb"
)

// What looks broken and is not: images that CRIU writes so.

// withGuard appends a guard region to the mappings of a sample's task, as CRIU 4.2 does.
func withGuard(t *testing.T, dir fstest.MapFS, start, end uint64) {
	t.Helper()
	name := named(t, dir, "mm-")
	m := pb.Clone(open(t, dir).Tasks[0].Mm)
	m.Vmas = append(m.Vmas, &pb.VmaEntry{Start: &start, End: &end, Pgoff: pb.Uint64(0), Shmid: pb.Uint64(0),
		Prot:  pb.Uint32(0),
		Flags: pb.Uint32(0), Status: pb.Uint32(VmaRegular | VmaGuard), Fd: pb.Int64(-1)})
	var b bytes.Buffer
	if err := WriteImage(&b, name, "MM", m); err != nil {
		t.Fatal(err)
	}
	dir[name] = &fstest.MapFile{Data: b.Bytes()}
}

// CRIU 4.2 lists guard regions behind all mappings, also behind vsyscall. They lie inside of mappings.
func TestGuardRegions(t *testing.T) {
	dir := sample(t, "static")
	was := open(t, dir).Tasks[0].Mm.GetVmas()
	inside := was[len(was)/2]
	withGuard(t, dir, inside.GetStart(), inside.GetStart()+PageSize)
	task := open(t, dir).Tasks[0]
	if len(task.Mm.GetVmas()) != len(was) || len(task.Guards) != 1 ||
		task.Guards[0].GetStart() != inside.GetStart() {
		t.Errorf("%d mappings, %d guard regions, want %d and 1", len(task.Mm.GetVmas()), len(task.Guards),
			len(was))
	}
	dir = sample(t, "static")
	withGuard(t, dir, 0x1000, 0x2000)
	wantError(t, dir, fmt.Sprintf(
		"images %s: entry 0: field vmas[%d].start: guard region 0x1000-0x2000: 0x1000 lies in no mapping",
		named(t, dir, "mm-"), len(was)))
}

// CRIU writes no image of descriptors for a task that has none. When one is lost, files that nobody has any more tell.
func TestTaskWithoutDescriptors(t *testing.T) {
	dir := sample(t, "static")
	name := named(t, dir, "fdinfo-")
	lost := open(t, dir).Tasks[0].Fds[0].GetId()
	delete(dir, name)
	wantError(t, dir, fmt.Sprintf(
		"images %s: the image is missing: nothing that is there refers to file %d of files.img", name, lost))

	used := open(t, sample(t, "static")).usedByOthers()
	rewriteFiles(t, dir, func(f *pb.FileEntry) []*pb.FileEntry {
		if used[f.GetId()] {
			return []*pb.FileEntry{f}
		}
		return nil
	})
	if fds := open(t, dir).Tasks[0].Fds; len(fds) != 0 {
		t.Errorf("descriptors %v, want none", fds)
	}
}

// usedByOthers are the files that the tasks map, execute or are in.
func (d *Dir) usedByOthers() map[uint32]bool {
	for _, t := range d.Tasks {
		t.Fds = nil
	}
	return d.usedFiles()
}

func rewriteFiles(t *testing.T, dir fstest.MapFS, change func(*pb.FileEntry) []*pb.FileEntry) {
	t.Helper()
	img, err := Read(dir, "files.img")
	if err != nil {
		t.Fatal(err)
	}
	var list []*pb.FileEntry
	for _, e := range img.Entries {
		list = append(list, change(e.Message.(*pb.FileEntry))...)
	}
	var b bytes.Buffer
	if err := WriteImage(&b, "files.img", "FILES", list...); err != nil {
		t.Fatal(err)
	}
	dir["files.img"] = &fstest.MapFile{Data: b.Bytes()}
}

// An open /dev/net/tun is in files.img twice under one id, as a file and as the device; nothing else is.
func TestTunSharesItsId(t *testing.T) {
	tun := func(id uint32) *pb.FileEntry {
		return &pb.FileEntry{Type: pb.FdTypes_TUNF.Enum(), Id: &id, Tunf: &pb.TunfileEntry{Id: &id}}
	}
	dir := sample(t, "static")
	id := open(t, dir).Tasks[0].Fs.GetCwdId()
	first := uint32(0)
	rewriteFiles(t, dir, func(f *pb.FileEntry) []*pb.FileEntry {
		if first == 0 {
			first = f.GetId() + 1000
			reg := pb.Clone(f)
			reg.Id, reg.Reg.Id = &first, &first
			return []*pb.FileEntry{f, reg, tun(first)}
		}
		return []*pb.FileEntry{f}
	})
	if f := open(t, dir).Files[first]; f.GetTunf() == nil {
		t.Errorf("file %d is %v, want the device", first, f)
	}
	rewriteFiles(t, dir, func(f *pb.FileEntry) []*pb.FileEntry {
		if f.GetId() == id || f.GetType() == pb.FdTypes_TUNF {
			return []*pb.FileEntry{f, f}
		}
		return []*pb.FileEntry{f}
	})
	if _, err := Open(dir); err == nil ||
		!strings.Contains(err.Error(), fmt.Sprintf("field id: %d occurs twice", id)) ||
		!strings.Contains(err.Error(), fmt.Sprintf("field id: %d occurs twice", first)) {
		t.Errorf("Open: %v", err)
	}
}
