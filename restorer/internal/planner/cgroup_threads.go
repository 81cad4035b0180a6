package planner

import (
	"fmt"
	"maps"
	"path"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
)

// Threads of a process may be in different cgroups: of version 1 in any, of version 2 in threaded ones that have one
// domain, Documentation/admin-guide/cgroup-v2.rst, "Threads".

// threaded is the type of a cgroup for threads, cgroup.type.
const threaded = "threaded"

// isThreaded reports whether a cgroup holds threads, cgroups(7).
func isThreaded(entry *pb.CgroupDirEntry) bool {
	for _, prop := range entry.GetProperties() {
		if prop.GetName() == "cgroup.type" {
			return strings.TrimSpace(prop.GetValue()) == threaded
		}
	}
	return false
}

// keepTogether leaves threads in their process's cgroup of version 2, unless that or theirs was threaded: a thread that
// was in CRIU's cgroups has no set in the images, so that its process's path is all that is known.
func (p *planner) keepTogether(t *images.Task) {
	leader := p.memberships[t.Pid]
	for i, th := range t.Threads[1:] {
		m := p.memberships[th.Tid]
		if len(leader) == 0 && len(m) == 0 { // both stay in crpie's
			continue
		}
		_, ok := p.Host.Cgroups()[""]
		from, to := p.cgroupOf(leader, ""), p.cgroupOf(m, "")
		switch {
		case !ok || from == to:
		case isThreaded(p.cgroupEntry("", from)) || isThreaded(p.cgroupEntry("", to)):
			p.needDomain(threadWhere(t, i+1), from, to)
		default:
			p.memberships[th.Tid] = with(m, leader)
		}
	}
}

// with gives a membership that is in version 2 where another one is.
func with(m, leader membership) membership {
	both := membership{}
	maps.Copy(both, m)
	delete(both, "")
	if at, ok := leader[""]; ok {
		both[""] = at
	}
	return both
}

// needDomain sees that all cgroups below the first one that two threads have in common are threaded.
func (p *planner) needDomain(where, from, to string) {
	domain := common(from, to)
	for _, at := range []string{from, to} {
		for ; cleanPath(at) && at != domain; at = path.Dir(at) {
			p.needThreaded(where, at)
		}
	}
}

// common gives the innermost cgroup that two paths are in.
func common(a, b string) string {
	for a != "/" && b != a && !strings.HasPrefix(b, a+"/") {
		a = path.Dir(a)
	}
	return a
}

// needThreaded sees to it that a cgroup takes a single thread: only threaded ones do, cgroups(7). One that exists stays
// as it is; one that is made becomes threaded.
func (p *planner) needThreaded(where, at string) {
	name, entry := p.Host.Cgroups()[""].Mount+at, p.cgroupEntry("", at)
	switch exists := p.exists(name); {
	case exists && p.Host.CgroupFile(name+"/cgroup.type") != threaded, entry != nil && !isThreaded(entry):
		p.Refuse(where, "start crpie where criu dump was, or use --manage-cgroups=ignore",
			"it was in another cgroup of version 2 than its process, but cgroup :%s is not threaded", at)
	case !exists:
		p.threadedDirs[at] = true
	}
}

// threadFile is written to by a thread that joins.
func threadFile(hierarchy string) string {
	if hierarchy == "" {
		return "cgroup.threads"
	}
	return "tasks"
}

// joinCgroups moves a thread from its process's cgroups to those it was in.
func (t *threadPlanner) joinCgroups() {
	from, to, before := t.memberships[t.Img.Pid], t.memberships[uint32(t.thread.Tid)], len(t.prog.Ops)
	t.moveCgroups(t.prog, from, to, threadFile)
	if t.Plan.Here != nil && len(t.prog.Ops) > before { // the host's root is not open any more
		t.Refuse(fmt.Sprintf("task %d thread %d", t.Task.Pid, t.thread.Tid), "",
			"it was in other cgroups than its process, in a mount namespace of its own: not supported")
	}
}
