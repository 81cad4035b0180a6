package mnt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/internal/uapi"
)

// everything mounts what a namespace can have.
const everything = `
mount -t tmpfs -o size=4m,mode=751 base $PWD; cd $D
mkdir t ro over shared peer slave both own unb part bound gone pts console mq proc sys; : >onfile; : >gonefile; : >tty
mount -t tmpfs -o size=1m,nr_inodes=100,uid=5,noatime content t
echo hello >t/f; ln t/f t/hard; ln -s /etc/passwd t/sym; mkfifo t/fifo; mknod t/dev c 1 3; mkdir -p t/d/e
chmod 2755 t/d; chown 7:8 t/d/e; : >t/suid; chown 9 t/suid; chmod 4711 t/suid; touch -d @-100 t/old
truncate -s 100M t/sparse; echo x >>t/sparse; mkdir "t/$(printf 'odd\nname\377')"
mount -t tmpfs -o nosuid,nodev,noexec ro1 ro; echo x >ro/x; mount -o remount,ro ro
mount -t tmpfs o1 over; mkdir over/m; mount -t tmpfs o0 over/m; mount -t tmpfs o2 over; mkdir over/m
mount -t tmpfs o3 over/m
mount -t tmpfs s1 shared; mkdir shared/sub; mount --make-shared shared; mount --bind shared peer
mount --bind shared slave; mount --make-slave slave
mount --bind shared both; mount --make-slave both; mount --make-shared both
mount -t tmpfs s2 own; mount --make-shared own; mkdir own/below; mount -t tmpfs s3 own/below
mount -t tmpfs -o strictatime u1 unb; mount --make-unbindable unb
mount --bind shared/sub part
mkdir bound/sub; mount --bind bound bound; mount -o remount,bind,ro,nodiratime bound
mkdir src; mount --bind src gone; rmdir src; : >srcf; mount --bind srcf gonefile; rm srcf
mount --bind /proc/self/exe onfile
: >lower; : >upper; : >twice; mount --bind lower twice; mount --bind upper twice
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts pts
mount -t mqueue mqueue mq; mount -t proc -o hidepid=invisible p proc; mount --bind proc/sys sys
: >late; mount --bind proc/version late; mount --bind upper late
`

