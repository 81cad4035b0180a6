package file

import (
	"fmt"
	"slices"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// A file may have no name: a memfd, a file that was deleted while it was open. The zygote makes each of them once and
// keeps it under a scratch descriptor; tasks open and map it as /proc/self/fd/N, which makes descriptions with flags
// and positions of their own, proc_pid_fd(5).

// MakeNameless plans the zygote's part.
func (p *Room) MakeNameless() {
	p.makeMemfds()
	p.makeDeleted()
	p.openFifos()
}

// NamelessOf names what the zygote has to make for a file of files.img; "" for a file that has a name.
func (p *Room) NamelessOf(id uint32) string {
	if e := p.Dir.Files[id].GetMemfd(); e != nil {
		return MemfdKey(e.GetInodeId())
	}
	if r := p.remaps[id]; r != nil {
		return remapKey(r)
	}
	return ""
}

// IsReplaced reports whether a file is another one than its name leads to: it was deleted, or a descriptor takes its
// place.
func (p *Room) IsReplaced(id uint32) bool {
	file := p.Dir.Files[id]
	return p.NamelessOf(id) != "" || file != nil && slices.ContainsFunc(p.Opts.Inherit, func(in job.Inherited) bool {
		return in.Resource == ResourceOf(p.Dir, file)
	})
}

// MemfdKey returns the key of a memfd in Room.Nameless.
func MemfdKey(inode uint32) string { return fmt.Sprintf("memfd %d", inode) }

func remapKey(r *pb.RemapFilePathEntry) string {
	return fmt.Sprintf("remap %d %d", r.GetRemapType(), r.GetRemapId())
}

// PathOf gives the path under which a task can open a file during the restore.
func (p *Room) PathOf(id uint32, where string) (path string, ok bool) {
	if number, passed := p.Inherited[id]; passed {
		return ProcFd(number), true
	}
	key := p.NamelessOf(id)
	if key == "" {
		return p.regular(id, where)
	}
	fd, ok := p.Nameless[key] // what could not be made has been refused
	return ProcFd(fd), ok
}

// ProcFd returns a path to a descriptor's file.
func ProcFd(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// SameAs names a file in such a way that equal names are the same file.
func (p *Room) SameAs(id uint32) string {
	if key := p.NamelessOf(id); key != "" {
		return key
	}
	return p.Dir.Files[id].GetReg().GetName()
}

// ShownAs is the name that /proc/PID/maps and links in /proc/PID/fd show.
func (p *Room) ShownAs(id uint32) string {
	file := p.Dir.Files[id]
	switch {
	case file.GetMemfd() != nil:
		return "/memfd:" + p.Dir.Memfds[file.GetMemfd().GetInodeId()].GetName() + " (deleted)"
	case p.remaps[id] != nil:
		return file.GetReg().GetName() + " (deleted)"
	}
	return file.GetReg().GetName()
}

// heldMemfds finds the memfds that some task has a descriptor of.
func (p *Room) heldMemfds() map[uint32]bool {
	held := map[uint32]bool{}
	for _, t := range p.Dir.Tasks {
		for _, fd := range t.Fds {
			if fd.GetType() == pb.FdTypes_MEMFD {
				held[p.Dir.Files[fd.GetId()].GetMemfd().GetInodeId()] = true
			}
		}
	}
	return held
}
