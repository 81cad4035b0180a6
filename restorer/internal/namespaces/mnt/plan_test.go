package mnt

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
)

// entry is a mount of an image.
func entry(id, parent uint32, kind pb.Fstype, root, point string, change ...func(m *pb.MntEntry)) *pb.MntEntry {
	m := &pb.MntEntry{
		Fstype: pb.Uint32(
			uint32(kind),
		), MntId: &id, RootDev: pb.Uint32(id), ParentMntId: &parent, Flags: pb.Uint32(uapi.MsRelatime),
		Root: &root, Mountpoint: &point, Source: pb.String("none"), Options: pb.String(""),
	}
	for _, f := range change {
		f(m)
	}
	return m
}

// imageOf is an image directory with mounts, which CRIU writes in the reverse order.
func imageOf(t testing.TB, mounts ...*pb.MntEntry) *images.Dir {
	t.Helper()
	image := []byte{0x19, 0x43, 0x56, 0x54, 0x28, 0x39, 0x56, 0x55}
	for i := len(mounts) - 1; i >= 0; i-- {
		data, err := images.Marshal(mounts[i])
		if err != nil {
			t.Fatal(err)
		}
		image = append(binary.LittleEndian.AppendUint32(image, uint32(len(data))), data...)
	}
	dir := fstest.MapFS{"mountpoints-1.img": &fstest.MapFile{Data: image}}
	for _, m := range mounts {
		if m.GetFstype() == uint32(pb.Fstype_TMPFS) {
			dir[fmt.Sprintf("tmpfs-dev-%d.tar.gz.img", m.GetRootDev())] = &fstest.MapFile{Data: emptyArchive(t)}
		}
	}
	return &images.Dir{FS: dir}
}

