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
// opened, so that /proc shows the same name as before; when there is another file of that name by now, a name like it. Directories
// that are gone, too, are there for the moment as well.

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
	at.link = link
	p.openMoment(name+", deleted, also linked as "+link, at, oPath|oNofollow, 0, p.keep(r))
}

// openMoment opens a file that has a name for a moment.
func (p *fileRoom) openMoment(what string, at moment, flags, device uint64, fd int) {
	a := p.shared.arena
	other := uint64(0)
	if at.link != "" {
		other = a.string(at.link)
	}
	var dirs []uint64
	for _, dir := range at.dirs {
		dirs = append(dirs, a.string(dir))
	}
	p.plan.moments = append(p.plan.moments, at)
	p.shared.core(abi.OpNameless, what, a.string(at.path), other, flags, device<<32|uint64(at.mode), uint64(fd), a.words(append(dirs, 0)...))
}

func (p *fileRoom) makeGhost(r *pb.RemapFilePathEntry, name string, g *images.Ghost) {
	at, free := p.momentary(r, name)
	if !free {
		return
	}
	const private = 0o600 // until it has its own mode
	switch kind := g.Entry.GetMode() & sIfmt; kind {
	case sIfreg, sIfdir, sIfifo:
		at.mode = kind | private
		p.makeOpen(r, name+", deleted", at, g)
	case sIfchr, sIflnk:
		at.mode = kind | private
		p.makeUnopened(r, name+", deleted", at, g)
	default:
		p.refuse(name, "", "it is a deleted file of mode %#o: not supported", g.Entry.GetMode())
	}
}

// makeOpen makes a file with its contents.
func (p *fileRoom) makeOpen(r *pb.RemapFilePathEntry, what string, at moment, g *images.Ghost) {
	e, s, fd := g.Entry, p.shared, p.fds.scratch()
	flags := map[uint32]uint64{sIfreg: oRdwr | oNofollow, sIfifo: oRdwr | oNofollow | oNonblock, sIfdir: oDirectory | oNofollow}
	p.openMoment(what, at, flags[e.GetMode()&sIfmt], 0, fd)
	p.ghostContents(what, fd, g)
	s.sys(what, sysFchown, uint64(fd), uint64(e.GetUid()), uint64(e.GetGid()))
	s.sys(what, sysFchmod, uint64(fd), uint64(e.GetMode()&0o7777))
	p.ghostTimes(what, uint64(fd), 0, e)
	// what is executed or mapped must not be open for writing, execve(2)
	s.open(p.keep(r), true, what, sysOpenat, atFdcwd, s.arena.string(procFd(fd)), oPath)
	s.sys("", sysClose, uint64(fd))
}

// makeUnopened makes a file that need not or cannot be opened for that: a device or a symbolic link. CRIU dumps character devices
// alone.
func (p *fileRoom) makeUnopened(r *pb.RemapFilePathEntry, what string, at moment, g *images.Ghost) {
	e, s, kept := g.Entry, p.shared, p.keep(r)
	kind, path := e.GetMode()&sIfmt, s.arena.string(procFd(kept))
	if kind == sIfchr && !p.host.has(capMknod) {
		p.refuse(what, "run crpie as root", "crpie lacks %s, which devices need", capNames[capMknod])
	}
	if kind == sIflnk {
		at.link, at.mode = e.GetSymlnkTarget(), sIflnk|0o777
	}
	p.openMoment(what, at, oPath|oNofollow, uint64(e.GetRdev()), kept)
	s.sys(what, sysFchownat, atFdcwd, path, uint64(e.GetUid()), uint64(e.GetGid()), 0)
	if kind != sIflnk { // which has no mode of its own
		s.sys(what, sysFchmodat, atFdcwd, path, uint64(e.GetMode()&0o7777))
	}
	p.ghostTimes(what, atFdcwd, path, e)
}

func (p *fileRoom) ghostTimes(what string, fd, path uint64, e *pb.GhostFileEntry) {
	if e.GetAtim() == nil || e.GetMtim() == nil {
		return
	}
	a, m := e.GetAtim(), e.GetMtim()
	times := p.shared.arena.words(a.GetTvSec(), a.GetTvUsec()*1000, m.GetTvSec(), m.GetTvUsec()*1000)
	p.shared.sys(what, sysUtimensat, fd, path, times, 0)
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

// momentary chooses the name that a deleted file has while it is opened, and the directories that it takes.
func (p *fileRoom) momentary(r *pb.RemapFilePathEntry, name string) (at moment, ok bool) {
	where := name + " (deleted)"
	if name == "" || name[0] != '/' {
		p.refuse(where, "", "the path is not absolute")
		return at, false
	}
	dir, dirs, ok := p.missingDirs(path.Dir(name), int(r.GetOrigId()))
	if ok {
		at.dirs = dirs
		at.path, ok = p.freeName(path.Join(dir, path.Base(name)), int(r.GetOrigId()))
	}
	if !ok {
		p.refuse(where, "move what has a name like "+name+" away", "its name and %d like it are taken", momentTries-1)
	}
	return at, ok
}

// missingDirs gives the directory that stands for one that may be gone, and what has to be made for that, the outermost
// first.
func (p *fileRoom) missingDirs(dir string, id int) (at string, missing []string, ok bool) {
	if info, err := p.host.Stat(dir); dir == "/" || err == nil && info.IsDir() {
		return dir, nil, true
	}
	parent, missing, ok := p.missingDirs(path.Dir(dir), id)
	if ok {
		at, ok = p.freeName(path.Join(parent, path.Base(dir)), id)
	}
	return at, append(missing, at), ok
}

// freeName gives a name that nothing has: the one asked for, or one like it.
func (p *fileRoom) freeName(name string, id int) (free string, ok bool) {
	free = name
	for n := range momentTries { // restores that were killed may have left some
		if _, err := p.host.Lstat(free); err != nil {
			return free, true
		}
		free = fmt.Sprintf("%s.crpie-%d", name, id+n)
	}
	return free, false
}

const momentTries = 100

// moment is the name that a file without one has while it is opened.
type moment struct {
	path string
	link string   // another name of the file, or what a symbolic link leads to
	mode uint32   // st_mode of a file that is made, inode(7)
	dirs []string // directories that come and go with it
}
