package mnt

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/refuse"
	"github.com/crpie/crpie/restorer/internal/host"
)

// Options are the choices of whoever restores, and which other namespaces the tasks had of their own.
type Options struct {
	Root        string            // the directory that becomes the tasks' root (--root); "": not given
	External    map[string]string // paths in the host's tree, by the KEY of --external mnt[KEY]:PATH
	CgroupRoots map[string]string // where the topmost cgroups are to be, by controller (--cgroup-root)
	// MountContext is the SELinux label of file systems that had one for all their files (--lsm-mount-context).
	MountContext string

	PID, Cgroup bool

	Orphans []string // terminals, /dev/pts/N, whose master is made for somebody else

	// LeaveCgroups says that the tasks stay in the restorer's cgroups (--manage-cgroups=ignore): where the container's
	// is not, what External names is mounted.
	LeaveCgroups bool
}

// Plan is a mount tree: what is mounted where, in the order in which it is attached.
type Plan struct {
	opts   *Options
	dir    *images.Dir
	image  string   // of the mounts
	read   []*mount // in the order of mountinfo
	mounts []*mount // those that are below the root, parents first
	hidden []*mount // that are made because parts of them are bound, and attached nowhere
	shares []share

	lookUp      sync.Once
	hierarchies host.CgroupMounts // of the host, when they have been looked up

	whole refuse.Collector // what cannot be had of the tree, beside the problems of its mounts

	made made
}

// kind says where a mount comes from.
type kind int

const (
	fresh    kind = iota // a file system of its own
	external             // of the host's tree
	bind                 // a part of another mount of the tree
	refused
)

// mount is one mount of the tree.
type mount struct {
	img      *pb.MntEntry
	parent   *mount // nil: it is the root, or attached nowhere
	children []*mount
	at       string // its mount point, from its parent's; "" on top of that
	kind     kind

	path string     // external: in the host's tree
	peer peering    // external: what stays of its relations to the host's mounts
	fs   filesystem // fresh
	tar  string     // fresh: the image of its contents
	base *mount     // bind: which is no bind itself
	sub  string     // bind: the path from the base's root

	cgroup string // external: the path from its hierarchy's root, where that is known

	binds []*mount // of which it is the base

	// What needs the tasks' pid or cgroup namespace is made, or attached, by their first process.
	madeLate, attachedLate bool

	handle *handle // when it has been made

	problems *refuse.Collector
	missing  bool // it cannot be made, so that nothing can be said of what is in it
}

// peering says what stays of an external mount's relations to the host's mounts, mount_namespaces(7).
type peering int

const (
	alone    peering = iota
	follower         // a slave of the host's mount
	equal            // a peer of the host's mount
)

func (m *mount) point() string { return m.img.GetMountpoint() }
func (m *mount) root() string  { return m.img.GetRoot() }

// where names a mount in refusals.
func (m *mount) where() string { return fmt.Sprintf("mount %d at %s", m.img.GetMntId(), m.point()) }

// Images names the images that the plan is made of, so that they are not refused as unknown.
func (p *Plan) Images() []string {
	names := []string{p.image}
	for _, m := range p.mounts {
		if m.tar != "" {
			names = append(names, m.tar)
		}
	}
	return names
}

// Problems lists what cannot be had in the order of mountinfo, whether New or Make has found it.
func (p *Plan) Problems() *refuse.Collector {
	all := &refuse.Collector{}
	all.Add(&p.whole)
	for _, m := range p.read {
		all.Add(m.problems)
	}
	return all
}

// refuse says what cannot be had of a mount that is made all the same, to see what else there is to say.
func (m *mount) refuse(hint, format string, args ...any) {
	m.problems.Refuse(m.where(), hint, format, args...)
}

// fail says why a mount cannot be made.
func (m *mount) fail(hint string, err error) {
	m.problems.Fail(m.where(), hint, err)
	m.missing = true
}

// seen reports whether a mount is in its place, as far as its tree is made.
func (m *mount) seen() bool { return m == nil || !m.missing && m.parent.seen() }

// New plans the mount namespace that has an id in the images. What cannot be made is among the problems.
func New(dir *images.Dir, id uint32, o *Options) *Plan {
	p := &Plan{opts: o, dir: dir, image: fmt.Sprintf("mountpoints-%d.img", id)}
	r := &reader{p: p}
	if !r.read() || !r.link() {
		return p
	}
	for _, m := range p.mounts {
		r.classify(m)
		r.byDev[m.img.GetRootDev()] = append(r.byDev[m.img.GetRootDev()], m)
	}
	r.findBases()
	r.findContents()
	r.delay()
	r.findShares()
	return p
}

// reader makes a plan of images.
type reader struct {
	p      *Plan
	byID   map[uint32]*mount
	wholes map[uint32]*mount   // of file systems, by device: the first mount of each
	byDev  map[uint32][]*mount // of the tree, and hidden ones
}

// maxMounts bounds the time that a plan takes. Linux stops at 100,000 mounts, fs.mount-max.
const maxMounts = 1 << 14

// read reads the mounts: the image lists them in the reverse order of mountinfo.
func (r *reader) read() bool {
	img, err := images.Read(r.p.dir.FS, r.p.image)
	if err != nil {
		r.refuse("%v", err)
		return false
	}
	for _, field := range img.Unknown {
		r.refuse("%s: unknown here, from a newer CRIU", field)
	}
	if len(img.Entries) == 0 || len(img.Entries) > maxMounts {
		r.refuse("%d mounts: not between 1 and %d", len(img.Entries), maxMounts)
		return false
	}
	r.byID, r.wholes, r.byDev = map[uint32]*mount{}, map[uint32]*mount{}, map[uint32][]*mount{}
	for i := len(img.Entries) - 1; i >= 0; i-- {
		entry, ok := img.Entries[i].Message.(*pb.MntEntry)
		if !ok {
			r.refuse("an image of kind %s, want MNTS", img.Kind.Name)
			return false
		}
		r.add(&mount{img: entry, problems: &refuse.Collector{}})
	}
	return true
}

