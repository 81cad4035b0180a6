package restorer

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
)

// CgroupMode says what becomes of the cgroups that the tasks were in, as criu(8) --manage-cgroups does.
type CgroupMode string

// The modes; empty is soft.
const (
	CgroupsIgnore CgroupMode = "ignore" // the tasks stay in those of the restorer
	CgroupsNone   CgroupMode = "none"   // they exist
	CgroupsProps  CgroupMode = "props"  // they exist, and get their properties
	CgroupsSoft   CgroupMode = "soft"   // those that do not exist are made, and get their properties
	CgroupsFull   CgroupMode = "full"   // as soft, and all get their properties
	CgroupsStrict CgroupMode = "strict" // none exists
)

// CgroupModes lists the modes.
func CgroupModes() []CgroupMode {
	return []CgroupMode{CgroupsIgnore, CgroupsNone, CgroupsProps, CgroupsSoft, CgroupsFull, CgroupsStrict}
}

// Hierarchy is one of this host's cgroup hierarchies, cgroups(7).
type Hierarchy struct {
	Mount string // where it is mounted; empty: nowhere
	Own   string // the path of this process's cgroup
}

// CgroupDir is a cgroup that the controller sees to before a task exists.
type CgroupDir struct {
	Name       string // as in /proc/PID/cgroup: "pids:/a/b"
	Path       string
	Make       bool
	Owner      *pb.CgroupPerms // of one that is made; may be nil
	Properties []CgroupProperty
}

// CgroupProperty is a file of a cgroup and what is to be in it.
type CgroupProperty struct {
	Name, Value string          // without a value: whose it is is all there is to say
	Owner       *pb.CgroupPerms // may be nil
}

// membership gives the path of a task's cgroup in each hierarchy.
type membership map[string]string

func (p *planner) cgroupMode() CgroupMode {
	if p.opts.Cgroups == "" {
		return CgroupsSoft
	}
	return p.opts.Cgroups
}

// planCgroups finds where the tasks have to be, and what has to be made for that.
func (p *planner) planCgroups() {
	p.memberships = map[uint32]membership{}
	if p.cgroupMode() == CgroupsIgnore {
		return
	}
	sets := map[uint32]membership{}
	for _, s := range p.dir.Cgroup.GetSets() {
		m := membership{}
		for _, c := range s.GetCtls() {
			m[c.GetName()] = p.moved(c.GetName(), c.GetPath())
		}
		sets[s.GetId()] = m
	}
	for _, t := range p.dir.Tasks {
		id := cgroupSet(t, 0)
		if t.Dead() || id == 0 || id == p.dir.Inventory.GetRootCgSet() {
			continue
		}
		m, ok := sets[id]
		if !ok {
			p.refuse(fmt.Sprintf("task %d", t.Pid), "use --manage-cgroups=ignore to leave it in crpie's own",
				"it was in a cgroup of its own, but cgroup.img has no set %d", id)
			continue
		}
		p.memberships[t.Pid] = m
		p.checkThreadCgroups(t)
	}
	p.needCgroups()
}

func cgroupSet(t *images.Task, thread int) uint32 {
	if set := t.Threads[thread].Core.GetThreadCore().GetCgSet(); set != 0 {
		return set
	}
	return t.Core.GetTc().GetCgSet()
}

// checkThreadCgroups: threads apart from their process are in threaded cgroups, or in version 1.
func (p *planner) checkThreadCgroups(t *images.Task) {
	for i := range t.Threads {
		if cgroupSet(t, i) != cgroupSet(t, 0) {
			p.refuse(fmt.Sprintf("task %d thread %d", t.Pid, t.Threads[i].Tid), "use --manage-cgroups=ignore to leave it in crpie's own",
				"it was in other cgroups than its process: not supported")
		}
	}
}