// emptyArchive is of a file system that nothing is in.
func emptyArchive(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	if err := errors.Join(tar.NewWriter(zip).Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A file system whose contents are missing is not made empty.
func TestContentsAreMissing(t *testing.T) {
	dir := imageOf(t, entry(1, 0, pb.Fstype_UNSUPPORTED, "/", "/"), entry(2, 1, pb.Fstype_TMPFS, "/", "/t"))
	delete(dir.FS.(fstest.MapFS), "tmpfs-dev-2.tar.gz.img")
	p := New(dir, 1, &Options{})
	const want = "cannot restore: mount 2 at /t: its contents: open tmpfs-dev-2.tar.gz.img: file does not exist"
	if got := fmt.Sprint(p.Problems().Err()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func describe(t testing.TB, o *Options, mounts ...*pb.MntEntry) string {
	t.Helper()
	p := New(imageOf(t, mounts...), 1, o)
	if err := p.Problems().Err(); err != nil {
		return err.Error()
	}
	return strings.Join(p.Describe(), "\n")
}

func key(k string) func(*pb.MntEntry)     { return func(m *pb.MntEntry) { m.ExtKey = &k } }
func dev(d uint32) func(*pb.MntEntry)     { return func(m *pb.MntEntry) { m.RootDev = &d } }
func options(o string) func(*pb.MntEntry) { return func(m *pb.MntEntry) { m.Options = &o } }
func deleted(m *pb.MntEntry)              { m.Deleted = pb.Bool(true) }
func ofPlugin(m *pb.MntEntry)             { m.WithPlugin = pb.Bool(true) }
func flags(f uint32) func(*pb.MntEntry)   { return func(m *pb.MntEntry) { m.Flags = &f } }
func shared(id, of uint32) func(*pb.MntEntry) {
	return func(m *pb.MntEntry) { m.SharedId, m.MasterId = &id, &of }
}

// What images say becomes a plan, or a refusal that says where, why and what to do; all of them at once.
func TestPlans(t *testing.T) {
	root := entry(1, 0, pb.Fstype_UNSUPPORTED, "/", "/")
	for name, tc := range map[string]struct {
		o      Options
		mounts []*pb.MntEntry
		want   string
	}{
		"masks": {Options{Root: "/r", PID: true}, []*pb.MntEntry{
			root, entry(2, 1, pb.Fstype_PROC, "/", "/proc"),
			entry(3, 1, pb.Fstype_TMPFS, "/", "/dev", flags(uapi.MsNosuid)),
			entry(4, 2, pb.Fstype_TMPFS, "/null", "/proc/keys", dev(3), key("/dev/null")),
			entry(5, 2, pb.Fstype_PROC, "/sys", "/proc/sys", dev(2), flags(uapi.MsRelatime|uapi.MsRdonly)),
		}, "mount /: /r of the host\nmount /proc: a new proc, by the first process\nmount /dev: a new tmpfs with the contents of tmpfs-dev-3.tar.gz.img, nosuid\n" +
			"mount /proc/keys: null of /dev, by the first process\n" +
			"mount /proc/sys: sys of /proc, read-only, by the first process"},
		"null of the host": {Options{}, []*pb.MntEntry{root,
			entry(2, 1, pb.Fstype_DEVTMPFS, "/null", "/x", key("/dev/null"))},
			"mount /: / of the host\nmount /x: /dev/null of the host"},
		"options": {Options{}, []*pb.MntEntry{root,
			entry(2, 1, pb.Fstype_TMPFS, "/", "/x", options("seclabel,mpol=bind:0,2,size=1k")),
			entry(3, 1, pb.Fstype_CGROUP2, "/", "/c", options("memory_recursiveprot")),
			entry(4, 1, pb.Fstype_DEVPTS, "/", "/p")},
			"mount /: / of the host\nmount /x: a new tmpfs (mpol=bind:0,2,size=1k) with the contents of " +
				"tmpfs-dev-2.tar.gz.img\nmount /c: a new cgroup2\nmount /p: /dev/pts of the host"},
		"labels": {Options{}, []*pb.MntEntry{root,
			entry(2, 1, pb.Fstype_TMPFS, "/", "/x", options(`context="u:r:t:s0:c1,c2",size=1k`)),
			entry(3, 1, pb.Fstype_TMPFS, "/", "/y", options(`mpol=bind:0,2,rootcontext="a,b",fscontext=u:r:t:s0`)),
			entry(4, 1, pb.Fstype_TMPFS, "/", "/z", options(`size=1k,context="u,0`))},
			"mount /: / of the host\n" +
				"mount /x: a new tmpfs (context=u:r:t:s0:c1,c2,size=1k) with the contents of tmpfs-dev-2.tar.gz.img\n" +
				"mount /y: a new tmpfs (mpol=bind:0,2,rootcontext=a,b,fscontext=u:r:t:s0) with the contents of " +
				"tmpfs-dev-3.tar.gz.img\n" +
				"mount /z: a new tmpfs (size=1k,context=\"u,0) with the contents of tmpfs-dev-4.tar.gz.img"},
		"other labels": {Options{MountContext: "u:r:t:s0:c3,c4"}, []*pb.MntEntry{root,
			entry(2, 1, pb.Fstype_TMPFS, "/", "/x", options(`context="u:r:t:s0:c1,c2",size=1k`)),
			entry(3, 1, pb.Fstype_TMPFS, "/", "/y", options(`rootcontext=a`)),
			entry(4, 1, pb.Fstype_DEVPTS, "/", "/p", options(`context=a,newinstance`))},
			"mount /: / of the host\n" +
				"mount /x: a new tmpfs (context=u:r:t:s0:c3,c4,size=1k) with the contents of tmpfs-dev-2.tar.gz.img\n" +
				"mount /y: a new tmpfs (rootcontext=a) with the contents of tmpfs-dev-3.tar.gz.img\n" +
				"mount /p: a new devpts (context=u:r:t:s0:c3,c4,newinstance)"},
		"the host's disk again": {
			Options{}, []*pb.MntEntry{root, entry(2, 1, pb.Fstype_UNSUPPORTED, "/", "/x", dev(1))},
			"mount /: / of the host\nmount /x: the same as /",
		},
		"part without whole": {Options{}, []*pb.MntEntry{root, entry(2, 1, pb.Fstype_SYSFS, "/kernel", "/k")},
			"mount /: / of the host\nmount /k: kernel of /k"},
		"propagation": {Options{External: map[string]string{"v": "/v"}}, []*pb.MntEntry{
			root, entry(2, 1, pb.Fstype_TMPFS, "/sub", "/a", dev(9), shared(5, 0)),
			entry(3, 1, pb.Fstype_TMPFS, "/", "/b", dev(9), shared(5, 0)),
			entry(4, 1, pb.Fstype_TMPFS, "/", "/c", dev(9), shared(0, 5)),
			entry(5, 1, pb.Fstype_TMPFS, "/", "/v", key("v"), shared(0, 7)),
		}, "mount /: / of the host\nmount /a: sub of /b\nmount /b: a new tmpfs with the contents of " +
			"tmpfs-dev-9.tar.gz.img\nmount /c: the same as /b\n" +
			"mount /v: /v of the host, a slave of the host's\nmount /b: shared\nmount /a: in the groups of /b\n" +
			"mount /c: in the groups of /b, then slave"},
		"refusals": {Options{}, []*pb.MntEntry{
			root, entry(2, 1, pb.Fstype_FUSE, "/", "/f"), entry(3, 1, pb.Fstype_AUTOFS, "/", "/auto"),
			entry(4, 1, pb.Fstype_UNSUPPORTED, "/", "/disk"), entry(5, 1, pb.Fstype_TMPFS, "/x", "/no"),
			entry(6, 1, pb.Fstype_TMPFS, "/", "/vol", key("vol\n::error")),
			entry(7, 1, pb.Fstype_TMPFS, "/", "/s", shared(0, 3)),
		}, `cannot restore, for 6 reasons:
mount 2 at /f: file system fuse of none: not supported
  hint: HINT
mount 3 at /auto: file system autofs of none: not supported
  hint: HINT
mount 4 at /disk: file system of a type that criu does not know of none: not supported
  hint: HINT
mount 5 at /no: file system tmpfs of none: not supported
  hint: HINT
mount 6 at /vol: it was outside of the container, under the key vol\n::error
  hint: say what is mounted there: --external mnt[vol\n::error]:PATH
mount 7 at /s: its master (group 3) was outside of the mount namespace: not supported`},
		"of a plugin": {Options{}, []*pb.MntEntry{root, entry(2, 1, pb.Fstype_TMPFS, "/", "/t", ofPlugin)},
			"cannot restore: mount 2 at /t: it was dumped by a plugin of criu: not supported\n" +
				"  hint: restore it with criu"},
		"root of a plugin": {Options{Root: "/r"}, []*pb.MntEntry{entry(1, 0, pb.Fstype_UNSUPPORTED, "/", "/", ofPlugin)},
			"cannot restore: mount 1 at /: it was dumped by a plugin of criu: not supported\n" +
				"  hint: restore it with criu"},
		"all at once": {Options{}, []*pb.MntEntry{root, entry(2, 1, pb.Fstype_TMPFS, "/x\x00", "/a"),
			entry(3, 2, pb.Fstype_AUTOFS, "/", "/a/b"), entry(4, 3, pb.Fstype_TMPFS, "/", "/c"),
			entry(5, 4, pb.Fstype_TMPFS, "/", "/c/d"), entry(6, 1, pb.Fstype_FUSE, "/", "/f"),
			entry(7, 1, pb.Fstype_FUSE, "/s", "/g", dev(6)), entry(6, 1, pb.Fstype_TMPFS, "/", "/h"),
			entry(8, 1, pb.Fstype_TMPFS, "/", "/g", dev(4)), entry(9, 8, pb.Fstype_FUSE, "/", "/g/f")},
			`cannot restore, for 7 reasons:
mount 2 at /a: its root "/x\x00" is not an absolute path
mount 3 at /a/b: file system autofs of none: not supported
  hint: HINT
mount 4 at /c: it is not below its parent, mount 3 at /a/b
mount 6 at /f: file system fuse of none: not supported
  hint: HINT
mountpoints-1.img: mount 6 occurs twice
mount 8 at /g: mount 7 is in the same place: not supported
mount 9 at /g/f: file system fuse of none: not supported
  hint: HINT`},
		"pivoted": {Options{}, []*pb.MntEntry{entry(1, 0, pb.Fstype_OVERLAYFS, "/", "/")},
			"cannot restore: mount 1 at /: the tasks had a root file system of their own\n" +
				"  hint: give the directory that becomes the root: --root DIR"},
		"loop": {Options{}, []*pb.MntEntry{root, entry(2, 3, pb.Fstype_TMPFS, "/", "/a"),
			entry(3, 2, pb.Fstype_TMPFS, "/", "/a")},
			"cannot restore: mountpoints-1.img: 2 mounts are not below the root"},
		"two roots": {Options{}, []*pb.MntEntry{root, entry(2, 9, pb.Fstype_TMPFS, "/", "/a")},
			"cannot restore: mountpoints-1.img: 2 mounts have no parent, want 1: the root"},
		"dots": {Options{}, []*pb.MntEntry{root, entry(2, 1, pb.Fstype_TMPFS, "/..", "/a"),
			entry(3, 1, pb.Fstype_TMPFS, "/", "/../a"),
			entry(3, 1, pb.Fstype_TMPFS, "/", "b")}, "cannot restore, for 3 reasons:\n" +
			"mount 2 at /a: its root \"/..\" is not an absolute path\nmount 3 at /../a: its mount point is not an absolute path\n" +
			"mountpoints-1.img: mount 3 occurs twice"},
		"elsewhere": {Options{}, []*pb.MntEntry{root, entry(2, 1, pb.Fstype_TMPFS, "/", "/a"),
			entry(3, 2, pb.Fstype_TMPFS, "/", "/ab"),
			entry(4, 2, pb.Fstype_TMPFS, "/", "/a")}, "cannot restore: mount 3 at /ab: it is not below its parent, mount 2 at /a"},
		"in a ring": {Options{}, []*pb.MntEntry{root, entry(2, 1, pb.Fstype_TMPFS, "/", "/a", shared(1, 2)),
			entry(3, 1, pb.Fstype_TMPFS, "/", "/b", dev(2), shared(2, 1))}, "cannot restore: mount 3 at /b: group 1 is its own master"},
		"no widest peer": {Options{}, []*pb.MntEntry{root, entry(2, 1, pb.Fstype_TMPFS, "/", "/t"),
			entry(3, 1, pb.Fstype_TMPFS, "/a/b", "/x", dev(2), shared(5, 0)),
			entry(4, 1, pb.Fstype_TMPFS, "/c", "/y", dev(2), shared(5, 0))},
			"cannot restore: mount 3 at /x: none of its peers (group 5) shows all that the others show: not supported"},
		"deleted below proc": {Options{PID: true}, []*pb.MntEntry{root,
			entry(2, 1, pb.Fstype_PROC, "/", "/proc"),
			entry(3, 2, pb.Fstype_TMPFS, "/x", "/proc/x", dev(1), deleted)},
			"cannot restore: mount 3 at /proc/x: its root, /x, had been deleted, and it is below mount 2 at /proc: not supported"},
		"cgroup outside": {Options{}, []*pb.MntEntry{root,
			entry(2, 1, pb.Fstype_CGROUP, "/..", "/c", options("cpu"))},
			"cannot restore: mount 2 at /c: its root /.. is outside of the cgroup namespace: not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			const hint = "dump with --external mnt[MOUNT POINT]:KEY and restore with --external mnt[KEY]:PATH"
			want := strings.ReplaceAll(tc.want, "HINT", hint)
			if got := describe(t, &tc.o, tc.mounts...); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// allArchives has the contents of every tmpfs.
type allArchives fstest.MapFS

func (a allArchives) Open(name string) (fs.File, error) {
	if strings.HasPrefix(name, "tmpfs-dev-") {
		name = "archive"
	}
	return fstest.MapFS(a).Open(name)
}

// A cgroup that is mounted moves with those below the root that it was below.
func TestMountedCgroupsMove(t *testing.T) {
	dir := imageOf(t, entry(1, 0, pb.Fstype_UNSUPPORTED, "/", "/"),
		entry(2, 1, pb.Fstype_CGROUP, "/b/x", "/c", key("c"), options("cpu")),
		entry(3, 1, pb.Fstype_CGROUP2, "/v/y", "/u", dev(2), key("u")))
	named := func(name string) *pb.CgroupDirEntry { return &pb.CgroupDirEntry{DirName: pb.String(name)} }
	dir.Tasks, dir.Inventory = []*images.Task{{}}, &pb.InventoryEntry{}
	dir.Cgroup = &pb.CgroupEntry{Controllers: []*pb.CgControllerEntry{
		{Cnames: []string{"cpu"}, Dirs: []*pb.CgroupDirEntry{named("a"), named("b")}},
		{Cnames: []string{""}, Dirs: []*pb.CgroupDirEntry{named("v")}}}}
	p := New(dir, 1, &Options{Root: "/r", CgroupRoots: map[string]string{"*": "/n"}})
	got := strings.Join(p.Describe(), "\n")
	for _, want := range []string{"cgroup /n/x of the host", "cgroup /n/y of the host"} {
		if p.Problems().Len() > 0 || !strings.Contains(got, want) {
			t.Errorf("%v\n%s\nwant %s", p.Problems().Err(), got, want)
		}
	}
}

// FuzzPlan: whatever an image says, there is a plan or a refusal, and a plan has each mount once, behind its parent.
func FuzzPlan(f *testing.F) {
	root := entry(1, 0, pb.Fstype_UNSUPPORTED, "/", "/")
	for _, m := range [][]*pb.MntEntry{
		{root}, {root, entry(2, 1, pb.Fstype_PROC, "/", "/proc"),
			entry(3, 2, pb.Fstype_PROC, "/sys", "/proc/sys", dev(2))},
		{root, entry(2, 1, pb.Fstype_TMPFS, "/", "/a", shared(1, 2)),
			entry(3, 1, pb.Fstype_TMPFS, "/", "/b", dev(2), shared(2, 1))},
		{root, entry(2, 1, pb.Fstype_CGROUP, "/x", "/c", key("c"), options("cpu"))},
	} {
		file := imageOf(f, m...).FS.(fstest.MapFS)["mountpoints-1.img"]
		f.Add(file.Data, false)
		f.Add(file.Data, true)
	}
	f.Fuzz(func(t *testing.T, data []byte, own bool) {
		dir := &images.Dir{FS: allArchives{"mountpoints-1.img": &fstest.MapFile{Data: data}, "archive": {}}}
		p := New(dir,
			1,
			&Options{Root: "/r", External: map[string]string{"c": "/c"}, PID: own, Cgroup: own},
		)
		p.Describe()
		if p.Problems().Len() > 0 {
			return
		}
		seen := map[*mount]bool{nil: true}
		for _, m := range p.mounts {
			if seen[m] || !seen[m.parent] {
				t.Fatal(fmt.Sprint("order: ", m.where()))
			}
			if seen[m] = true; m.kind == bind && (m.base == nil || m.base.kind == bind) {
				t.Fatal("nothing to bind: ", m.where())
			}
		}
		for _, m := range p.lateOrder() {
			seen[m] = false
		}
		for _, m := range p.mounts {
			if seen[m] == m.attachedLate {
				t.Fatal("who attaches ", m.where())
			}
		}
	})
}
