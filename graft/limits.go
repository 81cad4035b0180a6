package graft

import (
	"fmt"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/uapi"
)

// mostReserved is how much address space a mapping may reserve if images are to be incremental, bytes.
const mostReserved = 1 << 30

// reserved tells how long a mapping is that CRIU makes writable for a moment if the images refer to others, and that
// was not when the program made it: Linux then needs memory for all of it (vm.overcommit_memory, proc_sys_vm(5)).
func reserved(t *images.Task) (longest uint64) {
	for _, v := range t.Mm.GetVmas() {
		if v.GetFlags()&uapi.MapPrivate != 0 && v.GetFlags()&(uapi.MapNoreserve|uapi.MapHugetlb) == 0 &&
			v.GetProt()&uapi.ProtWrite == 0 {
			longest = max(longest, v.GetEnd()-v.GetStart())
		}
	}
	return longest
}

// standAloneIfNeeded gives up incremental images for a program that CRIU could not restore from them.
func (g *grafter) standAloneIfNeeded() {
	for _, t := range g.dir.Tasks {
		if n := reserved(t); g.plan.Parent && n > mostReserved {
			g.plan.Parent = false
			g.plan.Notes = append(g.plan.Notes,
				fmt.Sprintf("written as with --copy: task %d reserves %d GiB of address space in one mapping, "+
					"for which CRIU needs as much memory if images refer to others", t.Pid, n>>30))
		}
	}
}

// checkWatchdogs refuses a task whose limit of processes leaves no room for the watchdogs of its user's tasks. Other
// processes of the user are not known here.
func (g *grafter) checkWatchdogs(tasks []*images.Task) {
	if g.opts.HookTimeout == 0 {
		return
	}
	needed := map[uint32]uint64{} // by real user id: threads, and a watchdog for each task
	for _, t := range g.dir.Tasks {
		needed[owner(t)] += uint64(len(t.Threads))
	}
	for _, t := range tasks {
		needed[owner(t)]++
	}
	for _, t := range tasks {
		limits := t.Core.GetTc().GetRlimits().GetRlimits()
		if len(limits) <= uapi.RlimitNproc || unlimited(t) ||
			limits[uapi.RlimitNproc].GetCur() >= needed[owner(t)] {
			continue
		}
		g.refuse(fmt.Sprintf("task %d", t.Pid), "--pie-timeout=0 needs no watchdog",
			"RLIMIT_NPROC is %d, but user %d needs %d for the threads in the images and the watchdogs",
			limits[uapi.RlimitNproc].GetCur(),
			owner(t), needed[owner(t)])
	}
}

func owner(t *images.Task) uint32 {
	if len(t.Threads) == 0 {
		return 0
	}
	return t.Threads[0].Core.GetThreadCore().GetCreds().GetUid()
}

// unlimited reports whether the kernel takes no notice of RLIMIT_NPROC: for root, and with CAP_SYS_RESOURCE or
// CAP_SYS_ADMIN, clone(2).
func unlimited(t *images.Task) bool {
	caps := t.Threads[0].Core.GetThreadCore().GetCreds().GetCapEff()
	return owner(t) == 0 || len(caps) > 0 && caps[0]&(1<<uapi.CapSysAdmin|1<<uapi.CapSysResource) != 0
}
