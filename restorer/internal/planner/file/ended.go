package file

import (
	"fmt"
	"maps"
	"slices"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// A file in /proc/PID of a process that has ended can only be opened while there is one of that number: the zygote
// makes it, opens all of them, and collects it, all in one operation. Reading them gives ESRCH, as before, and
// so is who changes to such a directory: a task that has its working directory there does the same for itself.

// OpenEnded plans the zygote's part.
func (p *Room) OpenEnded() {
	for _, pid := range slices.Sorted(maps.Keys(p.ended)) {
		folder := fmt.Sprintf("/proc/%d", pid)
		who, hint := p.Holder(pid), p.HintTaken()
		if p.FindTask(int32(pid)) != nil {
			who, hint = "a task that is restored", ""
		}
		if who != "" {
			p.Refuse(folder+" (ended)", hint, "its id is taken by %s", who)
			continue
		}
		p.openFolder(pid)
	}
}

// Ended reports whether a process has ended of which there are files in /proc.
func (p *Room) Ended(pid uint32) bool { return p.ended[pid] }

// endedProcess gives the process that has ended in whose folder of /proc a file is, or 0.
func (p *Room) endedProcess(id uint32) uint32 {
	pid, of := job.ProcOf(p.Dir.Files[id].GetReg().GetName())
	if !of || !p.Ended(pid) {
		return 0
	}
	return pid
}

// openFolder opens what the images have of a folder.
func (p *Room) openFolder(pid uint32) {
	var list []abi.File
	var later []func()
	f := p.Task(p.ZygoteTask(nil))
	for _, id := range slices.Sorted(maps.Keys(p.Dir.Files)) {
		if p.endedProcess(id) != pid {
			continue
		}
		reg, number := p.Dir.Files[id].GetReg(), p.Fds.Scratch()
		fd := &pb.FdinfoEntry{Id: &id, Fd: pb.Uint32(uint32(number)), Flags: pb.Uint32(uapi.FdCloexec)}
		flags := uint64(reg.GetFlags())&^(uapi.OCreat|uapi.OExcl|uapi.OTrunc) | uapi.ONoctty
		list = append(list, abi.File{Path: p.Shared.Arena.String(reg.GetName()), Flags: flags,
			FD: uint64(number)})
		later = append(later, func() {
			p.Shared.Try("position", uapi.SysLseek, uint64(number), reg.GetPos(), uapi.SeekSet)
			f.Owner(fd, reg.GetFown())
		})
		p.SharedFDs[id] = number
	}
	what := fmt.Sprintf("%d files of process %d, which has ended", len(later), pid)
	p.Shared.Core(what, abi.OpenExitedProc{Pid: uint64(pid), Nr: uint64(len(list)),
		Files: memory.Records(p.Shared.Arena, list)})
	for _, do := range later {
		do()
	}
}

// enterEnded changes the task's directory. Threads that exist already may have the number, unlike when the zygote
// works.
func (t *Descriptors) enterEnded(pid uint32, path, where string) {
	for _, other := range t.Dir.Tasks {
		for _, th := range other.Threads {
			if th.Tid == pid && th.Tid != other.Pid { // of tasks: openEnded
				t.Refuse(where, "",
					"%s is of a process that has ended, and whose id a thread of task %d has by now: not supported",
					path, other.Pid)
			}
		}
	}
	t.Prog.Core(fmt.Sprintf("working directory %s of process %d, which has ended", path, pid),
		abi.OpenExitedProc{Pid: uint64(pid), Cwd: t.Prog.Arena.String(path)})
}
