package planner

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/cgroups/moved"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// membership gives the path of a task's cgroup in each hierarchy.
type membership map[string]string

func (p *planner) cgroupMode() job.CgroupMode {
	if p.Opts.Cgroups == "" {
		return job.CgroupsSoft
	}
	return p.Opts.Cgroups
}

// Cgroups lists what a restore will make and set of cgroups. What is refused Build says.
func Cgroups(dir *images.Dir, host *host.Host, opts *job.Options) []plan.CgroupDir {
	p := &planner{Job: job.New(dir, host, opts)}
	p.planCgroups()
	return p.cgroups
}

// planCgroups finds where the tasks have to be, and what has to be made for that.
func (p *planner) planCgroups() {
	p.memberships, p.threadedDirs = map[uint32]membership{}, map[string]bool{}
	if p.cgroupMode() == job.CgroupsIgnore {
		return
	}
	sets := p.cgroupSets()
	for _, t := range p.Dir.Tasks {
		if t.Dead() {
			continue
		}
		for i, th := range t.Threads {
			p.memberships[th.Tid] = p.membership(threadWhere(t, i), sets, moved.SetOf(t, i))
		}
		p.keepTogether(t)
	}
	p.needCgroups()
	p.planCgroupNamespace()
}

func threadWhere(t *images.Task, thread int) string {
	where := fmt.Sprintf("task %d", t.Pid)
	if thread > 0 {
		where += fmt.Sprintf(" thread %d", t.Threads[thread].Tid)
	}
	return where
}

// cgroupSets gives the sets of cgroups that the images have, with the paths that they have here.
func (p *planner) cgroupSets() map[uint32]membership {
	sets := map[uint32]membership{}
	for _, s := range p.Dir.Cgroup.GetSets() {
		m := membership{}
		for _, c := range s.GetCtls() {
			m[c.GetName()] = p.roots().Moved(c.GetName(), c.GetPath())
		}
		sets[s.GetId()] = m
	}
	return sets
}

// membership finds the set of a thread; nil: it stays in crpie's cgroups.
func (p *planner) membership(where string, sets map[uint32]membership, id uint32) membership {
	if id == 0 || id == p.Dir.Inventory.GetRootCgSet() {
		return nil
	}
	m, ok := sets[id]
	if !ok {
		p.Refuse(where, "use --manage-cgroups=ignore to leave it in crpie's own",
			"it was in a cgroup of its own, but cgroup.img has no set %d", id)
	}
	return m
}

// needCgroups sees to every cgroup in which a thread was and crpie is not.
func (p *planner) needCgroups() {
	seen := map[string]bool{}
	for _, t := range p.Dir.Tasks {
		for i, th := range t.Threads {
			p.needMembership(threadWhere(t, i), p.memberships[th.Tid], seen)
		}
	}
}

