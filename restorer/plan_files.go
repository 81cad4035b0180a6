package restorer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
)

// fileRoom plans files: those that the zygote makes, and the descriptors of tasks.
type fileRoom struct {
	*job
	kinds    []kind
	contents memfdContents

	filled     map[uint32]bool // epoll sets that some task fills
	nameless   map[string]int  // descriptors of files without a name, by namelessOf
	remaps     map[uint32]*pb.RemapFilePathEntry
	ended      map[uint32]bool         // processes that have ended, of which there are files in /proc
	validated  map[uint32]bool         // files that regular has looked at: whether they are what they were
	held       map[uint32]bool         // memfds that some task has a descriptor of
	lateMakers map[uint32]*images.Task // the task that makes what only a task can make, by file id
	awaited    map[uint32]bool         // tasks that others wait for to open something of theirs
	inherited  map[uint32]int          // numbers of passed descriptors, by the file ids that they take the place of
}

func newFileRoom(j *job) *fileRoom {
	r := &fileRoom{
		job: j, filled: map[uint32]bool{}, nameless: map[string]int{}, remaps: map[uint32]*pb.RemapFilePathEntry{},
		ended: map[uint32]bool{}, validated: map[uint32]bool{},
	}
	for _, remap := range j.dir.Remaps {
		if remap.GetRemapType() == pb.RemapType_PROCFS { // one for all files of a process
			r.ended[remap.GetRemapId()] = true
		} else {
			r.remaps[remap.GetOrigId()] = remap
		}
	}
	r.held = r.heldMemfds()
	return r
}

// kind is a row of the table of what descriptors may be of: how one task, or the zygote, plans those of a type.
type kind struct {
	of  pb.FdTypes
	new func(f *filePlanner) describer
}

// describer plans the descriptors of one type and one task.
type describer interface {
	collect()                                        // makes what descriptions are cut from, at scratch numbers
	describe(fd *pb.FdinfoEntry, file *pb.FileEntry) // makes one description
	finish()                                         // gives back the scratch numbers
}

// describe is a describer that needs nothing besides the description.
type describe func(fd *pb.FdinfoEntry, file *pb.FileEntry)

func (describe) collect()                                          {}
func (d describe) describe(fd *pb.FdinfoEntry, file *pb.FileEntry) { d(fd, file) }
func (describe) finish()                                           {}

// plain is a row for a describer without a state.
func plain(of pb.FdTypes, method func(*filePlanner) describe) kind {
	return kind{of, func(f *filePlanner) describer { return method(f) }}
}

// own lists the kinds of this room.
func (r *fileRoom) own() []kind {
	return []kind{
		{pb.FdTypes_PIPE, func(f *filePlanner) describer { return &pipePlanner{f, map[uint32]*pipeEnds{}} }},
		plain(pb.FdTypes_REG, func(f *filePlanner) describe { return f.regularFile }),
		plain(pb.FdTypes_NS, func(f *filePlanner) describe { return f.namespaceFile }),
		plain(pb.FdTypes_EVENTFD, func(f *filePlanner) describe { return f.eventfd }),
		plain(pb.FdTypes_EVENTPOLL, func(f *filePlanner) describe { return f.epoll }),
		plain(pb.FdTypes_TIMERFD, func(f *filePlanner) describe { return f.timerfd }),
		plain(pb.FdTypes_SIGNALFD, func(f *filePlanner) describe { return f.signalfd }),
		plain(pb.FdTypes_PIDFD, func(f *filePlanner) describe { return f.pidfd }),
		plain(pb.FdTypes_INOTIFY, func(f *filePlanner) describe { return f.inotify }),
		plain(pb.FdTypes_FANOTIFY, func(f *filePlanner) describe { return f.fanotify }),
		plain(pb.FdTypes_FIFO, func(f *filePlanner) describe { return f.fifo }),
		plain(pb.FdTypes_MEMFD, func(f *filePlanner) describe { return f.memfd }),
	}
}

// filePlanner plans the descriptors of one task.
type filePlanner struct {
	*fileRoom
	*jobTask
	order      []*pb.FdinfoEntry            // the first descriptor of each open file description
	byFile     map[uint32][]*pb.FdinfoEntry // all of them, by file id
	describers map[pb.FdTypes]describer
}

