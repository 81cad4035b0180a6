package mnt

import (
	"fmt"
	"slices"
	"strings"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/cgroups/moved"
)

// filesystem is how a mount of a kind is made.
type filesystem struct {
	name    string
	options []string // words of mount(8): "key" or "key=value"
	source  string
	flags   []string // of the superblock
}

// kindsOfFS says which file systems are made anew, and with which options. Those without are one superblock for the
// whole host or a namespace: options would change the host's.
var kindsOfFS = [...]kindOfFS{
	pb.Fstype_PROC: {"proc", true}, pb.Fstype_SYSFS: {"sysfs", false}, pb.Fstype_DEVTMPFS: {"devtmpfs", false},
	pb.Fstype_BINFMT_MISC: {"binfmt_misc", false}, pb.Fstype_TMPFS: {"tmpfs", true},
	pb.Fstype_DEVPTS: {"devpts", true}, pb.Fstype_PSTORE: {"pstore", false},
	pb.Fstype_SECURITYFS: {"securityfs", false}, pb.Fstype_FUSECTL: {"fusectl", false},
	pb.Fstype_DEBUGFS: {"debugfs", false}, pb.Fstype_TRACEFS: {"tracefs", false},
	pb.Fstype_CGROUP: {"cgroup", true}, pb.Fstype_CGROUP2: {"cgroup2", false}, pb.Fstype_MQUEUE: {"mqueue", false},
}

type kindOfFS struct {
	name    string
	options bool
}

// kindOf finds how a mount's file system is made anew.
func (m *mount) kindOf() (kind kindOfFS, ok bool) {
	if code := m.img.GetFstype(); code < uint32(len(kindsOfFS)) {
		kind = kindsOfFS[code]
	}
	return kind, kind.name != ""
}

// nullKey is the key of masks, which runtimes give to files of /proc.
const nullKey = "/dev/null"

// classify says where a mount comes from. Parts of other mounts are found later.
func (r *reader) classify(m *mount) {
	m.kind = bind
	key, isExternal := externalKey(m.img)
	to, mapped := r.p.opts.External[key]
	first := m.root() == "/" && r.isFirst(m)
	switch {
	case m.missing:
		m.kind = refused
	case m.img.GetWithPlugin():
		m.refuseKind("restore it with criu", "it was dumped by a plugin of criu: not supported")
	case m.parent == nil:
		r.classifyRoot(m)
	case isExternal && r.isCgroup(m):
		m.kind, m.path, m.cgroup = external, to, r.cgroupPath(m)
	case isExternal && mapped:
		m.kind, m.path = external, to
	case isExternal && key == nullKey: // of the tree's own /dev, if it has one
	case isExternal:
		m.refuseKind("say what is mounted there: --external mnt["+key+"]:PATH",
			"it was outside of the container, under the key "+key)
	case first:
		r.classifyFresh(m)
	}
}

// isCgroup reports whether a part of a hierarchy of cgroups is mounted: that of the container, where it has no cgroup
// namespace.
func (r *reader) isCgroup(m *mount) bool {
	kind := pb.Fstype(m.img.GetFstype())
	return (kind == pb.Fstype_CGROUP || kind == pb.Fstype_CGROUP2) && m.root() != "/" && absolute(m.root())
}

// cgroupPath says where the cgroup of the mount is now: --cgroup-root moves it.
func (r *reader) cgroupPath(m *mount) string {
	roots := moved.Roots{Dir: r.p.dir, To: r.p.opts.CgroupRoots}
	hierarchy := ""
	if pb.Fstype(m.img.GetFstype()) == pb.Fstype_CGROUP {
		hierarchy = roots.Hierarchy(splitOptions(m.img.GetOptions()))
	}
	return roots.Moved(hierarchy, m.root())
}

// externalKey gives the name that an external mount has for options. Before CRIU 2.0 it was the root.
func externalKey(m *pb.MntEntry) (key string, ok bool) {
	if m.ExtKey != nil {
		return m.GetExtKey(), true
	}
	return m.GetRoot(), m.GetExtMount()
}

