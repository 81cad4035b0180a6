package restorer

import (
	"fmt"
	"path"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
)

// A file that was deleted while it was open is in the images with its contents (a ghost file), or, if it has another name,
// as a link that the dump made beside it (criu dump --link-remap). Either gets its old name for the moment in which it is
// opened, so that /proc shows the same name as before; when there is another file of that name by now, a name like it.

// makeDeleted plans what the zygote does for them. The link stays: the images can be restored again.
func (p *fileRoom) makeDeleted() {
	for _, r := range p.dir.Remaps {
		name := p.dir.Files[r.GetOrigId()].GetReg().GetName()
		if _, made := p.nameless[remapKey(r)]; made || p.dir.Files[r.GetOrigId()] == nil {
			continue
		}
		switch r.GetRemapType() {
		case pb.RemapType_GHOST:
			p.makeGhost(r, name, p.dir.Ghosts[r.GetRemapId()])
		case pb.RemapType_LINKED:
			p.openLinked(r, name)
		case pb.RemapType_PROCFS: // openEnded
		default:
			p.refuse(name, "", "it is remapped in an unknown way (%v): not supported", r.GetRemapType())
		}
	}
}

// openLinked opens what has lost only one of its names.
func (p *fileRoom) openLinked(r *pb.RemapFilePathEntry, name string) {
	link, ok := p.regular(r.GetRemapId(), name+" (deleted)")
	at, free := p.momentary(r, name)
	if !ok || !free {
		return
	}
	a := p.shared.arena
	p.plan.moments = append(p.plan.moments, moment{path: at, link: link})
	p.shared.core(abi.OpNameless, name+", deleted, also linked as "+link, a.string(at), a.string(link),
		oPath|oNofollow, 0, uint64(p.keep(r)))
}

func (p *fileRoom) makeGhost(r *pb.RemapFilePathEntry, name string, g *images.Ghost) {
	at, free := p.momentary(r, name)
	if !free {
		return
	}
	e, flags := g.Entry, uint64(oRdwr|oNofollow)
	switch e.GetMode() & sIfmt {
	case sIfreg:
	case sIfifo:
		flags |= oNonblock
	case sIfdir:
		flags = oDirectory | oNofollow
	default:
		p.refuse(name, "", "it is a deleted file of mode %#o, neither regular, directory nor fifo: not supported", e.GetMode())
		return
	}
	s, fd, what := p.shared, uint64(p.fds.scratch()), name+", deleted"
	p.plan.moments = append(p.plan.moments, moment{path: at, mode: e.GetMode() & sIfmt})
	s.core(abi.OpNameless, what, s.arena.string(at), 0, flags, uint64(e.GetMode()&sIfmt|0o600), fd)
	p.ghostContents(what, int(fd), g)
	s.sys(what, sysFchown, fd, uint64(e.GetUid()), uint64(e.GetGid()))
	s.sys(what, sysFchmod, fd, uint64(e.GetMode()&0o7777))
	if e.GetAtim() != nil && e.GetMtim() != nil {
		a, m := e.GetAtim(), e.GetMtim()
		times := s.arena.words(a.GetTvSec(), a.GetTvUsec()*1000, m.GetTvSec(), m.GetTvUsec()*1000)
		s.sys(what, sysUtimensat, fd, 0, times, 0)
	}
	// what is executed or mapped must not be open for writing, execve(2)
	kept := p.keep(r)
	s.open(kept, true, what, sysOpenat, atFdcwd, s.arena.string(procFd(int(fd))), oPath)
	s.sys("", sysClose, fd)
}

func (p *fileRoom) ghostContents(what string, fd int, g *images.Ghost) {
	if g.Entry.GetMode()&sIfmt != sIfreg {
		return
	}
	if g.Entry.Size != nil {
		p.shared.sys(what, sysFtruncate, uint64(fd), g.Entry.GetSize())
	}
	for _, c := range g.Chunks {
		p.copyFrom(what, fd, c.FileOffset, c.Data)
	}
}

// keep gives the number under which tasks find the file.
func (p *fileRoom) keep(r *pb.RemapFilePathEntry) int {
	fd := p.fds.scratch()
	p.nameless[remapKey(r)] = fd
	return fd
}

// momentary chooses the name that a deleted file has while it is opened.
func (p *fileRoom) momentary(r *pb.RemapFilePathEntry, name string) (at string, ok bool) {
	where := name + " (deleted)"
	if name == "" || name[0] != '/' {
		p.refuse(where, "", "the path is not absolute")
		return "", false
	}
	if dir, err := p.host.Stat(path.Dir(name)); err != nil || !dir.IsDir() {
		p.refuse(where, "make "+path.Dir(name)+" again", "its directory is gone")
		return "", false
	}
	at = name
	for n := range momentTries { // restores that were killed may have left some
		if _, err := p.host.Stat(at); err != nil {
			return at, true
		}
		at = fmt.Sprintf("%s.crpie-%d", name, int(r.GetOrigId())+n)
	}
	p.refuse(where, "move what has a name like "+at+" away", "its name and %d like it are taken", momentTries-1)
	return "", false
}

const momentTries = 100

// moment is the name that a file without one has while it is opened.
type moment struct {
	path string
	link string // another name of the file; "": it is made
	mode uint32 // the type of a file that is made
}
