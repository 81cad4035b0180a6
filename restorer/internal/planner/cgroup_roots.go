package planner

import (
	"fmt"
	"strings"

	"github.com/crpie/crpie/restorer/internal/cgroups/moved"
)

// ParseCgroupRoot reads [CONTROLLER:]/PATH, as criu(8) --cgroup-root.
func ParseCgroupRoot(s string) (controller, root string, err error) {
	controller, root, found := strings.Cut(s, ":")
	if !found {
		controller, root = moved.AllControllers, s
	}
	if !cleanPath(root) {
		return "", "", fmt.Errorf("%q is not the path of a cgroup, which begins with / and has no . or .. in it", root)
	}
	return controller, root, nil
}

// roots says where cgroups of the dump are here.
func (p *planner) roots() moved.Roots { return moved.Roots{Dir: p.Dir, To: p.Opts.CgroupRoots} }
