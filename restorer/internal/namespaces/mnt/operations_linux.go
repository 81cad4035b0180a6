package mnt

import (
	"encoding/binary"
	"os"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// Pass hands a descriptor of the controller to the first process, under a number.
type Pass func(name string, open func() (*os.File, error)) int

// Operations plans what the tasks' first process does in the new mount namespace before anything else: it mounts what
// shows its other namespaces. Make has been called; scratch gives numbers for descriptors.
func (p *Plan) Operations(prog *plan.Program, pass Pass, scratch func() int) {
	if !p.late() {
		return
	}
	o := &operations{p: p, Program: prog, pass: pass, scratch: scratch, passed: map[*os.File]int{},
		own: map[*mount]int{}}
	for _, m := range p.lateOrder() {
		o.mount(m)
	}
	for _, s := range p.shares {
		o.share(&s)
	}
	for _, m := range p.mounts {
		if fd, ok := o.own[m]; ok {
			o.Sys("", uapi.SysClose, uint64(fd))
		}
	}
	for _, fd := range o.numbers {
		o.Sys("", uapi.SysClose, uint64(fd))
	}
}

// operations are being planned.
type operations struct {
	*plan.Program
	p       *Plan
	pass    Pass
	scratch func() int
	passed  map[*os.File]int
	numbers []int          // of what is passed
	own     map[*mount]int // descriptors of the mounts that it makes
}

// number is that of a descriptor of the controller's.
func (o *operations) number(what string, f *os.File) uint64 {
	if _, ok := o.passed[f]; !ok {
		o.passed[f] = o.pass(what, func() (*os.File, error) { return sys.Duplicate(f) })
		o.numbers = append(o.numbers, o.passed[f])
	}
	return uint64(o.passed[f])
}

// mountFD is the number of a mount's descriptor.
func (o *operations) mountFD(m *mount) uint64 {
	if fd, ok := o.own[m]; ok {
		return uint64(fd)
	}
	return o.number("mount "+m.point(), m.handle.mount)
}

// mount makes a mount, if the controller has not, and attaches it. Parts of it are cloned while nothing covers them.
func (o *operations) mount(m *mount) {
	what := "mount " + m.point()
	if m.madeLate && m.kind == fresh {
		o.fresh(m, what)
	}
	at := o.target(m, what)
	o.Sys(what, uapi.SysMoveMount, o.mountFD(m), o.empty(), at, o.empty(), uapi.MoveMountEmptyPaths)
	if _, ok := o.own[m.parent]; ok && m.at != "" {
		o.Sys(what, uapi.SysClose, at)
	}
	if m.madeLate {
		for _, part := range m.binds {
			o.part(m, part)
		}
	}
}

func (o *operations) empty() uint64 { return o.Arena.String("") }

// fresh makes a file system.
func (o *operations) fresh(m *mount, what string) {
	context, fd := o.scratch(), o.scratch()
	o.Open(context, true, what, uapi.SysFsopen, o.Arena.String(m.fs.name), 0)
	set := func(key, value string) {
		o.Sys(
			what,
			uapi.SysFsconfig,
			uint64(context),
			uapi.FsconfigSetString,
			o.Arena.String(key),
			o.Arena.String(value),
			0,
		)
	}
	if m.fs.source != "" {
		set("source", m.fs.source)
	}
	for _, word := range append(slices.Clone(m.fs.flags), m.fs.options...) {
		if key, value, ok := strings.Cut(word, "="); ok {
			set(key, value)
		} else {
			o.Sys(what, uapi.SysFsconfig, uint64(context), uapi.FsconfigSetFlag, o.Arena.String(key), 0, 0)
		}
	}
	o.Sys(what, uapi.SysFsconfig, uint64(context), uapi.FsconfigCmdCreate, 0, 0, 0)
	o.Open(fd, true, what, uapi.SysFsmount, uint64(context), 0, 0)
	o.Sys(what, uapi.SysClose, uint64(context))
	o.own[m] = fd
	set1, clear := m.attributes()
	o.attributes(m, what, set1, clear, 0)
}

// attributes: struct mount_attr, include/uapi/linux/mount.h.
func (o *operations) attributes(m *mount, what string, set, clear, propagation uint64) {
	const size = 32
	o.Sys(what, uapi.SysMountSetattr, o.mountFD(m), o.empty(), uapi.AtEmptyPath,
		o.Arena.Words(set, clear, propagation, 0), size)
}

// part clones a part of a mount that is attached.
func (o *operations) part(whole, m *mount) {
	what := "mount " + m.point()
	at, fd := o.open(o.mountFD(whole), m.sub, what), o.scratch()
	o.Open(fd, true, what, uapi.SysOpenTree, at, o.empty(), uapi.OpenTreeClone|uapi.AtEmptyPath)
	o.Sys(what, uapi.SysClose, at)
	o.own[m] = fd
	set, clear := m.attributes()
	o.attributes(m, what, set, clear, 0)
}

// open opens a path below a mount, with struct open_how of openat2(2).
func (o *operations) open(dir uint64, name, what string) uint64 {
	if name == "" {
		name = "."
	}
	fd := o.scratch()
	how := make([]byte, 24)
	binary.LittleEndian.PutUint64(how, uapi.OPath|uapi.OCloexec)
	binary.LittleEndian.PutUint64(how[16:], uapi.ResolveBeneath|uapi.ResolveNoSymlinks)
	o.Open(fd, true, what, uapi.SysOpenat2, dir, o.Arena.String(name), o.Arena.Bytes(how), uint64(len(how)))
	return uint64(fd)
}

// target is where a mount is attached: the controller has opened what it could.
func (o *operations) target(m *mount, what string) uint64 {
	if _, ok := o.own[m.parent]; ok && m.at == "" { // it may be a file, which has no "."
		return o.mountFD(m.parent)
	} else if ok {
		return o.open(o.mountFD(m.parent), m.at, what)
	}
	return o.number("mount point "+m.point(), m.parent.handle.targets[m])
}

// share makes groups, for all mounts are there now.
func (o *operations) share(s *share) {
	what := "mount " + s.to.point()
	if s.from != nil {
		o.Sys(what, uapi.SysMoveMount, o.mountFD(s.from), o.empty(), o.mountFD(s.to), o.empty(),
			uapi.MoveMountSetGroup|uapi.MoveMountEmptyPaths)
	}
	for _, propagation := range s.propagations() {
		o.attributes(s.to, what, 0, 0, propagation)
	}
}