// needCgroups sees to every cgroup in which a task was and crpie is not.
func (p *planner) needCgroups() {
	seen := map[string]bool{}
	for _, t := range p.dir.Tasks {
		m := p.memberships[t.Pid]
		for _, hierarchy := range sortedKeys(m) {
			at := m[hierarchy]
			name := hierarchy + ":" + at
			own, ok := p.host.Cgroups[hierarchy]
			switch where := fmt.Sprintf("task %d", t.Pid); {
			case seen[name] || ok && own.Own == at:
			case !ok || own.Mount == "":
				p.refuse(where, "mount it, or use --manage-cgroups=ignore", "it was in cgroup %s, but that hierarchy is not mounted here", name)
			case !cleanPath(at):
				p.refuse(where, "", "%q is no path of a cgroup", at)
			default:
				p.needCgroup(where, hierarchy, at, own.Mount)
			}
			seen[name] = true
		}
	}
}

func sortedKeys(m membership) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func cleanPath(p string) bool {
	return strings.HasPrefix(p, "/") && path.Clean(p) == p && !strings.ContainsRune(p, 0)
}

func (p *planner) needCgroup(where, hierarchy, at, mount string) {
	mode, exists := p.cgroupMode(), p.exists(mount+at)
	switch {
	case exists && mode == CgroupsStrict:
		p.refuse(where, "remove it, or use another mode of --manage-cgroups", "cgroup %s:%s exists already", hierarchy, at)
	case !exists && (mode == CgroupsNone || mode == CgroupsProps):
		p.refuse(where, "make it, or use --manage-cgroups=soft", "cgroup %s:%s does not exist", hierarchy, at)
	}
	for i := 1; i < len(at) && !exists; i++ { // what lies above it
		if at[i] == '/' && !p.exists(mount+at[:i]) {
			p.addCgroup(CgroupDir{Name: hierarchy + ":" + at[:i], Path: mount + at[:i], Make: true})
		}
	}
	entry := p.cgroupEntry(hierarchy, at)
	if entry == nil || at == "/" { // the root's properties are the machine's
		if !exists {
			p.addCgroup(CgroupDir{Name: hierarchy + ":" + at, Path: mount + at, Make: true})
		}
		return
	}
	p.cgroupTree(where, hierarchy, at, mount, entry)
}

// exists reports whether there is a cgroup. One that a restore which was killed has left empty is made again.
func (p *planner) exists(name string) bool {
	_, err := p.host.Stat(name)
	return err == nil && !p.host.LeftUnfinished(name)
}

func (p *planner) addCgroup(d CgroupDir) {
	i := slices.IndexFunc(p.cgroups, func(other CgroupDir) bool { return other.Path == d.Path })
	switch {
	case i < 0:
		p.cgroups = append(p.cgroups, d)
	case len(p.cgroups[i].Properties) == 0: // it was only above another
		p.cgroups[i] = d
	}
}

// cgroupTree sees to a cgroup and those below it.
func (p *planner) cgroupTree(where, hierarchy, at, mount string, entry *pb.CgroupDirEntry) {
	mode := p.cgroupMode()
	d := CgroupDir{Name: hierarchy + ":" + at, Path: mount + at, Make: !p.exists(mount + at), Owner: entry.GetDirPerms()}
	if d.Make || mode == CgroupsProps || mode == CgroupsFull {
		d.Properties = p.properties(where, d.Name, entry)
	}
	if d.Make || len(d.Properties) > 0 {
		p.addCgroup(d)
	}
	for _, child := range entry.GetChildren() {
		if name := child.GetDirName(); !d.Make && mode != CgroupsFull {
			return
		} else if strings.ContainsAny(name, "/\x00") || !cleanPath("/"+name) || name == "" {
			p.refuse(where, "", "%q is no name of a cgroup", name)
		} else {
			p.cgroupTree(where, hierarchy, path.Join(at, name), mount, child)
		}
	}
}