// classifyRoot takes the root from --root. Without it this machine's root has to do, which only a dump of tasks that
// had the host's root can be given.
func (r *reader) classifyRoot(m *mount) {
	m.kind, m.path = external, r.p.opts.Root
	if m.path != "" {
		return
	}
	m.path = "/"
	if m.root() != "/" || pb.Fstype(m.img.GetFstype()) == pb.Fstype_OVERLAYFS {
		m.refuseKind("give the directory that becomes the root: --root DIR",
			"the tasks had a root file system of their own")
	}
}

// isFirst reports whether the same file system is not mounted as a whole before.
func (r *reader) isFirst(m *mount) bool {
	if first := r.wholes[m.img.GetRootDev()]; first != nil {
		return first == m
	}
	r.wholes[m.img.GetRootDev()] = m
	return true
}

// classifyFresh plans a new superblock with the flags and options that the dump has. A devpts without newinstance was
// the host's (before Linux 4.7, kernel documentation of devpts).
func (r *reader) classifyFresh(m *mount) {
	kind, ok := m.kindOf()
	if !ok {
		r.refuseFS(m)
		return
	}
	m.kind, m.fs = fresh, filesystem{
		name:   kind.name,
		source: m.img.GetSource(),
		flags:  superFlags(kind.name, m.img.GetSbFlags()),
	}
	options := relabel(splitOptions(m.img.GetOptions()), r.p.opts.MountContext)
	if kind.name == "devpts" && !slices.Contains(options, "newinstance") {
		m.kind, m.path = external, "/dev/pts" // the host's
		return
	}
	if kind.options {
		m.fs.options = options
	}
}

// refuseFS refuses a file system that cannot be made anew: a disk, or a type that CRIU knows by a number only.
func (r *reader) refuseFS(m *mount) {
	const hint = "dump with --external mnt[MOUNT POINT]:KEY and restore with --external mnt[KEY]:PATH"
	name := "of a type that criu does not know"
	switch pb.Fstype(m.img.GetFstype()) {
	case pb.Fstype_UNSUPPORTED:
	case pb.Fstype_AUTO:
		name = m.img.GetFsname()
	default:
		name = strings.ToLower(pb.Fstype(m.img.GetFstype()).String())
	}
	m.refuseKind(hint, fmt.Sprintf("file system %s of %s: not supported", name, m.img.GetSource()))
}

// refuseKind says why a mount cannot be made.
func (m *mount) refuseKind(hint, why string) {
	m.kind, m.missing = refused, true
	m.refuse(hint, "%s", why)
}

// Flags of a superblock, mount(2), include/uapi/linux/mount.h, which are words for fsconfig(2).
const msSynchronous, msDirsync, msLazytime = 1 << 4, 1 << 7, 1 << 25

// superFlags are the words of fsconfig(2) for the flags of a superblock. Read-only comes later for those that have to
// be filled first.
func superFlags(name string, flags uint32) (words []string) {
	if flags&uapi.MsRdonly != 0 && slices.Contains(readOnlyFirst, name) {
		words = append(words, "ro")
	}
	for _, f := range []struct {
		bit  uint32
		word string
	}{{msSynchronous, "sync"}, {msDirsync, "dirsync"}, {msLazytime, "lazytime"}} {
		if flags&f.bit != 0 {
			words = append(words, f.word)
		}
	}
	return words
}

// readOnlyFirst are file systems that are read-only from when they are made. One that is mounted elsewhere already, as
// sysfs in the same network namespace, stays as it is: changed later, it would change for everybody. What is one for
// the whole host is never changed.
var readOnlyFirst = []string{"proc", "sysfs", "devpts", "cgroup", "cgroup2", "mqueue"}

// readOnlyWhenFull reports whether the file system becomes read-only when its contents are there: it is nobody else's.
func (m *mount) readOnlyWhenFull() bool {
	return m.kind == fresh && m.fs.name == "tmpfs" && m.img.GetSbFlags()&uapi.MsRdonly != 0
}