// refuse says what is wrong with the image.
func (r *reader) refuse(format string, args ...any) { r.p.whole.Refuse(r.p.image, "", format, args...) }

// add takes a mount from the images, and refuses what no kernel can have dumped. It is kept all the same, so that
// others find their parent.
func (r *reader) add(m *mount) {
	id := m.img.GetMntId()
	switch {
	case r.byID[id] != nil:
		m.problems.Refuse(r.p.image, "", "mount %d occurs twice", id)
	case !absolute(m.point()):
		m.refuse("", "its mount point is not an absolute path")
	case m.img.GetFstype() != uint32(pb.Fstype_CGROUP) && m.img.GetFstype() != uint32(pb.Fstype_CGROUP2) &&
		!absolute(m.root()):
		m.refuse("", "its root %q is not an absolute path", m.root())
	case strings.ContainsRune(m.img.GetSource()+m.img.GetOptions()+m.img.GetExtKey()+m.root(), 0):
		m.refuse("", "there is a NUL in its source, options or key")
	}
	m.missing = m.problems.Len() > 0
	if r.byID[id] == nil {
		r.byID[id] = m
	}
	r.p.read = append(r.p.read, m)
}

// absolute reports whether a path is one that the kernel prints: from the root, without dots.
func absolute(name string) bool {
	return path.IsAbs(name) && path.Clean(name) == name && len(name) < 4096 && !strings.ContainsRune(name, 0)
}

// below gives the rest of a path behind a directory; ok is false when it is not in there.
func below(name, dir string) (rest string, ok bool) {
	if name == dir {
		return "", true
	}
	if dir != "/" {
		dir += "/"
	}
	return strings.CutPrefix(name, dir)
}

// place is where a mount is: at a path of another one.
type place struct {
	parent *mount
	at     string
}

// link makes a tree of the mounts and orders them, parents first. A mount that has no place in it is left out, with
// what is below it.
func (r *reader) link() bool {
	places := map[place]*mount{}
	var roots, astray []*mount
	for _, m := range r.p.read {
		parent := r.byID[m.img.GetParentMntId()]
		if parent == nil || parent == m {
			roots = append(roots, m)
			continue
		}
		at, ok := below(m.point(), parent.point())
		if !ok {
			astray = append(astray, m)
			if absolute(m.point()) && absolute(parent.point()) {
				m.refuse("", "it is not below its parent, %s", parent.where())
			}
			continue
		}
		m.parent, m.at = parent, at
		if other := places[place{parent, at}]; other != nil {
			m.refuse("", "mount %d is in the same place: not supported", other.img.GetMntId())
			m.missing = true
		}
		places[place{parent, at}] = m
		parent.children = append(parent.children, m)
	}
	return r.order(roots, astray)
}

// order finds the root. Mounts that are below neither it nor one that is left out are in a circle.
func (r *reader) order(roots, astray []*mount) bool {
	if len(roots) != 1 {
		r.refuse("%d mounts have no parent, want 1: the root", len(roots))
	}
	if len(roots) == 0 {
		return false
	}
	root := max(0, slices.IndexFunc(roots, func(m *mount) bool { return m.point() == "/" }))
	r.p.mounts = appendChildren([]*mount{roots[root]})
	others := appendChildren(append(slices.Delete(slices.Clone(roots), root, root+1), astray...))
	if missing := len(r.p.read) - len(r.p.mounts) - len(others); missing > 0 {
		r.refuse("%d mounts are not below the root", missing)
	}
	if r.p.root().point() != "/" {
		r.p.root().refuse("", "the root of the tree is not at /")
		r.p.root().missing = true
	}
	return true
}

// appendChildren walks breadth first: what is in /dev is there before masks below /proc that are parts of it.
func appendChildren(order []*mount) []*mount {
	for i := 0; i < len(order); i++ {
		order = append(order, order[i].children...)
	}
	return order
}

// root is the mount that all others are below.
func (p *Plan) root() *mount { return p.mounts[0] }

// findContents looks for the archives of file systems in memory, which are called after their devices.
func (r *reader) findContents() {
	for _, m := range r.p.mounts {
		if m.kind != fresh || m.fs.name != "tmpfs" || m.missing {
			continue
		}
		name := fmt.Sprintf("tmpfs-dev-%d.tar.gz.img", m.img.GetRootDev())
		f, err := r.p.dir.FS.Open(name)
		if err != nil { // criu writes one of an empty file system, too
			m.fail("", fmt.Errorf("its contents: %w", err))
			continue
		}
		f.Close()
		m.tar = name
	}
}

// lateOrder lists what the first process attaches: parents first, and the whole of a file system before its parts.
func (p *Plan) lateOrder() (order []*mount) {
	attached := map[*mount]bool{nil: true}
	for _, m := range p.mounts {
		attached[m] = !m.attachedLate
	}
	for again := true; again; {
		again = false
		for _, m := range p.mounts {
			if !attached[m] && attached[m.parent] && (!m.madeLate || attached[m.base]) {
				attached[m], again, order = true, true, append(order, m)
			}
		}
	}
	return order
}
