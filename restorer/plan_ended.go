package restorer

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
)

// A file in /proc/PID of a process that has ended can only be opened while there is one of that number: the zygote makes it,
// opens all of them, and collects it, all in one operation. Whoever reads them is told ESRCH, as before.

// openEnded plans the zygote's part.
func (p *fileRoom) openEnded() {
	done := map[uint32]bool{}
	for _, r := range p.dir.Remaps {
		pid := r.GetRemapId()
		if r.GetRemapType() != pb.RemapType_PROCFS || done[pid] {
			continue
		}
		done[pid] = true
		folder := fmt.Sprintf("/proc/%d", pid)
		if who := p.host.Holder(int(pid)); who != "" || p.findTask(int32(pid)) != nil {
			p.refuse(folder+" (ended)", "end that process, or restore elsewhere", "its id is taken by %s", who)
			continue
		}
		p.openFolder(pid, folder)
	}
}

// openFolder opens what the images have of a folder.
func (p *fileRoom) openFolder(pid uint32, folder string) {
	var list []uint64
	var later []func()
	f := p.task(p.zygoteTask(nil))
	for _, id := range slices.Sorted(maps.Keys(p.dir.Files)) {
		reg := p.dir.Files[id].GetReg()
		if reg.GetName() != folder && !strings.HasPrefix(reg.GetName(), folder+"/") {
			continue
		}
		number := p.fds.scratch()
		fd := &pb.FdinfoEntry{Id: &id, Fd: pb.Uint32(uint32(number)), Flags: pb.Uint32(fdCloexec)}
		flags := uint64(reg.GetFlags())&^(oCreat|oExcl|oTrunc) | oNoctty
		list = append(list, p.shared.arena.string(reg.GetName()), flags, uint64(number))
		later = append(later, func() {
			p.shared.try("position", sysLseek, uint64(number), reg.GetPos(), 0 /* SEEK_SET */)
			f.owner(fd, reg.GetFown())
		})
		p.sharedFDs[id] = number
		if r := p.remaps[id]; r != nil {
			p.nameless[remapKey(r)] = number
		}
	}
	what := fmt.Sprintf("%d files of process %d, which has ended", len(later), pid)
	p.shared.core(abi.OpEnded, what, uint64(pid), uint64(len(later)), p.shared.arena.words(list...))
	for _, do := range later {
		do()
	}
}