// attributes are those of mount_setattr(2) that are set and cleared; one of the kinds of atime is always chosen.
func (m *mount) attributes() (set, clear uint64) {
	flags := m.img.GetFlags()
	for _, f := range []struct {
		bit  uint32
		attr uint64
	}{
		{uapi.MsRdonly, uapi.MountAttrRdonly}, {uapi.MsNosuid, uapi.MountAttrNosuid},
		{uapi.MsNodev, uapi.MountAttrNodev}, {uapi.MsNoexec, uapi.MountAttrNoexec},
		{uapi.MsNodiratime, uapi.MountAttrNodiratime},
	} {
		if flags&f.bit != 0 {
			set |= f.attr
		} else {
			clear |= f.attr
		}
	}
	switch {
	case flags&uapi.MsNoatime != 0:
		set |= uapi.MountAttrNoatime
	case flags&uapi.MsRelatime == 0:
		set |= uapi.MountAttrStrictatime
	}
	return set, clear | uapi.MountAttrAtime
}

// findBases finds for each part of a file system the mount that it is a part of.
func (r *reader) findBases() {
	for _, m := range r.p.mounts {
		if m.kind == bind {
			r.findBase(m)
		}
	}
}

func (r *reader) findBase(m *mount) {
	m.base, m.sub = r.base(m)
	switch {
	case m.base == nil:
		r.withoutBase(m)
	case m.base.kind == refused: // which has been said
		m.kind, m.missing, m.base = refused, true, nil
	default:
		m.base.binds = append(m.base.binds, m)
	}
}

// base finds a mount of the same file system that shows a directory at or above the root of m, so that m can be a bind
// mount of it; sub is the way down. One that is refused is the last choice.
func (r *reader) base(m *mount) (base *mount, sub string) {
	for _, other := range r.byDev[m.img.GetRootDev()] {
		below, ok := below(m.root(), other.root())
		if !ok || other.kind == bind || other == m {
			continue
		}
		if other.kind != refused {
			return other, below
		}
		base = other
	}
	return base, ""
}

// withoutBase makes the whole of a file system for a part of it, or takes the host's file.
func (r *reader) withoutBase(m *mount) {
	kind, ok := m.kindOf()
	key, isExternal := externalKey(m.img)
	switch {
	case isExternal && key == nullKey:
		m.kind, m.path = external, nullKey
	case !ok, kind.name == "tmpfs", kind.name == "devpts":
		r.refuseFS(m)
	case !absolute(m.root()):
		m.refuseKind("", fmt.Sprintf("its root %s is outside of the cgroup namespace: not supported", m.root()))
	default:
		whole := *m.img
		whole.Root, whole.Flags, whole.Deleted = pb.String("/"), pb.Uint32(0), nil
		base := &mount{img: &whole, problems: m.problems}
		r.classifyFresh(base)
		r.p.hidden = append(r.p.hidden, base)
		r.byDev[whole.GetRootDev()] = append(r.byDev[whole.GetRootDev()], base)
		m.base, m.sub = base, strings.TrimPrefix(m.root(), "/")
		base.binds = append(base.binds, m)
	}
}

// delay finds out what needs a namespace that only the tasks' first process is in.
func (r *reader) delay() {
	for _, m := range r.p.hidden {
		if m.madeLate = r.p.needsProcess(m); m.madeLate {
			m.refuse("", "a part of %s, which is mounted nowhere as a whole: not supported", m.fs.name)
			m.missing = true
		}
	}
	for _, m := range r.p.mounts {
		m.madeLate = m.kind == fresh && r.p.needsProcess(m)
	}
	for _, m := range r.p.mounts {
		m.madeLate = m.madeLate || m.kind == bind && m.base != nil && m.base.madeLate
		m.attachedLate = m.madeLate || m.parent != nil && m.parent.attachedLate
		if m.attachedLate && m.img.GetDeleted() {
			m.refuse("", "its root, %s, had been deleted, and it is below %s: not supported", m.root(),
				m.parent.where())
		}
	}
}

// needsProcess reports whether only the tasks' first process can make a mount: the kernel takes the pid namespace of
// proc and the root of a cgroup file system from the process that mounts, pid_namespaces(7), cgroup_namespaces(7).
func (p *Plan) needsProcess(m *mount) bool {
	switch m.fs.name {
	case "proc":
		return p.opts.PID
	case "cgroup", "cgroup2":
		return p.opts.Cgroup
	}
	return false
}