// needMembership plans the cgroups that a task was in, one for each hierarchy; seen has those that other tasks needed.
// crpie's own cgroups need nothing: the tasks are born in them.
func (p *planner) needMembership(where string, m membership, seen map[string]bool) {
	for _, hierarchy := range sortedKeys(m) {
		at := m[hierarchy]
		name := hierarchy + ":" + at
		own, ok := p.Host.Cgroups()[hierarchy]
		switch {
		case seen[name] || ok && own.Own == at:
		case !ok || own.Mount == "":
			p.Refuse(where, "mount it, or use --manage-cgroups=ignore",
				"it was in cgroup %s, but that hierarchy is not mounted here", name)
		case !cleanPath(at):
			p.Refuse(where, "", "%q is not the path of a cgroup", at)
		default:
			p.needCgroup(where, hierarchy, at, own.Mount)
		}
		seen[name] = true
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

// needCgroup plans one cgroup as --manage-cgroups says: it may have to exist, or must not, and gets its properties only
// from an entry of the images.
func (p *planner) needCgroup(where, hierarchy, at, mount string) {
	mode, exists := p.cgroupMode(), p.exists(mount+at)
	switch {
	case exists && mode == job.CgroupsStrict:
		p.Refuse(where, "remove it, or use another mode of --manage-cgroups", "cgroup %s:%s exists already",
			hierarchy,
			at)
	case !exists && (mode == job.CgroupsNone || mode == job.CgroupsProps):
		p.Refuse(where, "make it, or use --manage-cgroups=soft", "cgroup %s:%s does not exist", hierarchy, at)
	}
	for i := 1; i < len(at) && !exists; i++ { // what lies above it
		if at[i] == '/' && !p.exists(mount+at[:i]) {
			p.addCgroup(p.bareCgroup(hierarchy, at[:i], mount))
		}
	}
	entry := p.cgroupEntry(hierarchy, at)
	if entry == nil || at == "/" { // the root's properties are the machine's
		if !exists {
			p.addCgroup(p.bareCgroup(hierarchy, at, mount))
		}
		return
	}
	p.cgroupTree(where, hierarchy, at, mount, entry)
}

// bareCgroup is a cgroup to make of which the images say nothing. One of cpuset in version 1 is of no use without its
// parent's CPUs and memory, cpuset(7).
func (p *planner) bareCgroup(hierarchy, at, mount string) plan.CgroupDir {
	d := plan.CgroupDir{Name: hierarchy + ":" + at, Path: mount + at, Make: true}
	if hierarchy == "" && p.threadedDirs[at] {
		d.Properties = []plan.CgroupProperty{{Name: "cgroup.type", Value: threaded}}
	}
	if !slices.Contains(strings.Split(hierarchy, ","), "cpuset") {
		return d
	}
	above := path.Dir(at)
	for above != "/" && !p.exists(mount+above) {
		above = path.Dir(above)
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		d.Properties = append(d.Properties, plan.CgroupProperty{Name: file,
			Value: p.Host.CgroupFile(mount + path.Join(above, file))})
	}
	return d
}

// exists reports whether there is a cgroup. One that a restore has not finished is made by this one as well.
func (p *planner) exists(name string) bool {
	return p.Host.CgroupExists(name) && !p.Host.Unfinished(name)
}

// addCgroup plans a directory once; with properties wins over without.
func (p *planner) addCgroup(d plan.CgroupDir) {
	i := slices.IndexFunc(p.cgroups, func(other plan.CgroupDir) bool { return other.Path == d.Path })
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
	d := plan.CgroupDir{Name: hierarchy + ":" + at, Path: mount + at, Make: !p.exists(mount + at),
		Owner: entry.GetDirPerms()}
	if !d.Make && isThreaded(entry) && p.Host.CgroupFile(d.Path+"/cgroup.type") != threaded {
		p.Refuse(where, "remove it, or use --manage-cgroups=ignore",
			"cgroup %s was threaded; the one that exists is not", d.Name)
	}
	if d.Make || mode == job.CgroupsProps || mode == job.CgroupsFull {
		d.Properties = p.properties(where, d.Name, entry)
	}
	switch mode {
	case job.CgroupsStrict:
		d.IfFound = plan.CgroupRefused
	case job.CgroupsFull:
		d.IfFound = plan.CgroupSet
	}
	if d.Make || len(d.Properties) > 0 {
		p.addCgroup(d)
	}
	for _, child := range entry.GetChildren() {
		if name := child.GetDirName(); !d.Make && mode != job.CgroupsFull {
			return
		} else if strings.ContainsAny(name, "/\x00") || !cleanPath("/"+name) || name == "" {
			p.Refuse(where, "", "%q is not the name of a cgroup", name)
		} else {
			p.cgroupTree(where, hierarchy, path.Join(at, name), mount, child)
		}
	}
}

// properties are those that can be written, cgroups(7) and Documentation/admin-guide/cgroup-v2.rst.
func (p *planner) properties(where, name string, entry *pb.CgroupDirEntry) (list []plan.CgroupProperty) {
	for _, prop := range entry.GetProperties() {
		file, value := prop.GetName(), strings.TrimRight(prop.GetValue(), "\n")
		switch {
		case strings.ContainsAny(file, "/\x00") || file == "." || file == ".." || file == "":
			p.Refuse(where, "", "%q is not a property of a cgroup", file)
		case file == "cgroup.type" && value == threaded:
			// first: controllers may be enabled only then, and the cgroup is empty now
			list = slices.Insert(list, 0, plan.CgroupProperty{Name: file, Value: value,
				Owner: prop.GetPerms()})
		case file == "freezer.state" && value != "THAWED", file == "cgroup.freeze" && value == "1":
			p.Refuse(where, "use --manage-cgroups=ignore to leave it in crpie's own",
				"cgroup %s was frozen: not supported", name)
		case file == "cgroup.subtree_control" && value == "":
			list = append(list, append(delegated(prop.GetPerms()),
				plan.CgroupProperty{Name: file, Value: "",
					Owner: prop.GetPerms()})...)
		case value == "" || file == "cgroup.type" || file == "cgroup.procs" || file == "tasks":
			if prop.GetPerms() != nil { // delegation, cgroups(7)
				list = append(list, plan.CgroupProperty{Name: file, Value: "", Owner: prop.GetPerms()})
			}
		case file == "cgroup.subtree_control":
			list = append(list, delegated(prop.GetPerms())...)
			list = append(list, plan.CgroupProperty{Name: file,
				Value: "+" + strings.Join(strings.Fields(value), " +"),
				Owner: prop.GetPerms()})
		case file == "devices.list":
			list = append(list, plan.CgroupProperty{Name: "devices.deny", Value: "a", Owner: nil})
			for _, line := range strings.Split(value, "\n") {
				list = append(list, plan.CgroupProperty{Name: "devices.allow", Value: line, Owner: nil})
			}
		default:
			list = append(list, plan.CgroupProperty{Name: file, Value: value, Owner: prop.GetPerms()})
		}
	}
	return list
}

// delegated gives the files of version 2 that CRIU does not dump to the owner of cgroup.subtree_control: delegation
// is of all three, cgroups(7).
func delegated(to *pb.CgroupPerms) []plan.CgroupProperty {
	if to == nil {
		return nil
	}
	return []plan.CgroupProperty{{Name: "cgroup.procs", Value: "", Owner: to}, {Name: "cgroup.threads", Value: "",
		Owner: to}}
}

// cgroupEntry finds what the images say of a cgroup.
func (p *planner) cgroupEntry(hierarchy, at string) *pb.CgroupDirEntry {
	for _, c := range p.Dir.Cgroup.GetControllers() {
		if strings.Join(c.GetCnames(), ",") != hierarchy {
			continue
		}
		for _, dir := range c.GetDirs() {
			if found := below(dir, p.roots().Moved(hierarchy, "/"+dir.GetDirName()), at); found != nil {
				return found
			}
		}
	}
	return nil
}

// below finds the directory with the path at in a tree whose root has the path here.
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
	var from membership
	if creator := t.Job.Origin(t.Img); creator != nil {
		from = t.memberships[creator.Pid]
	}
	to := t.memberships[t.Img.Pid]
	switch {
	case t.Img.Parent != nil || !t.roots().OwnNamespace():
	case t.cgroupsAreMounted(): // the zygote has entered it
		from = t.cgroupRoots
	default:
		t.enterCgroupNamespace(t.Prog, from)
		from = t.cgroupRoots
	}
	t.moveCgroups(t.Prog, from, to, processFile)
}

// moveCgroups lets a program move who runs it, cgroups(7).
func (p *planner) moveCgroups(prog *plan.Program, from, to membership, file func(hierarchy string) string) {
	if len(from) == 0 && len(to) == 0 {
		return
	}
	for _, hierarchy := range host.SortedNames(p.Host.Cgroups()) {
		h := p.Host.Cgroups()[hierarchy]
		at := p.cgroupOf(to, hierarchy)
		if p.cgroupOf(from, hierarchy) == at || h.Mount == "" {
			continue
		}
		fd, what := p.Fds.Scratch(), "cgroup "+hierarchy+":"+at
		dir, name := uint64(uapi.AtFdcwd), h.Mount+path.Join(at, file(hierarchy))
		if p.Plan.Here != nil { // in the tasks' mount namespace
			dir, name = uint64(p.hostRoot), strings.TrimPrefix(name, "/")
		}
		prog.Open(fd, true, what, uapi.SysOpenat, dir, prog.Arena.String(name), uapi.OWronly)
		prog.Want(1, what, uapi.SysWrite, uint64(fd), prog.Arena.String("0"), 1) // the writer
		prog.Sys("", uapi.SysClose, uint64(fd))
	}
}

// cgroupOf gives the path of a member's cgroup: crpie's own where nothing else is said.
func (p *planner) cgroupOf(m membership, hierarchy string) string {
	if at, ok := m[hierarchy]; ok {
		return at
	}
	return p.Host.Cgroups()[hierarchy].Own
}

// processFile is written to by a process that joins.
func processFile(string) string { return "cgroup.procs" }