// task begins the plan of a task's descriptors.
func (r *fileRoom) task(t *jobTask) *filePlanner {
	f := &filePlanner{fileRoom: r, jobTask: t, byFile: map[uint32][]*pb.FdinfoEntry{}, describers: map[pb.FdTypes]describer{}}
	for _, k := range r.kinds {
		f.describers[k.of] = k.new(f)
	}
	for _, fd := range t.img.Fds {
		if f.byFile[fd.GetId()] == nil {
			f.order = append(f.order, fd)
		}
		f.byFile[fd.GetId()] = append(f.byFile[fd.GetId()], fd)
	}
	return f
}

// descriptions restores all descriptors.
func (f *filePlanner) descriptions() {
	for _, k := range f.kinds {
		f.describers[k.of].collect()
	}
	for _, first := range f.order {
		f.description(first)
	}
	f.enter(phaseDescriptors)
	if f.givesLate() {
		f.jobTask.mark("it has what others take from it", markLate)
	}
	for _, k := range f.kinds {
		f.describers[k.of].finish()
	}
}

// fdWhere names a descriptor for messages. The zygote has numbers of its own.
func (f *filePlanner) fdWhere(fd *pb.FdinfoEntry) string {
	if f.prog == f.shared {
		return cmp.Or(f.opened()[fd.GetId()], fmt.Sprintf("file %#x in flight", fd.GetId()))
	}
	return fmt.Sprintf("%s fd %d", f.where(), fd.GetFd())
}

func cloexec(fd *pb.FdinfoEntry) bool { return fd.GetFlags()&fdCloexec != 0 }

// description restores one open file description and all its descriptors.
func (f *filePlanner) description(fd *pb.FdinfoEntry) {
	file := f.dir.Files[fd.GetId()]
	if file == nil {
		f.refuse(f.fdWhere(fd), "", "files.img has no file %#x", fd.GetId())
		return
	}
	if number, ok := f.sharedFDs[fd.GetId()]; ok {
		f.fromZygote(fd, number)
		return
	}
	if maker := f.lateMakers[fd.GetId()]; maker != nil && maker != f.img {
		f.takeLate(fd, maker)
		f.duplicates(fd)
		return
	}
	d := f.describers[fd.GetType()]
	if d == nil {
		f.refuse(f.fdWhere(fd), "", "%s: not supported", kindName(fd.GetType()))
		return
	}
	d.describe(fd, file)
	f.duplicates(fd)
}

// fromZygote takes a description that the zygote has made.
func (f *filePlanner) fromZygote(fd *pb.FdinfoEntry, number int) {
	f.create(fd, "shared with other tasks", sysFcntl, uint64(number), 0 /* F_DUPFD */, uint64(number))
	f.duplicates(fd)
	f.adopt(fd.GetId(), uint64(fd.GetFd()))
}

var kindNames = map[pb.FdTypes]string{
	pb.FdTypes_UNIXSK: "unix socket", pb.FdTypes_TUNF: "tun/tap device",
	pb.FdTypes_EXT: "external file", pb.FdTypes_BPFMAP: "BPF map",
}

func kindName(t pb.FdTypes) string {
	if name := kindNames[t]; name != "" {
		return name
	}
	return fmt.Sprintf("file of unknown kind %d", t)
}

// create adds a system call whose result becomes the descriptor.
func (f *filePlanner) create(fd *pb.FdinfoEntry, what string, nr uint64, args ...uint64) {
	f.prog.open(int(fd.GetFd()), cloexec(fd), what, nr, args...)
}

// duplicates: the other descriptors of the same description, dup(2).
func (f *filePlanner) duplicates(first *pb.FdinfoEntry) {
	for _, fd := range f.byFile[first.GetId()] {
		if fd == first {
			continue
		}
		flags := uint64(0)
		if cloexec(fd) {
			flags = oCloexec
		}
		f.prog.sys("the same file", sysDup3, uint64(first.GetFd()), uint64(fd.GetFd()), flags)
	}
}

// setFlags sets status flags that could not be given at creation, fcntl(2) F_SETFL.
func (f *filePlanner) setFlags(fd *pb.FdinfoEntry, flags uint32) {
	if flags &^= oAccmode | oCloexec | oLargefile; flags != 0 {
		f.prog.sys("status flags", sysFcntl, uint64(fd.GetFd()), fSetfl, uint64(flags))
	}
}

