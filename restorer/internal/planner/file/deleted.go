package file

import (
	"fmt"
	"path"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// A file that was deleted while it was open is in the images with its contents (a ghost file), or, if it has another
// name, as a link that the dump made beside it (criu dump --link-remap). Either gets its old name for the moment in
// which it is opened, so that /proc shows the same name as before; when there is another file of that name by now, a
// name like it. Directories that are gone, too, are there for the moment as well.

// makeDeleted plans what the zygote does for them. The link stays: the images can be restored again.
func (p *Room) makeDeleted() {
	for _, r := range p.Dir.Remaps {
		name := p.Dir.Files[r.GetOrigId()].GetReg().GetName()
		if _, made := p.Nameless[remapKey(r)]; made || p.Dir.Files[r.GetOrigId()] == nil {
			continue
		}
		switch r.GetRemapType() {
		case pb.RemapType_GHOST:
			p.makeGhost(r, name, p.Dir.Ghosts[r.GetRemapId()])
		case pb.RemapType_LINKED:
			p.openLinked(r, name)
		case pb.RemapType_PROCFS: // openEnded
		default:
			p.Refuse(name, "", "it is remapped in an unknown way (%v): not supported", r.GetRemapType())
		}
	}
}

// openLinked opens what has lost only one of its names.
func (p *Room) openLinked(r *pb.RemapFilePathEntry, name string) {
	link, ok := p.regular(r.GetRemapId(), name+" (deleted)")
	at, free := p.momentary(r, name)
	if !ok || !free {
		return
	}
	at.Link = link
	p.openMoment(name+", deleted, also linked as "+link, at, uapi.OPath|uapi.ONofollow, 0, p.keep(r))
}

// openMoment opens a file that has a name for a moment.
func (p *Room) openMoment(what string, at plan.Moment, flags, device uint64, fd int) {
	a := p.Shared.Arena
	other := uint64(0)
	if at.Link != "" {
		other = a.String(at.Link)
	}
	var dirs []uint64
	for _, dir := range at.Dirs {
		dirs = append(dirs, a.String(dir))
	}
	p.Plan.Moments = append(p.Plan.Moments, at)
	p.Shared.Core(what, abi.OpenUnlinked{
		Path: a.String(at.Path), Link: other, Flags: flags, Mode: device<<32 | uint64(at.Mode), FD: uint64(fd),
		Dirs: a.Words(append(dirs, 0)...),
	})
}

// makeGhost plans a file whose contents are in the images: it has a name for a moment, and is open when the name goes.
func (p *Room) makeGhost(r *pb.RemapFilePathEntry, name string, g *images.Ghost) {
	at, free := p.momentary(r, name)
	if !free {
		return
	}
	const private = 0o600 // until it has its own mode
	switch kind := g.Entry.GetMode() & uapi.SIfmt; kind {
	case uapi.SIfreg, uapi.SIfdir, uapi.SIfifo:
		at.Mode = kind | private
		p.makeOpen(r, name+", deleted", at, g)
	case uapi.SIfchr, uapi.SIflnk:
		at.Mode = kind | private
		p.makeUnopened(r, name+", deleted", at, g)
	default:
		p.Refuse(name, "", "it is a deleted file of mode %#o: not supported", g.Entry.GetMode())
	}
}

// makeOpen makes a file with its contents.
func (p *Room) makeOpen(r *pb.RemapFilePathEntry, what string, at plan.Moment, g *images.Ghost) {
	e, s, fd := g.Entry, p.Shared, p.Fds.Scratch()
	flags := map[uint32]uint64{uapi.SIfreg: uapi.ORdwr | uapi.ONofollow,
		uapi.SIfifo: uapi.ORdwr | uapi.ONofollow | uapi.ONonblock,
		uapi.SIfdir: uapi.ODirectory | uapi.ONofollow}
	p.openMoment(what, at, flags[e.GetMode()&uapi.SIfmt], 0, fd)
	p.ghostContents(what, fd, g)
	s.Sys(what, uapi.SysFchown, uint64(fd), uint64(e.GetUid()), uint64(e.GetGid()))
	s.Sys(what, uapi.SysFchmod, uint64(fd), uint64(e.GetMode()&0o7777))
	p.ghostTimes(what, uint64(fd), 0, e)
	// an executed or mapped file must not be open for writing, execve(2)
	s.Open(p.keep(r), true, what, uapi.SysOpenat, uapi.AtFdcwd, s.Arena.String(ProcFd(fd)), uapi.OPath)
	s.Sys("", uapi.SysClose, uint64(fd))
}

// makeUnopened makes a file that need not or cannot be opened for that: a device or a symbolic link. CRIU dumps
// character devices alone.
func (p *Room) makeUnopened(r *pb.RemapFilePathEntry, what string, at plan.Moment, g *images.Ghost) {
	e, s, kept := g.Entry, p.Shared, p.keep(r)
	kind, path := e.GetMode()&uapi.SIfmt, s.Arena.String(ProcFd(kept))
	if kind == uapi.SIfchr && !p.Host.Has(uapi.CapMknod) {
		p.Refuse(what, "run crpie as root", "crpie lacks %s, which devices need", uapi.CapNames[uapi.CapMknod])
	}
	if kind == uapi.SIflnk {
		at.Link, at.Mode = e.GetSymlnkTarget(), uapi.SIflnk|0o777
	}
	p.openMoment(what, at, uapi.OPath|uapi.ONofollow, uint64(e.GetRdev()), kept)
	s.Sys(what, uapi.SysFchownat, uapi.AtFdcwd, path, uint64(e.GetUid()), uint64(e.GetGid()), 0)
	if kind != uapi.SIflnk { // which has no mode of its own
		s.Sys(what, uapi.SysFchmodat, uapi.AtFdcwd, path, uint64(e.GetMode()&0o7777))
	}
	p.ghostTimes(what, uapi.AtFdcwd, path, e)
}

func (p *Room) ghostTimes(what string, fd, path uint64, e *pb.GhostFileEntry) {
	if e.GetAtim() == nil || e.GetMtim() == nil {
		return
	}
	a, m := e.GetAtim(), e.GetMtim()
	times := p.Shared.Arena.Words(a.GetTvSec(), a.GetTvUsec()*1000, m.GetTvSec(), m.GetTvUsec()*1000)
	p.Shared.Sys(what, uapi.SysUtimensat, fd, path, times, 0)
}

// ghostContents fills a regular file. Its size comes first, because holes at the end have no chunk; images of old CRIU
// versions do not have it.
func (p *Room) ghostContents(what string, fd int, g *images.Ghost) {
	if g.Entry.GetMode()&uapi.SIfmt != uapi.SIfreg {
		return
	}
	if g.Entry.Size != nil {
		p.Shared.Sys(what, uapi.SysFtruncate, uint64(fd), g.Entry.GetSize())
	}
	for _, c := range g.Chunks {
		p.copyFrom(what, fd, c.FileOffset, c.Data)
	}
}

// keep gives the number under which tasks find the file.
func (p *Room) keep(r *pb.RemapFilePathEntry) int {
	fd := p.Fds.Scratch()
	p.Nameless[remapKey(r)] = fd
	return fd
}

// momentary chooses the name that a deleted file has while it is opened, and the directories that it takes.
func (p *Room) momentary(r *pb.RemapFilePathEntry, name string) (at plan.Moment, ok bool) {
	where := name + " (deleted)"
	if name == "" || name[0] != '/' {
		p.Refuse(where, "", "the path is not absolute")
		return at, false
	}
	dir, dirs, ok := p.missingDirs(path.Dir(name), int(r.GetOrigId()))
	if ok {
		at.Dirs = dirs
		at.Path, ok = p.freeName(path.Join(dir, path.Base(name)), int(r.GetOrigId()))
	}
	if !ok {
		p.Refuse(where, "move what has a name like "+name+" away", "its name and %d like it are taken",
			momentTries-1)
	}
	return at, ok
}

// missingDirs gives the directory that stands for one that may be gone, and what has to be made for that, the outermost
// first.
func (p *Room) missingDirs(dir string, id int) (at string, missing []string, ok bool) {
	if info, err := p.Host.Stat(dir); dir == "/" || err == nil && info.IsDir() {
		return dir, nil, true
	}
	parent, missing, ok := p.missingDirs(path.Dir(dir), id)
	if ok {
		at, ok = p.freeName(path.Join(parent, path.Base(dir)), id)
	}
	return at, append(missing, at), ok
}

// freeName gives a name that nothing has: the one asked for, or one like it.
func (p *Room) freeName(name string, id int) (free string, ok bool) {
	free = name
	for n := range momentTries { // restores that were killed may have left some
		if _, err := p.Host.Lstat(free); err != nil {
			return free, true
		}
		free = fmt.Sprintf("%s.crpie-%d", name, id+n)
	}
	return free, false
}

const momentTries = 100
