package restorer

import (
	"fmt"

	"github.com/crpie/crpie/images/pb"
)

// A file may have no name: a memfd, a file that was deleted while it was open. The zygote makes each of them once and keeps
// it under a scratch descriptor; tasks open and map it as /proc/self/fd/N, which makes descriptions with flags and
// positions of their own, proc_pid_fd(5).

// makeNameless plans the zygote's part.
func (p *fileRoom) makeNameless() {
	p.makeMemfds()
	p.makeDeleted()
	p.openFifos()
}

// namelessOf names what the zygote has to make for a file of files.img; "" for a file that has a name.
func (p *fileRoom) namelessOf(id uint32) string {
	if e := p.dir.Files[id].GetMemfd(); e != nil {
		return memfdKey(e.GetInodeId())
	}
	if r := p.remaps[id]; r != nil {
		return remapKey(r)
	}
	return ""
}

func memfdKey(inode uint32) string { return fmt.Sprintf("memfd %d", inode) }

func remapKey(r *pb.RemapFilePathEntry) string {
	return fmt.Sprintf("remap %d %d", r.GetRemapType(), r.GetRemapId())
}

// pathOf gives the path under which a task can open a file during the restore.
func (p *fileRoom) pathOf(id uint32, where string) (path string, ok bool) {
	if number, passed := p.inherited[id]; passed {
		return procFd(number), true
	}
	key := p.namelessOf(id)
	if key == "" {
		return p.regular(id, where)
	}
	fd, ok := p.nameless[key] // what could not be made has been refused
	return procFd(fd), ok
}

func procFd(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// sameAs names a file in such a way that equal names are the same file.
func (p *fileRoom) sameAs(id uint32) string {
	if key := p.namelessOf(id); key != "" {
		return key
	}
	return p.dir.Files[id].GetReg().GetName()
}

// shownAs is the name that /proc/PID/maps and links in /proc/PID/fd show.
func (p *fileRoom) shownAs(id uint32) string {
	file := p.dir.Files[id]
	switch {
	case file.GetMemfd() != nil:
		return "/memfd:" + p.dir.Memfds[file.GetMemfd().GetInodeId()].GetName() + " (deleted)"
	case p.remaps[id] != nil:
		return file.GetReg().GetName() + " (deleted)"
	}
	return file.GetReg().GetName()
}

// heldMemfds finds the memfds that some task has a descriptor of.
func (p *fileRoom) heldMemfds() map[uint32]bool {
	held := map[uint32]bool{}
	for _, t := range p.dir.Tasks {
		for _, fd := range t.Fds {
			if fd.GetType() == pb.FdTypes_MEMFD {
				held[p.dir.Files[fd.GetId()].GetMemfd().GetInodeId()] = true
			}
		}
	}
	return held
}