func (f *filePlanner) regularFile(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	if target := f.lateTarget(file); target != nil {
		name := file.GetReg().GetName()
		f.inProc(fd, target, name, strings.TrimPrefix(name, fmt.Sprintf("/proc/%d/", target.Pid)))
		return
	}
	path, ok := f.pathOf(fd.GetId(), f.fdWhere(fd))
	if !ok {
		return
	}
	reg := file.GetReg()
	if reg.GetMode()&sIfmt == sIflnk && f.remaps[fd.GetId()] != nil { // opening it anew would follow it
		number := uint64(f.nameless[f.namelessOf(fd.GetId())])
		f.create(fd, f.shownAs(fd.GetId()), sysFcntl, number, 0 /* F_DUPFD */, number)
		return
	}
	flags := reg.GetFlags()
	if f.namelessOf(fd.GetId()) != "" {
		flags &^= oNofollow // what /proc/self/fd/N is would be the last link not to follow, open(2)
	}
	f.open(fd, f.shownAs(fd.GetId()), path, flags, reg.GetPos())
	f.owner(fd, reg.GetFown())
}

// open opens a path with the flags and the position that the description had.
func (f *filePlanner) open(fd *pb.FdinfoEntry, what, path string, statusFlags uint32, pos uint64) {
	flags := uint64(statusFlags) &^ (oCreat | oExcl | oTrunc)
	if flags&oTmpfile == oTmpfile { // with which it was made
		flags &^= oTmpfile
	}
	f.create(fd, what, sysOpenat, atFdcwd, f.prog.arena.string(path), flags|oNoctty)
	if pos != 0 && flags&oPath == 0 {
		f.prog.want(int64(pos), what, sysLseek, uint64(fd.GetFd()), pos, 0 /* SEEK_SET */)
	}
}

func (f *filePlanner) eventfd(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	const efdSemaphore = 1
	e := file.GetEfd()
	f.create(fd, "eventfd", sysEventfd2, 0, uint64(e.GetFlags()&(oNonblock|efdSemaphore)))
	if e.GetCounter() != 0 { // the argument of eventfd2 has only 32 bits
		f.prog.want(8, "counter of the eventfd", sysWrite, uint64(fd.GetFd()), f.prog.arena.words(e.GetCounter()), 8)
	}
	f.owner(fd, e.GetFown())
}

func (f *filePlanner) epoll(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	e := file.GetEpfd()
	f.create(fd, "epoll", sysEpollCreate1, 0)
	f.setFlags(fd, e.GetFlags())
	f.owner(fd, e.GetFown())
}

func (f *filePlanner) signalfd(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	s := file.GetSgfd()
	f.create(fd, "signalfd", sysSignalfd4, ^uint64(0), f.prog.arena.words(s.GetSigmask()), 8, uint64(s.GetFlags()&oNonblock))
	f.owner(fd, s.GetFown())
}

// closeOthers leaves no descriptor but the application's, close_range(2).
func (f *filePlanner) closeOthers() {
	var own []int
	for _, fd := range f.img.Fds {
		own = append(own, int(fd.GetFd()))
	}
	slices.Sort(own)
	next := 0
	for _, fd := range own {
		if fd > next {
			f.prog.sys("not the application's", sysCloseRange, uint64(next), uint64(fd-1), 0)
		}
		next = fd + 1
	}
	f.prog.sys("not the application's", sysCloseRange, uint64(next), 0xffffffff, 0)
}

// filesystem restores working directory, root and umask. A new root leaves the working directory, chroot(2).
func (t *filePlanner) filesystem() {
	p := t.prog
	t.workingDirectory(t.img.Fs.GetCwdId(), t.where()+" working directory")
	root, ok := t.regular(t.img.Fs.GetRootId(), t.where()+" root directory")
	if ok && root != "/" {
		p.sys("root directory "+root, sysChroot, p.arena.string(root))
	}
	if t.img.Fs.Umask != nil {
		p.sys("umask", sysUmask, uint64(t.img.Fs.GetUmask()))
	}
}

func (t *filePlanner) workingDirectory(id uint32, where string) {
	if pid := t.endedProcess(id); pid != 0 {
		t.enterEnded(pid, t.dir.Files[id].GetReg().GetName(), where)
		return
	}
	if path, ok := t.pathOf(id, where); ok {
		fd := t.fds.scratch()
		t.prog.open(fd, true, "working directory "+t.shownAs(id), sysOpenat, atFdcwd, t.prog.arena.string(path), oPath|oDirectory)
		t.prog.sys("working directory", sysFchdir, uint64(fd))
	}
}

// afterHooks defers an operation on a description until the last hook has run; of a shared one, to the first task that has it.
func (f *filePlanner) afterHooks(fd *pb.FdinfoEntry, plan func(prog *program, number uint64)) {
	if f.prog == f.shared {
		f.handOver(fd.GetId(), phaseTimers, plan)
		return
	}
	f.later(phaseTimers, func(prog *program) { plan(prog, uint64(fd.GetFd())) })
}
