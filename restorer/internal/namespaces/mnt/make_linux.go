package mnt

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/namespaces/tmpfs"
)

// Make makes the tree on the calling OS thread, which must be locked and have no other use: it is in the new mount
// namespace afterwards. What cannot be made is among the plan's problems, and the rest is there, so that Facts can tell
// of it. Close ends what is left.
func (p *Plan) Make() {
	b := &builder{p: p}
	b.build()
	b.removeDeleted() // when it has not come so far
	if b.scratch != nil {
		b.scratch.Close()
	}
}

// builder makes one tree.
type builder struct {
	p       *Plan
	scratch *os.File // a file system where mounts are attached for a while, below the old root
	parked  int      // how many have been
	stuck   bool     // something has failed that all mounts need

	removals []removal
}

// build goes on without the mounts that cannot be made.
func (b *builder) build() {
	if len(b.p.mounts) == 0 {
		return
	}
	if !sys.CanCopySharing() {
		b.p.whole.Refuse("this host", "let criu restore these images", "mount namespaces need Linux 5.15")
		b.stuck = true
	}
	for _, stage := range []func(){
		b.makeRoom, b.enter, b.cloneExternals, b.separate, b.makeFresh, b.bindParts, b.holdOrphans,
		b.openTargets, b.setAttributes, b.attach, b.removeDeleted, b.share, b.enterRoot,
	} {
		if b.stuck {
			b.p.root().missing = true
			return
		}
		stage()
	}
}

// need notes that something has failed without which there is no tree.
func (b *builder) need(where string, err error) {
	if err != nil {
		b.p.whole.Fail(where, "", err)
		b.stuck = true
	}
}

// try notes that something has failed for a mount, which is missing then.
func (m *mount) try(err error) {
	if err != nil {
		m.fail("", err)
	}
}

// makeRoom has this process open each mount and its mount point. A few other files are open for a moment.
func (b *builder) makeRoom() {
	const others = 64
	var err error
	b.p.made.lower, err = sys.RoomForFiles(2*len(b.p.mounts) + len(b.p.hidden) + others)
	b.need("this host", err)
}

// enter also opens the namespace: the tree may have no /proc.
func (b *builder) enter() {
	err := sys.OwnMounts()
	if err == nil {
		b.p.made.namespace, err = sys.ThreadNamespace(unix.CLONE_NEWNS)
	}
	b.need("mount namespace", err)
}

// Namespace opens the namespace that Make has made.
func (p *Plan) Namespace() (*os.File, error) { return sys.Duplicate(p.made.namespace) }

// cloneExternals: a clone that is made before the thread's namespace is separated from the host's can stay a peer or
// a slave of what it is cloned from.
func (b *builder) cloneExternals() {
	for _, m := range b.p.mounts {
		if m.kind != external || m.missing {
			continue
		}
		file, err := b.cloneExternal(m)
		if err == nil && m.peer == follower {
			err = sys.SetMount(file, 0, 0, uapi.MsSlave, false)
		} else if err == nil && m.peer == alone {
			err = sys.SetMount(file, 0, 0, uapi.MsPrivate, false)
		}
		if file != nil {
			m.handle = &handle{mount: file}
		}
		if err != nil {
			m.fail(m.externalHint(), err)
		}
	}
}

// externalHint names the option that says where a mount comes from; criu(8) has one of its own for the root.
func (m *mount) externalHint() string {
	key, isExternal := externalKey(m.img)
	switch {
	case m.parent == nil:
		return "give the directory that becomes the root: --root DIR, also where that is /"
	case isExternal:
		return "say what is mounted there: --external mnt[" + key + "]:PATH"
	}
	return ""
}

// cloneExternal clones what takes the place of an external mount. For a cgroup that is the task's own below this host's
// hierarchy, where there is one: the path that a runtime names may show more than the container's.
func (b *builder) cloneExternal(m *mount) (*os.File, error) {
	if m.cgroup != "" {
		dir := b.p.hierarchy(m)
		if dir != "" {
			if at, err := openBelow(dir, m.cgroup); err == nil {
				defer at.Close()
				return sys.CloneMount(at, false, m.point())
			}
		}
		if m.path == "" || dir != "" && !b.p.opts.LeaveCgroups { // never more than the container's
			return nil, fmt.Errorf("there is no cgroup %s on this host, and none of the tasks was in it", m.cgroup)
		}
	}
	if m.parent == nil && b.p.opts.Root == "" {
		if err := m.sameRoot(); err != nil {
			return nil, err
		}
	}
	at, err := os.OpenFile(m.path, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	return sys.CloneMount(at, false, m.point())
}

// sameRoot compares this machine's root with what the tasks had as theirs, by the name that the kernel has for it.
func (m *mount) sameRoot() error {
	info, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return err
	}
	if source := host.RootSource(string(info)); source != m.img.GetSource() {
		return fmt.Errorf("the tasks had %q as their root, and this machine's root is %q", m.img.GetSource(), source)
	}
	return nil
}

// inside keeps a path below a root: it is one that the kernel has printed, so it has no symbolic links in it.
const inside = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS

