// Package moved finds where the cgroups of a dump are here: where they were, or where --cgroup-root has them. It is
// pure.
package moved

import (
	"path"
	"slices"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
)

// AllControllers is the key in Roots.To of the root for every controller that has none of its own.
const AllControllers = "*"

// Roots says where the cgroups of a dump are here.
type Roots struct {
	Dir *images.Dir
	To  map[string]string // --cgroup-root: where the topmost ones are, by controller
}

// OwnNamespace reports whether the tasks were in another cgroup namespace than CRIU.
func (r Roots) OwnNamespace() bool {
	return r.Dir.OwnNamespace((*pb.TaskKobjIdsEntry).GetCgroupNsId)
}

// Members are the cgroups of the root task with the lengths of their namespace's roots. What CRIU was in as well has
// none.
func (r Roots) Members() []*pb.CgMemberEntry {
	if !r.OwnNamespace() {
		return nil
	}
	for _, s := range r.Dir.Cgroup.GetSets() {
		if s.GetId() == SetOf(r.Dir.Tasks[0], 0) && s.GetId() != r.Dir.Inventory.GetRootCgSet() {
			return s.GetCtls()
		}
	}
	return nil
}

// SetOf is the number of the set of cgroups that a thread was in.
func SetOf(t *images.Task, thread int) uint32 {
	if set := t.Threads[thread].Core.GetThreadCore().GetCgSet(); set != 0 {
		return set
	}
	return t.Core.GetTc().GetCgSet()
}

// Namespace is where the root of the namespace was in a hierarchy: all of it, where the images have no prefix.
func (r Roots) Namespace(hierarchy string) string {
	for _, c := range r.Members() {
		prefix := int(c.GetCgnsPrefix())
		if c.GetName() == hierarchy && 0 < prefix && prefix <= len(c.GetPath()) {
			return c.GetPath()[:prefix]
		}
	}
	return "/"
}

// to is where the cgroups of a hierarchy are to be that were below the topmost one that was dumped; "" says that they
// come back to where they were.
func (r Roots) to(hierarchy string) string {
	for _, controller := range strings.Split(hierarchy, ",") {
		for _, name := range []string{controller, strings.TrimPrefix(controller, "name=")} {
			if root, ok := r.To[name]; ok {
				return root
			}
		}
	}
	return r.To[AllControllers]
}

// Moved gives the path that a cgroup of the dump has here.
func (r Roots) Moved(hierarchy, at string) string {
	root := r.to(hierarchy)
	if root == "" {
		return at
	}
	if top := r.Namespace(hierarchy); top != "/" { // as CRIU: the namespace's root moves
		if rest, below := strings.CutPrefix(at+"/", top+"/"); below {
			return path.Join(root, rest)
		}
	}
	for _, c := range r.Dir.Cgroup.GetControllers() {
		if strings.Join(c.GetCnames(), ",") != hierarchy {
			continue
		}
		for _, dir := range c.GetDirs() {
			top := strings.TrimSuffix("/"+dir.GetDirName(), "/")
			if rest, below := strings.CutPrefix(at+"/", top+"/"); below {
				return path.Join(root, rest)
			}
		}
	}
	return at
}

// Hierarchy finds the name of the hierarchy that options of a mount are of, as cgroup.img has it: "" is version 2.
func (r Roots) Hierarchy(options []string) string {
	for _, c := range r.Dir.Cgroup.GetControllers() {
		names := c.GetCnames()
		lacks := func(name string) bool { return !slices.Contains(options, name) }
		if len(names) > 0 && !slices.ContainsFunc(names, lacks) {
			return strings.Join(names, ",")
		}
	}
	return ""
}
