package planner

import (
	"fmt"
	"maps"
	"slices"

	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// With --new-pids the tasks keep their numbers in a new pid namespace. Where a /proc shows the restorer's, they would
// find others there, or nothing: they get a mount namespace in which each shows the new one. Mounts go on to come there
// from the restorer's namespace, but not the other way, mount_namespaces(7). Tasks that had a mount namespace of their
// own have their /proc in it, which is mounted anew as always.

// mountProc mounts proc over each that shows the restorer's pid namespace.
func (p *planner) mountProc(z *plan.Program) {
	if !p.Own.First || p.Own.Mounts != nil {
		return
	}
	mounts := p.Host.ProcMounts()
	if len(mounts) == 0 {
		return
	}
	if !p.Host.RootIsMount() { // EINVAL of mount(2)
		p.Refuse("this host", "make it one before chroot(8): mount --bind DIR DIR",
			"crpie's root is no mount point: with --new-pids no /proc could be mounted for the tasks")
	}
	none := z.Arena.String("none")
	z.Sys("mount namespace", uapi.SysUnshare, uapi.CloneNewns)
	z.Sys("mounts go nowhere from here", uapi.SysMount, none, z.Arena.String("/"), 0, uapi.MsRec|uapi.MsSlave, 0)
	proc := z.Arena.String("proc")
	for _, m := range mounts {
		options := uint64(0)
		if m.Options != "" {
			options = z.Arena.String(m.Options)
		}
		z.Sys(fmt.Sprintf("%s shows the new pid namespace", m.Path), uapi.SysMount, proc, z.Arena.String(m.Path), proc,
			m.Flags, options)
	}
}

// checkForeignProc refuses files in /proc of processes that were not dumped: the new pid namespace does not have them.
// Those that have ended are made for their files.
func (p *planner) checkForeignProc() {
	if !p.Own.First {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(p.Dir.Files)) {
		name := p.Dir.Files[id].GetReg().GetName()
		if pid, of := job.ProcOf(name); of && !p.files.Ended(pid) && !p.numbered(pid) {
			p.Refuse("file "+name, "restore it without --new-pids",
				"process %d was not dumped, and is not in the new pid namespace", pid)
		}
	}
}