func openBelow(dir, name string) (*os.File, error) {
	root, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return sys.OpenIn(root, strings.TrimPrefix(name, "/"), unix.O_PATH, inside)
}

// Cgroups gives the directories of the host's cgroups that are mounted in the tree.
func (p *Plan) Cgroups() (dirs []string) {
	for _, m := range p.mounts {
		if m.cgroup == "" {
			continue
		}
		if dir := p.hierarchy(m); dir != "" {
			dirs = append(dirs, path.Join(dir, m.cgroup))
		}
	}
	return dirs
}

// hierarchy finds where the host has a mount's hierarchy of cgroups mounted from its root. A container has a dozen
// of them, and for each the kernel would write the host's whole table of mounts: it is read once.
func (p *Plan) hierarchy(m *mount) (point string) {
	p.lookUp.Do(func() {
		info, _ := os.ReadFile("/proc/thread-self/mountinfo")
		p.hierarchies = host.FindCgroupMounts(string(info))
	})
	return p.hierarchies.Of(m.controllers())
}

// controllers names a hierarchy of version 1. Version 2 has options, such as nsdelegate, but no controllers.
func (m *mount) controllers() string {
	if pb.Fstype(m.img.GetFstype()) == pb.Fstype_CGROUP2 {
		return ""
	}
	return strings.Join(splitOptions(m.img.GetOptions()), ",")
}

// separate ends all propagation, and makes room for mounts that are not in their places yet. It covers the old root,
// where no path goes through it, and ends with that.
func (b *builder) separate() {
	err := sys.KeepMountsPrivate()
	if err == nil {
		b.scratch, err = newScratch()
	}
	b.need("mount namespace", err)
}

// newScratch mounts an empty tmpfs over this thread's root, where the new tree grows out of sight of the old one.
func newScratch() (*os.File, error) {
	root, err := os.OpenFile("/", unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	context, err := sys.OpenFS("tmpfs")
	if err != nil {
		return nil, err
	}
	defer context.Close()
	if err := context.Create(); err != nil {
		return nil, err
	}
	scratch, err := context.Mount("scratch")
	if err != nil {
		return nil, err
	}
	return scratch, sys.AttachMount(scratch, root)
}

// makeFresh makes file systems and fills them. Of those that only the first process can make it makes others like
// them, to see whether the kernel takes the options and what is in them.
func (b *builder) makeFresh() {
	for _, m := range append(slices.Clone(b.p.hidden), b.p.mounts...) {
		if m.kind != fresh || m.missing {
			continue
		}
		file, err := b.newFS(m)
		if file != nil {
			m.handle = &handle{mount: file}
		}
		if err != nil {
			m.fail(m.freshHint(err), err)
		}
	}
}

// freshHint: without SELinux its options are unknown.
func (m *mount) freshHint(err error) string {
	if errors.Is(err, unix.EINVAL) && slices.ContainsFunc(m.fs.options, isLabel) {
		return "restore it on a host with SELinux; --lsm-mount-context gives another label"
	}
	return ""
}

// newFS makes a superblock and its mount, still detached, and fills a tmpfs from its archive.
func (b *builder) newFS(m *mount) (*os.File, error) {
	if m.fs.name == "cgroup" && b.p.hierarchy(m) == "" {
		return nil, fmt.Errorf(
			"this host has no hierarchy of cgroups with %s mounted",
			m.controllers(),
		)
	}
	context, err := sys.OpenFS(m.fs.name)
	if err != nil {
		return nil, err
	}
	defer context.Close()
	if err := configure(context, &m.fs); err != nil {
		return nil, err
	}
	file, err := context.Mount(m.point())
	if err == nil && m.tar != "" {
		err = b.fill(file, m.tar)
	}
	return file, err
}

// configure gives a superblock its source, flags and options before it is created; a filesystem refuses what it does
// not know.
func configure(context *sys.FSContext, f *filesystem) error {
	if err := setSource(context, f.source); err != nil {
		return err
	}
	for _, word := range append(slices.Clone(f.flags), f.options...) {
		err := error(nil)
		if key, value, ok := strings.Cut(word, "="); ok {
			err = context.Set(key, value)
		} else {
			err = context.SetFlag(word)
		}
		if err != nil {
			return err
		}
	}
	return context.Create()
}

// setSource: without one mountinfo says "none".
func setSource(context *sys.FSContext, source string) error {
	if source == "" {
		return nil
	}
	return context.Set("source", source)
}

// fill unpacks the contents of a tmpfs. The archive is opened only as a regular file: anything else might make crpie
// wait.
func (b *builder) fill(dir *os.File, image string) error {
	archive, err := b.p.dir.FS.Open(image)
	if err != nil {
		return err
	}
	defer archive.Close()
	if info, err := archive.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(fmt.Errorf("%s: not a regular file", image), err)
	}
	if err := tmpfs.Unpack(dir, archive); err != nil {
		return fmt.Errorf("%s: %w", image, err)
	}
	return nil
}

