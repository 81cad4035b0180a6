package planner

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
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
func (p *planner) checkForeignProc() {
	if !p.Own.First {
		return
	}
	made := map[uint32]bool{} // processes that have ended, which are made for their files
	for _, r := range p.Dir.Remaps {
		if r.GetRemapType() == pb.RemapType_PROCFS {
			made[r.GetRemapId()] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.Dir.Files)) {
		name := p.Dir.Files[id].GetReg().GetName()
		if pid, of := procOf(name); of && !made[pid] && !p.numbered(pid) {
			p.Refuse("file "+name, "restore it without --new-pids",
				"process %d was not dumped, and is not in the new pid namespace", pid)
		}
	}
}

// procOf reads the number of the process that a file in /proc is of.
func procOf(name string) (pid uint32, of bool) {
	rest, inProc := strings.CutPrefix(name, "/proc/")
	number, _, _ := strings.Cut(rest, "/")
	n, err := strconv.ParseUint(number, 10, 32)
	return uint32(n), inProc && err == nil
}