// madeTree makes the tree of images, with what the first process does, and gives its mountinfo and a function that
// gives the listing of a directory in it.
func madeTree(t *testing.T, d *dumped, o *Options) (info string, list func(dir string) string) {
	t.Helper()
	p := planned(t, d, o)
	aside, err := sys.NewAside()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); aside.End() })
	err = aside.Do(func() error {
		err := error(nil)
		if o.Cgroup {
			err = enterCgroups(d.cgroups)
		}
		if err == nil {
			err = making(p)()
		}
		if err == nil && o.Cgroup {
			err = unix.Unshare(unix.CLONE_NEWCGROUP)
		}
		if err == nil {
			err = carryOut(p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	root := fmt.Sprintf("/proc/self/task/%d/root", aside.Tid)
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/mountinfo", aside.Tid))
	if err != nil {
		t.Fatal(err)
	}
	return string(text), func(dir string) string { return listing(t, filepath.Join(root, dir)) }
}

// making makes a tree, and tells of its problems.
func making(p *Plan) func() error {
	return func() error {
		p.Make()
		return p.Problems().Err()
	}
}

func planned(t *testing.T, d *dumped, o *Options) *Plan {
	t.Helper()
	dir := openImages(t, d.dir)
	p := New(dir, dir.Tasks[0].Ids.GetMntNsId(), o)
	if err := p.Problems().Err(); err != nil {
		t.Fatal(err)
	}
	return p
}

// hostMounts is what nothing may change.
func hostMounts(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// byCRIU are mount points of this host that CRIU does not dump.
func byCRIU(info string) (points []string) {
	for line := range strings.Lines(info) {
		if strings.Contains(line, " - tracefs ") {
			points = append(points, strings.Fields(line)[4])
		}
	}
	return points
}

// A copy of the host's mounts with everything on it becomes what it was, also when proc has to wait for the first
// process.
func TestUnshared(t *testing.T) {
	d, before := unshared(t, everything), hostMounts(t)
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late=%t", late), func(t *testing.T) {
			info, list := madeTree(t, d, &Options{PID: late})
			compare(t, d.before, info, byCRIU(d.before)...)
			if got := list(d.at); got != d.files ||
				!strings.Contains(got, "t/hard") && !strings.Contains(got, "\nhard ") {
				t.Errorf("files\n%s\nwere\n%s", got, d.files)
			}
		})
	}
	if after := hostMounts(t); after != before {
		t.Errorf("the host's mounts were\n%s\nand are\n%s", before, after)
	}
}

// externals maps the mounts of runc's specification that come from the host, as runc does.
func externals(rootfs string, info string) map[string]string {
	to := map[string]string{"/volume": filepath.Join(filepath.Dir(rootfs), "volume")}
	for line := range strings.Lines(info) {
		if f := strings.Fields(line); strings.Contains(line, " - cgroup ") {
			to[f[4]] = f[4]
		}
	}
	return to
}

// add adds a mount to a specification.
func add(spec map[string]any, to, kind, source string, options ...string) {
	spec["mounts"] = append(spec["mounts"].([]any),
		map[string]any{"destination": to, "type": kind, "source": source, "options": options})
}

// Containers of runc's become what they were before the checkpoint. The cgroups of a hierarchy of version 1 are there
// when runc restores; here they are made.
func TestContainers(t *testing.T) {
	for name, change := range map[string]func(dir string, spec map[string]any){
		"default":        func(string, map[string]any) {},
		"read-only root": func(_ string, spec map[string]any) { spec["root"].(map[string]any)["readonly"] = true },
		"cgroup namespace": func(_ string, spec map[string]any) {
			linux := spec["linux"].(map[string]any)
			linux["namespaces"] = append(linux["namespaces"].([]any), map[string]any{"type": "cgroup"})
		},
		"volumes": func(_ string, spec map[string]any) {
			add(spec, "/tmp", "tmpfs", "tmpfs", "size=1m", "noatime", "tmpcopyup")
			add(spec, "/volume", "bind", "volume", "rbind", "ro", "nosuid")
		},
		"slave volume": func(dir string, spec map[string]any) {
			shareVolume(t, dir)
			add(spec, "/volume", "bind", "volume", "rbind", "rslave")
		},
		"shared volume": func(dir string, spec map[string]any) {
			shareVolume(t, dir)
			add(spec, "/volume", "bind", "volume", "rbind", "rshared")
			spec["linux"].(map[string]any)["rootfsPropagation"] = "shared"
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, rootfs := container(t, change)
			d.makeCgroups(t)
			own := name == "cgroup namespace"
			info, list := madeTree(
				t,
				d,
				&Options{Root: rootfs, External: externals(rootfs, d.before), PID: true,
					Cgroup: own},
			)
			compare(t, d.before, info)
			if was, is := groups(d.before, "/volume"), groups(info, "/volume"); was != is {
				t.Errorf("the volume's groups are %q, were %q", is, was) // numbers of the host's groups
			}
			if got := list(d.at); name == "volumes" && got != d.files {
				t.Errorf("files\n%s\nwere\n%s", got, d.files)
			}
		})
	}
}

// groups gives the optional fields of a mount, proc_pid_mountinfo(5).
func groups(info, point string) string {
	for line := range strings.Lines(info) {
		if f := strings.Fields(line); f[4] == point {
			return strings.Join(f[6:slices.Index(f, "-")], " ")
		}
	}
	return ""
}

// shareVolume makes the volume of a container a mount of the host that propagates to others.
func shareVolume(t *testing.T, dir string) {
	t.Helper()
	volume := filepath.Join(dir, "volume")
	err := unix.Mount(volume, volume, "", unix.MS_BIND, "")
	if err == nil {
		err = unix.Mount("", volume, "", unix.MS_SHARED, "")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// enterCgroups moves the thread into the cgroups of a container.
func enterCgroups(dirs []string) error {
	for _, dir := range dirs {
		for _, setting := range []string{"cpuset.cpus", "cpuset.mems"} { // without them a cpuset takes nobody
			all, err := os.ReadFile(filepath.Join(filepath.Dir(dir), setting))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, setting), all, 0)
			}
			if err != nil && !os.IsNotExist(err) {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "tasks"), []byte(strconv.Itoa(unix.Gettid())), 0); err != nil {
			return err
		}
	}
	return nil
}

// makeCgroups makes the cgroups that a container had.
func (d *dumped) makeCgroups(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(d.before) {
		f := strings.Fields(line)
		if !strings.Contains(line, " - cgroup ") || f[3] == "/" {
			continue
		}
		_, super, _ := strings.Cut(line, " - cgroup ")
		_, controllers, _ := strings.Cut(strings.Fields(super)[1], ",")
		like := mount{img: entry(1, 0, pb.Fstype_CGROUP, f[3], f[4], options(controllers))}
		dir := filepath.Join(new(Plan).hierarchy(&like), f[3])
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { testenv.RemoveCgroup(t, dir) }) // when the thread has left it
		d.cgroups = append(d.cgroups, dir)
	}
}

