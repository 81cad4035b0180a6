package planner

import (
	"fmt"
	"path"
	"strings"
)

// AllControllers is the key in CgroupRoots of the root for every controller that has none of its own.
const AllControllers = "*"

// ParseCgroupRoot reads [CONTROLLER:]/PATH, as criu(8) --cgroup-root.
func ParseCgroupRoot(s string) (controller, root string, err error) {
	controller, root, found := strings.Cut(s, ":")
	if !found {
		controller, root = AllControllers, s
	}
	if !cleanPath(root) {
		return "", "", fmt.Errorf("%q is not the path of a cgroup, which begins with / and has no . or .. in it", root)
	}
	return controller, root, nil
}

// newRoot is where the cgroups of a hierarchy are to be that were below the topmost one that was dumped; "" says that
// they come back to where they were.
func (p *planner) newRoot(hierarchy string) string {
	for _, controller := range strings.Split(hierarchy, ",") {
		if root, ok := p.Opts.CgroupRoots[controller]; ok {
			return root
		}
	}
	return p.Opts.CgroupRoots[AllControllers]
}

// moved gives the path that a cgroup of the dump has here.
func (p *planner) moved(hierarchy, at string) string {
	root := p.newRoot(hierarchy)
	if root == "" {
		return at
	}
	if top := p.namespaceRoot(hierarchy); top != "/" { // as CRIU: the namespace's root moves
		if rest, below := strings.CutPrefix(at+"/", top+"/"); below {
			return path.Join(root, rest)
		}
	}
	for _, c := range p.Dir.Cgroup.GetControllers() {
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
