package planner

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/planner/job"
	"github.com/crpie/crpie/restorer/internal/planner/tty"
)

// Namespaces that only criu restores make a container of the tasks in them. It is refused once, not for each of its
// tasks and each image of its mounts and interfaces.

// containerHint is the way out.
const containerHint = "containers are restored by criu, runc or podman; let these start crpie as criu (docs/containers.md), " +
	"or put the plugins into the images with crpie graft first"

// namespaceImages are the beginnings of images that say what was in namespaces, CRIU's image-desc.c.
var namespaceImages = []string{
	"mountpoints-", "tmpfs-", "autofs-", "binfmt-misc-", "utsns-", "ipcns-", "userns-", "pidns-", "netns-",
	"netdev-",
	"ifaddr-",
	"route-", "route6-", "rule-", "iptables-", "ip6tables-", "nftables-", "netns-ct-", "netns-exp-",
}

// checkContainers refuses tasks with namespaces of their own, and images that are not known.
func (p *planner) checkContainers() {
	tasks := map[string][]*images.Task{} // by the namespaces
	var order []string
	for _, t := range p.Dir.Tasks {
		own := strings.Join(p.ownNamespaces(t), ", ")
		if own == "" {
			continue
		}
		if tasks[own] == nil {
			order = append(order, own)
		}
		tasks[own] = append(tasks[own], t)
	}
	p.checkSocketNamespaces()
	theirs := p.checkOtherImages(len(order) > 0)
	for i, own := range order {
		if i > 0 {
			theirs = nil
		}
		p.refuseContainer(tasks[own], own, theirs)
		p.withoutThem(own)
	}
}

// withoutThem has the host not answer for namespaces that are refused: what it has is not what the tasks had.
func (p *planner) withoutThem(own string) {
	blind := *p.Host
	if strings.Contains(own, "mount") {
		blind.WithoutFiles()
	}
	if strings.Contains(own, "network") {
		blind.WithoutNetwork()
	}
	if strings.Contains(own, "pid") {
		blind.Holder = func(int) string { return "" }
	}
	p.Host = &blind
}

// checkOtherImages refuses images that are not known, and gives those of a container's namespaces.
func (p *planner) checkOtherImages(container bool) (theirs []string) {
	for _, name := range p.Dir.Other {
		if p.Own.Net != nil && slices.Contains(p.Own.Net.Images(), name) {
			continue
		}
		of := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		if container && slices.ContainsFunc(namespaceImages, of) {
			theirs = append(theirs, name)
			continue
		}
		p.Refuse(name, "", "this kind of image is not supported")
	}
	return theirs
}

// refuseContainer refuses all tasks with the same namespaces at once: a container would have a line for each.
func (p *planner) refuseContainer(tasks []*images.Task, own string, theirs []string) {
	where := fmt.Sprintf("task %d", tasks[0].Pid)
	if more := len(tasks) - 1; more > 0 {
		where += fmt.Sprintf(" (and %d more)", more)
	}
	what := fmt.Sprintf("it had a %s namespace of its own: not supported", own)
	switch {
	case strings.Contains(own, ","):
		what = fmt.Sprintf("it had namespaces of its own (%s): not supported", own)
	case own == "IPC":
		what = "it had an IPC namespace of its own: not supported"
	}
	if len(theirs) > 0 {
		what += "; their contents are in " + strings.Join(theirs[:min(len(theirs), 3)], ", ")
	}
	if more := len(theirs) - 3; more > 0 {
		what += fmt.Sprintf(" and %d more", more)
	}
	p.Refuse(where, containerHint, "%s", what)
}

// utsNamespaceID is the UTS namespace in which every task has to have been: the root task's if it is in the images,
// otherwise the one that CRIU was in.
func (p *planner) utsNamespaceID() uint32 {
	if p.Own.UTS != nil || p.Own.Joins(uapi.CloneNewuts) {
		return p.Dir.Tasks[0].Ids.GetUtsNsId()
	}
	return p.Dir.Inventory.GetRootIds().GetUtsNsId()
}

