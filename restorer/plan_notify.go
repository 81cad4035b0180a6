package restorer

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
)

// Masks and flags of inotify(7), fanotify_init(2) and fanotify_mark(2).
const (
	inAllEvents  = 0xfff
	inExclUnlink = 1 << 26
	inOneshot    = 1 << 31

	fanMarkAdd         = 0x1
	fanMarkMount       = 0x10
	fanMarkIgnoredMask = 0x20
	fanMarkSurvModify  = 0x40
	fanMarkIgnore      = 0x400 // Linux 6.0: in place of FAN_MARK_IGNORED_MASK
	fanPermissions     = 0x10000 | 0x20000 | 0x40000
)

// inotify makes a description and its watches. The kernel numbers them and is told each time which is next.
func (f *filePlanner) inotify(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	e := file.GetIfy()
	f.create(fd, "inotify", sysInotifyInit1, uint64(e.GetFlags()&oNonblock))
	watches := slices.Clone(e.GetWd())
	slices.SortStableFunc(watches, func(a, b *pb.InotifyWdEntry) int { return cmp.Compare(a.GetWd(), b.GetWd()) })
	for _, w := range watches {
		what := fmt.Sprintf("watch %d", w.GetWd())
		path, done, ok := f.watched(fd, what, w.GetSDev(), w.GetIIno(), w.GetFHandle())
		if !ok {
			continue
		}
		mask := w.GetMask() & (inAllEvents | inExclUnlink | inOneshot)
		f.prog.sys("number of "+what, sysIoctl, uint64(fd.GetFd()), inotifyIocSetnextwd, uint64(w.GetWd()))
		f.prog.want(int64(w.GetWd()), what+", "+path, sysInotifyAddWatch, uint64(fd.GetFd()), f.prog.arena.string(path), uint64(mask))
		done()
	}
	f.finishNotify(fd, e.GetFlags(), 0)
	f.owner(fd, e.GetFown())
}

// fanotify makes a description and its marks.
func (f *filePlanner) fanotify(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	e := file.GetFfy()
	f.create(fd, "fanotify", sysFanotifyInit, uint64(e.GetFaflags()), uint64(e.GetEvflags()))
	for i, m := range e.GetMark() {
		what := fmt.Sprintf("mark %d", i)
		if (m.GetMask()|m.GetIgnoredMask())&fanPermissions != 0 {
			f.refuse(f.fdWhere(fd), "", "fanotify %s asks for permission events: whatever restores the files would wait for them", what)
			continue
		}
		switch {
		case m.GetType() == pb.MarkType_MOUNT && m.GetMe().GetPath() != "":
			f.addMark(fd, what, m, m.GetMe().GetPath(), fanMarkMount)
		case m.GetType() == pb.MarkType_INODE && m.GetIe() != nil:
			path, done, ok := f.watched(fd, what, m.GetSDev(), m.GetIe().GetIIno(), m.GetIe().GetFHandle())
			if ok {
				f.addMark(fd, what, m, path, 0)
				done()
			}
		default:
			f.refuse(f.fdWhere(fd), "", "fanotify %s of type %d: nothing says what it marks", what, m.GetType())
		}
	}
	f.finishNotify(fd, e.GetFlags(), 1)
	f.owner(fd, e.GetFown())
}

func (f *filePlanner) addMark(fd *pb.FdinfoEntry, what string, m *pb.FanotifyMarkEntry, path string, kind uint64) {
	if _, err := f.host.Stat(path); kind == fanMarkMount && err != nil {
		f.refuse(f.fdWhere(fd), "mount what was there at dump time", "fanotify %s: %v", what, err)
		return
	}
	add := func(mask uint32, flags uint64) {
		f.prog.sys("fanotify "+what+", "+path, sysFanotifyMark, uint64(fd.GetFd()), fanMarkAdd|kind|flags, uint64(mask), atFdcwd,
			f.prog.arena.string(path))
	}
	const ofIgnored = fanMarkSurvModify | fanMarkIgnore
	flags := uint64(m.GetMflags())
	if m.GetMask() != 0 {
		add(m.GetMask(), flags&^ofIgnored)
	}
	if m.GetIgnoredMask() != 0 {
		if flags&fanMarkIgnore == 0 {
			flags |= fanMarkIgnoredMask
		}
		add(m.GetIgnoredMask(), flags)
	}
}

// finishNotify: what the restore itself does to files that are watched is nobody's business. Other tasks may still do it, so
// such events are thrown away after the last hook.
func (f *filePlanner) finishNotify(fd *pb.FdinfoEntry, flags uint32, fanotify uint64) {
	if flags&oAsync != 0 {
		f.setFlags(fd, flags)
	}
	f.afterHooks(fd, func(prog *program, number uint64) { prog.core(abi.OpForget, "events of the restore", number, fanotify) })
}

// watched gives a path of what is watched: the name that CRIU found, or that of a file without one in /proc. When neither
// exists there is the handle by which the kernel knows the file, open_by_handle_at(2). Call done when the path was used.
func (f *filePlanner) watched(fd *pb.FdinfoEntry, what string, dev uint32, inode uint64, h *pb.FhEntry) (path string, done func(), ok bool) {
	if path = h.GetPath(); path != "" {
		_, err := f.host.Stat(path)
		if err != nil {
			f.refuse(f.fdWhere(fd), "put back the file that was there at dump time", "%s: %v", what, err)
		}
		return path, func() {}, err == nil
	}
	if number, made := f.ghostNumber(dev, inode); made {
		return procFd(number), func() {}, true
	}
	handle := fileHandle(h)
	mount := ""
	if handle != nil {
		mount = f.host.MountOfHandle(dev>>20, dev&0xfffff, handle)
	}
	if mount == "" {
		f.refuse(f.fdWhere(fd), "", "%s: file %d of device %d:%d, which has no name, is not there any more", what, inode, dev>>20, dev&0xfffff)
		return "", nil, false
	}
	return f.openHandle(what, mount, handle)
}

func (f *filePlanner) openHandle(what, mount string, handle []byte) (path string, done func(), ok bool) {
	root, number := f.fds.scratch(), f.fds.scratch()
	f.prog.open(root, true, what+": file system", sysOpenat, atFdcwd, f.prog.arena.string(mount), oNonblock)
	f.prog.open(number, true, what+": file", sysOpenByHandleAt, uint64(root), f.prog.arena.bytes(handle), oPath)
	return procFd(number), func() {
		f.prog.sys("", sysClose, uint64(number))
		f.prog.sys("", sysClose, uint64(root))
	}, true
}

// ghostNumber finds a deleted file that is in the images among those that the zygote has made.
func (p *fileRoom) ghostNumber(dev uint32, inode uint64) (number int, made bool) {
	for _, r := range p.dir.Remaps {
		g := p.dir.Ghosts[r.GetRemapId()]
		if r.GetRemapType() == pb.RemapType_GHOST && g.Entry.GetDev() == dev && uint64(g.Entry.GetIno()) == inode {
			number, made = p.nameless[remapKey(r)]
			return number, made
		}
	}
	return 0, false
}

// maxHandle is MAX_HANDLE_SZ of linux/exportfs.h, in bytes.
const maxHandle = 128

// fileHandle lays out struct file_handle, open_by_handle_at(2); nil if there is none.
func fileHandle(h *pb.FhEntry) []byte {
	b := words64(h.GetHandle())
	if h.GetBytes() == 0 || h.GetBytes() > maxHandle || int(h.GetBytes()) > len(b) {
		return nil
	}
	handle := words32([]uint32{h.GetBytes(), h.GetType()})
	return append(handle, b[:h.GetBytes()]...)
}
