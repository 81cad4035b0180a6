package file

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// inotify makes a description and its watches. The kernel numbers them; before each, the next number is set.
func (f *Descriptors) inotify(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	e := file.GetIfy()
	f.Create(fd, "inotify", uapi.SysInotifyInit1, uint64(e.GetFlags()&uapi.ONonblock))
	watches := slices.Clone(e.GetWd())
	slices.SortStableFunc(watches, func(a, b *pb.InotifyWdEntry) int { return cmp.Compare(a.GetWd(), b.GetWd()) })
	for _, w := range watches {
		what := fmt.Sprintf("watch %d", w.GetWd())
		path, done, ok := f.watched(fd, what, w.GetSDev(), w.GetIIno(), w.GetFHandle())
		if !ok {
			continue
		}
		mask := w.GetMask() & (uapi.InAllEvents | uapi.InExclUnlink | uapi.InOneshot)
		f.Prog.Sys("number of "+what, uapi.SysIoctl, uint64(fd.GetFd()), uapi.InotifyIocSetnextwd,
			uint64(w.GetWd()))
		f.Prog.Want(int64(w.GetWd()), what+", "+path, uapi.SysInotifyAddWatch, uint64(fd.GetFd()),
			f.Prog.Arena.String(path), uint64(mask))
		done()
	}
	f.finishNotify(fd, e.GetFlags(), 0)
	f.Owner(fd, e.GetFown())
}

// fanotify makes a description and its marks.
func (f *Descriptors) fanotify(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	e := file.GetFfy()
	f.Create(fd, "fanotify", uapi.SysFanotifyInit, uint64(e.GetFaflags()), uint64(e.GetEvflags()))
	for i, m := range e.GetMark() {
		what := fmt.Sprintf("mark %d", i)
		if (m.GetMask()|m.GetIgnoredMask())&uapi.FanPermissions != 0 {
			f.Refuse(f.FdWhere(fd), "",
				"fanotify %s asks for permission events: whatever restores the files would wait for them", what)
			continue
		}
		switch {
		case m.GetType() == pb.MarkType_MOUNT && m.GetMe().GetPath() != "":
			f.addMark(fd, what, m, m.GetMe().GetPath(), uapi.FanMarkMount)
		case m.GetType() == pb.MarkType_INODE && m.GetIe() != nil:
			path, done, ok := f.watched(fd, what, m.GetSDev(), m.GetIe().GetIIno(), m.GetIe().GetFHandle())
			if ok {
				f.addMark(fd, what, m, path, 0)
				done()
			}
		default:
			f.Refuse(f.FdWhere(fd), "", "fanotify %s of type %d: nothing says what it marks", what,
				m.GetType())
		}
	}
	f.finishNotify(fd, e.GetFlags(), 1)
	f.Owner(fd, e.GetFown())
}

// addMark adds a fanotify mark. The kernel keeps two masks and takes one a call, and some flags go with the mask of
// ignored events only, fanotify_mark(2).
func (f *Descriptors) addMark(fd *pb.FdinfoEntry, what string, m *pb.FanotifyMarkEntry, path string, kind uint64) {
	if _, err := f.Host.Stat(path); kind == uapi.FanMarkMount && err != nil && !errors.Is(err, host.ErrUnseen) {
		f.Refuse(f.FdWhere(fd), "mount what was there at dump time", "fanotify %s: %v", what, err)
		return
	}
	add := func(mask uint32, flags uint64) {
		f.Prog.Sys("fanotify "+what+", "+path, uapi.SysFanotifyMark, uint64(fd.GetFd()),
			uapi.FanMarkAdd|kind|flags,
			uint64(mask), uapi.AtFdcwd,
			f.Prog.Arena.String(path))
	}
	const ofIgnored = uapi.FanMarkSurvModify | uapi.FanMarkIgnore
	flags := uint64(m.GetMflags())
	if m.GetMask() != 0 {
		add(m.GetMask(), flags&^ofIgnored)
	}
	if m.GetIgnoredMask() != 0 {
		if flags&uapi.FanMarkIgnore == 0 {
			flags |= uapi.FanMarkIgnoredMask
		}
		add(m.GetIgnoredMask(), flags)
	}
}