// bindParts clones parts of mounts while nothing covers them. Before Linux 6.15 the whole must be attached for that.
func (b *builder) bindParts() {
	for _, m := range append(slices.Clone(b.p.hidden), b.p.mounts...) {
		if len(m.binds) > 0 && !m.missing {
			m.try(b.park(m))
		}
		for _, part := range m.binds {
			part.missing = part.missing || m.missing
			if !part.missing {
				b.bindPart(m, part)
			}
		}
	}
}

func (b *builder) bindPart(whole, part *mount) {
	file, err := b.clonePart(whole, part)
	if file != nil {
		part.handle = &handle{mount: file}
	}
	if err != nil {
		part.fail("", fmt.Errorf("%s of %s: %w", part.sub, whole.where(), err))
	}
}

// park attaches a mount where it is out of the way.
func (b *builder) park(m *mount) error {
	if m.handle.parked {
		return nil
	}
	at, err := b.makeBeside(b.scratch, strconv.Itoa(b.parked), m)
	if err != nil {
		return err
	}
	defer at.Close()
	b.parked++
	m.handle.parked = true
	return sys.AttachMount(m.handle.mount, at)
}

// makeBeside makes a directory or file, whichever can be a mount point of the mount, and opens it.
func (b *builder) makeBeside(dir *os.File, name string, of *mount) (*os.File, error) {
	isDir, err := isDirectory(of.handle.mount)
	if err != nil {
		return nil, err
	}
	return makeEmpty(dir, name, isDir)
}

// makeEmpty makes a mount point for what was deleted or hidden at the dump.
func makeEmpty(dir *os.File, name string, isDir bool) (*os.File, error) {
	err := error(nil)
	if isDir {
		err = unix.Mkdirat(int(dir.Fd()), name, 0o755)
	} else {
		err = unix.Mknodat(int(dir.Fd()), name, unix.S_IFREG|0o644, 0)
	}
	if err != nil {
		return nil, &os.PathError{Op: "make", Path: name, Err: err}
	}
	return sys.OpenIn(dir, name, unix.O_PATH, inside)
}

func isDirectory(f *os.File) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR, nil
}

// clonePart clones a part of a mount, which has to be there, or has been deleted: then it comes and goes.
func (b *builder) clonePart(whole, part *mount) (*os.File, error) {
	if part.img.GetDeleted() {
		return b.cloneDeleted(whole, part)
	}
	if whole.fs.name == "devpts" {
		if err := b.holdTerminal(whole, part.sub); err != nil {
			return nil, err
		}
	}
	at, err := openPart(whole.handle.mount, part.sub)
	if err != nil {
		return nil, sys.WithoutPath(err)
	}
	defer at.Close()
	return sys.CloneMount(at, false, part.point())
}

func openPart(whole *os.File, sub string) (*os.File, error) {
	if sub == "" { // it may be a file, which has no "."
		return sys.Duplicate(whole)
	}
	return sys.OpenIn(whole, sub, unix.O_PATH, inside)
}

// cloneDeleted: a clone of what has gone already could not be attached.
func (b *builder) cloneDeleted(whole, part *mount) (*os.File, error) {
	dir, name := ".", part.sub
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, name = name[:i], name[i+1:]
	}
	parent, err := openPart(whole.handle.mount, dir)
	if err != nil {
		return nil, sys.WithoutPath(err)
	}
	isDir, err := mountPointIsDirectory(part)
	if err != nil {
		parent.Close()
		return nil, err
	}
	at, err := makeEmpty(parent, name, isDir)
	if err != nil {
		parent.Close()
		return nil, fmt.Errorf("it had been deleted; making it again: %w", sys.WithoutPath(err))
	}
	defer at.Close()
	b.removals = append(b.removals, removal{parent, name, isDir, part})
	return sys.CloneMount(at, false, part.point())
}

// removal is of what was made only to be bound somewhere.
type removal struct {
	parent *os.File
	name   string
	isDir  bool
	of     *mount
}

// removeDeleted deletes again what had been deleted. A clone whose root has gone before cannot be attached any more.
func (b *builder) removeDeleted() {
	for _, r := range b.removals {
		flags := 0
		if r.isDir {
			flags = unix.AT_REMOVEDIR
		}
		err := unix.Unlinkat(int(r.parent.Fd()), r.name, flags)
		r.parent.Close()
		if err != nil {
			r.of.fail("", fmt.Errorf("its root, %s, cannot be removed again: %w", r.of.root(), err))
		}
	}
	b.removals = nil
}

// mountPointIsDirectory looks at a mount point: CRIU does not say what it was that had been deleted.
func mountPointIsDirectory(m *mount) (bool, error) {
	if m.parent == nil || m.parent.handle == nil {
		return false, fmt.Errorf(
			"it had been deleted, and is mounted below a part of another mount: not supported",
		)
	}
	at, err := openPart(m.parent.handle.mount, m.at)
	if err != nil {
		return false, fmt.Errorf("its mount point: %w", sys.WithoutPath(err))
	}
	defer at.Close()
	return isDirectory(at)
}
