package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// A cgroup namespace has its roots where the task that makes it is, cgroup_namespaces(7). So the root task goes there
// first, and then to its own cgroups; its children are born in the namespace. Where cgroups are mounted, the zygote
// does so before it mounts them. CRIU dumps no other one.

// cgroupsAreMounted reports whether the first process mounts cgroups, of which the kernel shows those below the roots
// of its namespace.
func (p *planner) cgroupsAreMounted() bool {
	return p.roots().OwnNamespace() && p.Own.Mounts != nil && len(p.Own.Mounts.LateCgroups()) > 0
}

// enterCgroupNamespace has a process whose cgroups are those of from make the tasks' namespace.
func (p *planner) enterCgroupNamespace(prog *plan.Program, from membership) {
	p.moveCgroups(prog, from, p.cgroupRoots, processFile)
	prog.Sys("cgroup namespace", uapi.SysUnshare, uapi.CloneNewcgroup)
}

// planCgroupNamespace finds where the roots of the tasks' namespace have to be. Those cgroups are the root task's, or
// above them.
func (p *planner) planCgroupNamespace() {
	if !p.roots().OwnNamespace() {
		return
	}
	p.cgroupRoots = membership{}
	for _, hierarchy := range host.SortedNames(p.Host.Cgroups()) {
		if root := p.roots().Namespace(hierarchy); root == "/" {
			p.cgroupRoots[hierarchy] = root
		} else {
			p.cgroupRoots[hierarchy] = p.roots().Moved(hierarchy, root)
		}
	}
	p.checkRoots()
	p.checkUnifiedRoot()
	for _, t := range p.Dir.Tasks {
		p.checkInside(t)
	}
}

// checkRoots refuses roots that cannot be reached.
func (p *planner) checkRoots() {
	where := threadWhere(p.Dir.Tasks[0], 0)
	for _, c := range p.roots().Members() {
		at, prefix := c.GetPath(), int(c.GetCgnsPrefix())
		if prefix > len(at) || prefix > 0 &&
			(!cleanPath(at[:prefix]) || !strings.HasPrefix(at[prefix:]+"/", "/")) {
			p.Refuse(where, "", "the root of its cgroup namespace is %d bytes of %q, which is not the path of a cgroup",
				prefix, at)
		}
	}
	for _, hierarchy := range host.SortedNames(p.Host.Cgroups()) {
		if h := p.Host.Cgroups()[hierarchy]; h.Mount == "" && h.Own != p.cgroupRoots[hierarchy] {
			p.Refuse(where, "mount it, or use --manage-cgroups=ignore",
				"its cgroup namespace began at %s:%s, but that hierarchy is not mounted here",
				hierarchy,
				p.cgroupRoots[hierarchy])
		}
	}
}

// threadControllers are those of version 2 that a cgroup may hand out while a process is in it but none below it,
// cgroups(7).
var threadControllers = []string{"cpu", "cpuset", "perf_event", "pids"}

// checkUnifiedRoot refuses a root of version 2 that hands out controllers: no process may be in it, not even for a
// moment.
func (p *planner) checkUnifiedRoot() {
	h, ok := p.Host.Cgroups()[""]
	root := p.cgroupRoots[""]
	if !ok || root == "/" || root == h.Own || root == p.cgroupOf(p.memberships[p.Dir.Tasks[0].Pid], "") {
		return
	}
	exists := p.exists(h.Mount + root)
	control := p.Host.CgroupFile(h.Mount + root + "/cgroup.subtree_control")
	for _, prop := range p.cgroupEntry("", root).GetProperties() {
		if prop.GetName() == "cgroup.subtree_control" && !exists {
			control = prop.GetValue()
		}
	}
	for _, controller := range strings.Fields(control) {
		if exists || !slices.Contains(threadControllers, controller) {
			p.Refuse(threadWhere(p.Dir.Tasks[0], 0), "use --manage-cgroups=ignore",
				"its cgroup namespace began at :%s, "+
					"which hands out the controller %s, so that no process can be in it: not supported", root,
				controller)
		}
	}
}

// checkInside refuses tasks outside their namespace: with the mount option nsdelegate they cannot leave it, cgroups(7).
func (p *planner) checkInside(t *images.Task) {
	_, ok := p.Host.Cgroups()[""]
	at, root := p.cgroupOf(p.memberships[t.Pid], ""), strings.TrimSuffix(p.cgroupRoots[""], "/")
	if ok && !t.Dead() && !strings.HasPrefix(at+"/", root+"/") {
		p.Refuse(fmt.Sprintf("task %d", t.Pid), "use --manage-cgroups=ignore",
			"cgroup :%s is outside its cgroup namespace, which began at :%s: not supported", at, root)
	}
}