// finishNotify drops events that the restore itself has caused. Other tasks may still cause some, so they are thrown
// away after the last hook.
func (f *Descriptors) finishNotify(fd *pb.FdinfoEntry, flags uint32, fanotify uint64) {
	if flags&uapi.OAsync != 0 {
		f.SetFlags(fd, flags)
	}
	f.afterHooks(fd, func(prog *plan.Program, number uint64) {
		prog.Core("events of the restore", abi.DrainEvents{FD: number, Fanotify: fanotify})
	})
}

// watched gives a path of the watched file: the name that CRIU found, or one in /proc if the file has none. When
// neither exists there is the handle by which the kernel knows the file, open_by_handle_at(2). Call done when the path
// was used.
func (f *Descriptors) watched(
	fd *pb.FdinfoEntry, what string, dev uint32, inode uint64, h *pb.FhEntry,
) (path string, done func(), ok bool) {
	if path = h.GetPath(); path != "" {
		_, err := f.Host.Stat(path)
		if err != nil && !errors.Is(err, host.ErrUnseen) {
			f.Refuse(f.FdWhere(fd), "put back the file that was there at dump time", "%s: %v", what, err)
		}
		return path, func() {}, err == nil
	}
	if number, made := f.ghostNumber(dev, inode); made {
		return ProcFd(number), func() {}, true
	}
	handle := fileHandle(h)
	mount := ""
	if handle != nil {
		mount = f.Host.MountOfHandle(dev>>20, dev&0xfffff, handle)
	}
	if mount == "" {
		f.Refuse(f.FdWhere(fd), "", "%s: file %d of device %d:%d, which has no name, is not there any more",
			what,
			inode, dev>>20, dev&0xfffff)
		return "", nil, false
	}
	return f.openHandle(what, mount, handle)
}

// openHandle opens a file by its handle, as inotify has no name of what it watches; the path leads through the
// descriptor until done.
func (f *Descriptors) openHandle(what, mount string, handle []byte) (path string, done func(), ok bool) {
	root, number := f.Fds.Scratch(), f.Fds.Scratch()
	f.Prog.Open(root, true, what+": file system", uapi.SysOpenat, uapi.AtFdcwd, f.Prog.Arena.String(mount),
		uapi.ONonblock)
	f.Prog.Open(number, true, what+": file", uapi.SysOpenByHandleAt, uint64(root), f.Prog.Arena.Bytes(handle),
		uapi.OPath)
	return ProcFd(number), func() {
		f.Prog.Sys("", uapi.SysClose, uint64(number))
		f.Prog.Sys("", uapi.SysClose, uint64(root))
	}, true
}

// ghostNumber finds a deleted file that is in the images among those that the zygote has made.
func (p *Room) ghostNumber(dev uint32, inode uint64) (number int, made bool) {
	for _, r := range p.Dir.Remaps {
		g := p.Dir.Ghosts[r.GetRemapId()]
		if r.GetRemapType() == pb.RemapType_GHOST && g.Entry.GetDev() == dev &&
			uint64(g.Entry.GetIno()) == inode {
			number, made = p.Nameless[remapKey(r)]
			return number, made
		}
	}
	return 0, false
}

// maxHandle is MAX_HANDLE_SZ of linux/exportfs.h, in bytes.
const maxHandle = 128

// fileHandle lays out struct file_handle, open_by_handle_at(2); nil if there is none.
func fileHandle(h *pb.FhEntry) []byte {
	b := plan.Words64(h.GetHandle())
	if h.GetBytes() == 0 || h.GetBytes() > maxHandle || int(h.GetBytes()) > len(b) {
		return nil
	}
	handle := plan.Words32([]uint32{h.GetBytes(), h.GetType()})
	return append(handle, b[:h.GetBytes()]...)
}