// properties are those that can be written, cgroups(7) and Documentation/admin-guide/cgroup-v2.rst.
func (p *planner) properties(where, name string, entry *pb.CgroupDirEntry) (list []CgroupProperty) {
	for _, prop := range entry.GetProperties() {
		file, value := prop.GetName(), strings.TrimRight(prop.GetValue(), "\n")
		switch {
		case strings.ContainsAny(file, "/\x00") || file == "." || file == ".." || file == "":
			p.refuse(where, "", "%q is no property of a cgroup", file)
		case file == "cgroup.type" && strings.Contains(value, "threaded"):
			p.refuse(where, "use --manage-cgroups=ignore to leave it in crpie's own", "cgroup %s is %s: not supported", name, value)
		case file == "freezer.state" && value != "THAWED", file == "cgroup.freeze" && value == "1":
			p.refuse(where, "use --manage-cgroups=ignore to leave it in crpie's own", "cgroup %s was frozen: not supported", name)
		case file == "cgroup.subtree_control" && value == "":
			list = append(list, append(delegated(prop.GetPerms()), CgroupProperty{file, "", prop.GetPerms()})...)
		case value == "" || file == "cgroup.type" || file == "cgroup.procs" || file == "tasks":
			if prop.GetPerms() != nil { // delegation, cgroups(7)
				list = append(list, CgroupProperty{file, "", prop.GetPerms()})
			}
		case file == "cgroup.subtree_control":
			list = append(list, delegated(prop.GetPerms())...)
			list = append(list, CgroupProperty{file, "+" + strings.Join(strings.Fields(value), " +"), prop.GetPerms()})
		case file == "devices.list":
			list = append(list, CgroupProperty{"devices.deny", "a", nil})
			for _, line := range strings.Split(value, "\n") {
				list = append(list, CgroupProperty{"devices.allow", line, nil})
			}
		default:
			list = append(list, CgroupProperty{file, value, prop.GetPerms()})
		}
	}
	return list
}

// delegated gives the files of version 2 that CRIU does not dump to whom cgroup.subtree_control is: delegation is of all three,
// cgroups(7).
func delegated(to *pb.CgroupPerms) []CgroupProperty {
	if to == nil {
		return nil
	}
	return []CgroupProperty{{"cgroup.procs", "", to}, {"cgroup.threads", "", to}}
}

// cgroupEntry finds what the images say of a cgroup.
func (p *planner) cgroupEntry(hierarchy, at string) *pb.CgroupDirEntry {
	for _, c := range p.dir.Cgroup.GetControllers() {
		if strings.Join(c.GetCnames(), ",") != hierarchy {
			continue
		}
		for _, dir := range c.GetDirs() {
			if found := below(dir, p.moved(hierarchy, "/"+dir.GetDirName()), at); found != nil {
				return found
			}
		}
	}
	return nil
}

func below(dir *pb.CgroupDirEntry, here, at string) *pb.CgroupDirEntry {
	if here == at {
		return dir
	}
	for _, child := range dir.GetChildren() {
		if found := below(child, path.Join(here, child.GetDirName()), at); found != nil {
			return found
		}
	}
	return nil
}

// joinCgroups moves the task from the cgroups in which it was created to those it was in.
func (t *taskPlanner) joinCgroups() {
	if t.cgroupMode() == CgroupsIgnore {
		return
	}
	var before membership
	if creator := t.job.origin(t.img); creator != nil {
		before = t.memberships[creator.Pid]
	}
	for _, hierarchy := range sortedNames(t.host.Cgroups) {
		own := t.host.Cgroups[hierarchy]
		from, to := own.Own, own.Own
		if at, ok := before[hierarchy]; ok {
			from = at
		}
		if at, ok := t.memberships[t.img.Pid][hierarchy]; ok {
			to = at
		}
		if from == to || own.Mount == "" {
			continue
		}
		fd, what := t.fds.scratch(), "cgroup "+hierarchy+":"+to
		t.prog.open(fd, true, what, sysOpenat, atFdcwd, t.prog.arena.string(own.Mount+path.Join(to, "cgroup.procs")), oWronly)
		t.prog.want(1, what, sysWrite, uint64(fd), t.prog.arena.string("0"), 1) // the writer
		t.prog.sys("", sysClose, uint64(fd))
	}
}

func sortedNames(m map[string]Hierarchy) []string {
	var names []string
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}