// The host's mounts are read once for all cgroups that a container has mounted: to read them anew takes more memory than
// to look them up.
func TestHierarchiesAreReadOnce(t *testing.T) {
	m := mount{img: entry(1, 0, pb.Fstype_CGROUP, "/", "/sys/fs/cgroup/pids", options("pids"))}
	var p Plan
	p.hierarchy(&m)
	testenv.Need(t, len(p.hierarchies) > 0, "a hierarchy of cgroups that is mounted")
	again := testing.AllocsPerRun(10, func() { p.hierarchy(&m) })
	anew := testing.AllocsPerRun(10, func() { new(Plan).hierarchy(&m) })
	if again+10 > anew {
		t.Errorf("%v allocations, at first %v", again, anew)
	}
}

// What only the kernel can say is said before a process exists, too, and all at once; nothing is left.
func TestRefusals(t *testing.T) {
	testenv.NeedRoot(t)
	dir := t.TempDir()
	for _, name := range []string{"dir", "real/below"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "file"), nil, 0o644),
		os.Symlink("/tmp", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	mounts := []*pb.MntEntry{
		entry(1, 0, pb.Fstype_UNSUPPORTED, "/", "/"),
		entry(2, 1, pb.Fstype_TMPFS, "/", "/none"), entry(3, 1, pb.Fstype_TMPFS, "/", "/file"),
		entry(
			4,
			1,
			pb.Fstype_TMPFS,
			"/",
			"/link/x",
		), entry(5, 1, pb.Fstype_UNSUPPORTED, "/", "/dir", key("gone")),
		entry(
			6,
			1,
			pb.Fstype_TMPFS,
			"/",
			"/real",
			options("size=lots"),
		), entry(7, 1, pb.Fstype_UNSUPPORTED, "/nowhere", "/real/below", dev(1)),
		entry(
			8,
			1,
			pb.Fstype_TMPFS,
			"/",
			"/real2",
			options("colour=red"),
		), entry(9, 1, pb.Fstype_CGROUP, "/", "/c", options("name=crpie-none")),
		entry(10, 1, pb.Fstype_TMPFS, "/", "/bad"),
	}
	before := hostMounts(t)
	want := "cannot restore, for 12 reasons:\n" +
		"mount 2 at /none: its mount point is missing in mount 1 at /\n  hint: make it, as it was\n" +
		"mount 3 at /file: it is a directory, its mount point in mount 1 at / is not a directory\n" +
		"mount 4 at /link/x: the path of its mount point has a symbolic link in mount 1 at /\n" +
		"  hint: make it a directory, as it was\n" +
		"mount 5 at /dir: open " + dir + "/missing: no such file or directory\n" +
		"  hint: say what is mounted there: --external mnt[gone]:PATH\n" +
		"mount 6 at /real: tmpfs: size=lots: invalid argument (tmpfs: Bad value for 'size')\n" +
		"mount 7 at /real/below: nowhere of mount 1 at /: no such file or directory\n" +
		"mount 8 at /real2: tmpfs: colour=red: invalid argument (tmpfs: Unknown parameter 'colour')\n" +
		"mount 8 at /real2: its mount point is missing in mount 1 at /\n  hint: make it, as it was\n" +
		"mount 9 at /c: this host has no hierarchy of cgroups with name=crpie-none mounted\n" +
		"mount 9 at /c: its mount point is missing in mount 1 at /\n  hint: make it, as it was\n" +
		"mount 10 at /bad: tmpfs-dev-10.tar.gz.img: not a gzip file: unexpected EOF\n" +
		"mount 10 at /bad: its mount point is missing in mount 1 at /\n  hint: make it, as it was"
	images := imageOf(t, mounts...)
	images.FS.(fstest.MapFS)["tmpfs-dev-10.tar.gz.img"] = &fstest.MapFile{Data: []byte("\x1f\x8b")}
	p := New(images, 1, &Options{Root: dir, External: map[string]string{"gone": filepath.Join(dir, "missing")}})
	aside, err := sys.NewAside()
	if err = errors.Join(p.Problems().Err(), err); err != nil {
		t.Fatal(err)
	}
	err = aside.Do(making(p))
	p.Close()
	aside.End()
	if got := fmt.Sprint(err); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if after := hostMounts(t); after != before {
		t.Errorf("the host's mounts were\n%s\nand are\n%s", before, after)
	}
}

// A label that the kernel does not take, on a host without SELinux or with another policy, is refused with what to do.
func TestLabelsAreRefused(t *testing.T) {
	testenv.NeedRoot(t)
	p := New(imageOf(t, entry(1, 0, pb.Fstype_UNSUPPORTED, "/", "/"),
		entry(2, 1, pb.Fstype_TMPFS, "/", "/", options(`context="crpie:none,1"`))), 1, &Options{Root: t.TempDir()})
	aside, err := sys.NewAside()
	if err != nil {
		t.Fatal(err)
	}
	err = aside.Do(making(p))
	p.Close()
	aside.End()
	for _, want := range []string{"mount 2 at /: tmpfs: ", ": invalid argument (",
		"\n  hint: restore it on a host with SELinux; --lsm-mount-context gives another label"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got\n%v\nwant %q", err, want)
		}
	}
}