// pidNamespaceID is the pid namespace in which every task has to have been.
func (p *planner) pidNamespaceID() uint32 {
	if p.Own.PID {
		return p.Dir.Tasks[0].Ids.GetPidNsId()
	}
	return p.Dir.Inventory.GetRootIds().GetPidNsId()
}

// mountNamespaceID is the mount namespace in which every task has to have been.
func (p *planner) mountNamespaceID() uint32 {
	if p.Own.Mounts != nil {
		return p.Dir.Tasks[0].Ids.GetMntNsId()
	}
	return p.Dir.Inventory.GetRootIds().GetMntNsId()
}

// Orphans lists the terminals that tasks have open and whose master none has.
func Orphans(dir *images.Dir) []string { return tty.Orphans(dir) }

// checkMounts refuses what a mount tree has that others would have to know about: files that a mount covers, so that a
// path leads elsewhere.
func (p *planner) checkMounts() {
	if p.Own.Mounts == nil {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(p.Dir.Files)) {
		if reg := p.Dir.Files[id].GetReg(); reg != nil && p.Own.Mounts.Covered(reg.GetName(), reg.GetMntId()) {
			p.Refuse("file "+reg.GetName(), "", "it is on mount %d, which another mount covers there: not supported",
				reg.GetMntId())
		}
	}
}

// checkProcFiles refuses files of processes in a /proc that was the restorer's own: the tasks have other numbers there
// now than they had.
func (p *planner) checkProcFiles() {
	if !p.Own.PID || p.Own.First || p.Own.Mounts != nil {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(p.Dir.Files)) {
		name := p.Dir.Files[id].GetReg().GetName()
		if _, of := job.ProcOf(name); of {
			p.Refuse("file "+name, "",
				"the tasks had a pid namespace of their own, but not this /proc, in which they get other numbers: not supported")
		}
	}
}

// netNamespaceID is the network namespace in which every task has to have been.
func (p *planner) netNamespaceID() uint32 {
	if p.Own.Net != nil {
		return p.Dir.Tasks[0].Ids.GetNetNsId()
	}
	return p.Dir.Inventory.GetRootIds().GetNetNsId()
}

// checkSocketNamespaces refuses sockets of another network namespace than the tasks', which a task can keep when it leaves
// one. CRIU before 3.7 did not say.
func (p *planner) checkSocketNamespaces() {
	for _, id := range slices.Sorted(maps.Keys(p.Dir.Files)) {
		f := p.Dir.Files[id]
		for _, its := range []uint32{f.GetIsk().GetNsId(), f.GetUsk().GetNsId(), f.GetPsk().GetNsId(),
			f.GetNlsk().GetNsId()} {
			if its != 0 && its != p.netNamespaceID() {
				p.Refuse("files.img", "", "socket %#x was in network namespace %d of the images, the tasks were in %d: not supported",
					id, its, p.netNamespaceID())
			}
		}
	}
}

// ownNamespaces names the namespaces of a task that the tree was not dumped from.
func (p *planner) ownNamespaces(task *images.Task) (own []string) {
	ids, of, first := task.Ids, p.Dir.Inventory.GetRootIds(), p.Dir.Tasks[0].Ids
	if ids == nil || of == nil {
		return nil
	}
	for _, ns := range []struct {
		name      string
		its, host uint32
	}{
		{"pid", ids.GetPidNsId(), p.pidNamespaceID()}, {"network", ids.GetNetNsId(), p.netNamespaceID()},
		{"IPC", ids.GetIpcNsId(), p.mem.IpcNamespaceID()}, {"UTS", ids.GetUtsNsId(), p.utsNamespaceID()},
		{"mount", ids.GetMntNsId(), p.mountNamespaceID()}, {"user", ids.GetUserNsId(), of.GetUserNsId()},
		{"cgroup", ids.GetCgroupNsId(), first.GetCgroupNsId()},
		{"time", ids.GetTimeNsId(), first.GetTimeNsId()},
	} {
		if ns.its != ns.host {
			own = append(own, ns.name)
		}
	}
	return own
}
