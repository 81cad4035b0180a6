package mnt

import (
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// visible gives the mount that a path leads to, and the path from its root: at each step the mount that covers the
// place, if there is one.
func (p *Plan) visible(name string) (m *mount, rest string) {
	if len(p.mounts) == 0 {
		return &mount{missing: true}, name
	}
	m, rest = p.root(), strings.Trim(name, "/")
	for {
		next, behind := m.covering(rest)
		if next == nil {
			return m, rest
		}
		m, rest = next, behind
	}
}

// covering gives the first mount on the way along a path.
func (m *mount) covering(name string) (first *mount, rest string) {
	for _, child := range m.children {
		behind, ok := "", child.at == ""
		if ok {
			behind = name
		} else {
			behind, ok = below(name, child.at)
		}
		if ok && (first == nil || len(child.at) < len(first.at)) {
			first, rest = child, behind
		}
	}
	return first, rest
}

// Covered reports whether a path does not lead to a file of the mount that has an id in the images. -1 is a file whose
// mount CRIU has not noted.
func (p *Plan) Covered(name string, id int32) bool {
	m, _ := p.visible(name)
	return id > 0 && p.has(uint32(id)) && m.img.GetMntId() != uint32(id)
}

func (p *Plan) has(id uint32) bool {
	for _, m := range p.mounts {
		if m.img.GetMntId() == id {
			return true
		}
	}
	return false
}

// Terminals gives the paths of single terminals that are mounted elsewhere, too, by mount.
func (p *Plan) Terminals() map[string]string {
	terminals := map[string]string{}
	for _, m := range p.mounts {
		if m.base != nil && m.base.fs.name == "devpts" && m.sub != "" && m.base.seen() {
			terminals[m.where()] = path.Join(m.base.point(), m.sub)
		}
	}
	return terminals
}

// terminal finds the devpts that a terminal is on, nil if it is not the tree's own.
func (p *Plan) terminal(name string) (devpts *mount, sub string) {
	m, sub := p.visible(name)
	if m.kind != fresh || m.fs.name != "devpts" {
		return nil, ""
	}
	return m, sub
}

// Master gives what opens the master of a terminal that Make has made, or nil.
func (p *Plan) Master(name string) func() (*os.File, error) {
	devpts, sub := p.terminal(name)
	index, err := strconv.Atoi(sub)
	master := p.made.ptys[pty{devpts, index}]
	if err != nil || master == nil {
		return nil
	}
	return func() (*os.File, error) { return p.made.duplicate(master) }
}

// Keys lists the keys of --external mnt[KEY]:PATH that the images have.
func (p *Plan) Keys() (keys []string) {
	for _, m := range p.mounts {
		if key, isExternal := externalKey(m.img); isExternal && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// LateCgroups names mounts of cgroups that Operations make.
func (p *Plan) LateCgroups() []string {
	return p.named(func(m *mount) bool { return m.madeLate && strings.HasPrefix(m.fs.name, "cgroup") })
}

func (p *Plan) named(is func(m *mount) bool) (where []string) {
	for _, m := range p.mounts {
		if is(m) {
			where = append(where, m.where())
		}
	}
	return where
}