// sysfs is one for all of a network namespace: it stays writable for those who have it mounted. Where nobody has, it is
// read-only as it was.
func TestReadOnlySysfs(t *testing.T) {
	testenv.NeedRoot(t)
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "sys"), 0o755); err != nil {
		t.Fatal(err)
	}
	image := entry(2, 1, pb.Fstype_SYSFS, "/", "/sys")
	image.SbFlags = pb.Uint32(uapi.MsRdonly)
	for _, mounted := range []bool{false, true} {
		p := New(imageOf(t, entry(1, 0, pb.Fstype_UNSUPPORTED, "/", "/"), image), 1, &Options{Root: root})
		aside, err := sys.NewAside()
		if err = errors.Join(p.Problems().Err(), err); err != nil {
			t.Fatal(err)
		}
		var stat unix.Statfs_t
		err = aside.Do(func() error {
			err := sys.Unshare(unix.CLONE_NEWNET)
			if err == nil && mounted {
				err = mountSysfs(t)
			}
			if err == nil {
				err = making(p)()
			}
			return errors.Join(err, unix.Fstatfs(int(p.mounts[1].handle.mount.Fd()), &stat))
		})
		if readOnly := stat.Flags&unix.ST_RDONLY != 0; err != nil || readOnly == mounted {
			t.Errorf("mounted elsewhere: %t, read-only: %t, %v", mounted, readOnly, err)
		}
		p.Close()
		aside.End()
	}
}

func mountSysfs(t *testing.T) error {
	context, err := sys.OpenFS("sysfs")
	if err != nil {
		return err
	}
	defer context.Close()
	if err := context.Create(); err != nil {
		return err
	}
	mount, err := context.Mount("elsewhere")
	t.Cleanup(func() { mount.Close() })
	return err
}

// A hierarchy of cgroups is found by its controllers; version 2 is one, whatever options it has.
func TestControllers(t *testing.T) {
	for kind, want := range map[pb.Fstype]string{pb.Fstype_CGROUP: "cpu,cpuacct", pb.Fstype_CGROUP2: ""} {
		m := mount{img: entry(1, 0, kind, "/x", "/c", options("cpu,cpuacct"))}
		if got := m.controllers(); got != want {
			t.Errorf("%v: %q, want %q", kind, got, want)
		}
	}
}

// A tree may have more mounts than this process may have files open; afterwards the limit is what it was.
func TestManyMounts(t *testing.T) {
	testenv.NeedRoot(t)
	dir, mounts := t.TempDir(), []*pb.MntEntry{entry(1, 0, pb.Fstype_UNSUPPORTED, "/", "/")}
	for i := range uint32(200) {
		name := fmt.Sprintf("/%d", i)
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		mounts = append(mounts, entry(2+i, 1, pb.Fstype_TMPFS, "/", name))
	}
	var before, after unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	defer unix.Prlimit(0, unix.RLIMIT_NOFILE, &before, nil)
	few := unix.Rlimit{Cur: 100, Max: before.Max}
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &few, nil); err != nil {
		t.Fatal(err)
	}
	p := New(imageOf(t, mounts...), 1, &Options{Root: dir})
	aside, err := sys.NewAside()
	if err != nil {
		t.Fatal(err)
	}
	defer aside.End()
	if err := aside.Do(making(p)); err != nil {
		t.Error(err)
	}
	p.Close()
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &after); err != nil || after != few {
		t.Errorf("afterwards: %v, %v", after, err)
	}
}

// A dump of tasks whose root was this machine's is not restored into another root unless that is said.
func TestAnotherRoot(t *testing.T) {
	testenv.NeedRoot(t)
	for _, root := range []string{"", "/"} {
		p := New(imageOf(t, entry(1, 0, pb.Fstype_UNSUPPORTED, "/", "/", func(m *pb.MntEntry) {
			m.Source = pb.String("/dev/elsewhere")
		})), 1, &Options{Root: root})
		aside, err := sys.NewAside()
		if err = errors.Join(p.Problems().Err(), err); err != nil {
			t.Fatal(err)
		}
		err = aside.Do(making(p))
		aside.End()
		p.Close()
		const want = `mount 1 at /: the tasks had "/dev/elsewhere" as their root, and this machine's root is `
		if got := fmt.Sprint(err); (root == "") != strings.Contains(got, want) || (root == "/") != (err == nil) {
			t.Errorf("--root %q: %v, want %s", root, err, want)
		}
	}
}
