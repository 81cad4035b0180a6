package file

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// Room plans files: those that the zygote makes, and the descriptors of tasks.
type Room struct {
	*job.Job
	Kinds    []Kind
	Contents memfdContents

	filled     map[uint32]bool     // epoll sets that some task fills
	flying     map[uint32][]uint32 // epoll sets that a task fills though they are in flight, by its pid
	Nameless   map[string]int      // descriptors of files without a name, by namelessOf
	remaps     map[uint32]*pb.RemapFilePathEntry
	ended      map[uint32]bool         // processes that have ended, of which there are files in /proc
	validated  map[uint32]bool         // files that regular has looked at: whether they are what they were
	Held       map[uint32]bool         // memfds that some task has a descriptor of
	LateMakers map[uint32]*images.Task // the task that makes what only a task can make, by file id
	Awaited    map[uint32]bool         // tasks that others wait for to open something of theirs
	Inherited  map[uint32]int          // numbers of passed descriptors, by the file ids that they take the place of
}

// NewRoom prepares the planning of a job's files.
func NewRoom(j *job.Job) *Room {
	r := &Room{
		Job: j, filled: map[uint32]bool{}, flying: map[uint32][]uint32{}, Nameless: map[string]int{},
		remaps: map[uint32]*pb.RemapFilePathEntry{},
		ended:  map[uint32]bool{}, validated: map[uint32]bool{},
	}
	for _, remap := range j.Dir.Remaps {
		if remap.GetRemapType() == pb.RemapType_PROCFS { // one for all files of a process
			r.ended[remap.GetRemapId()] = true
		} else {
			r.remaps[remap.GetOrigId()] = remap
		}
	}
	r.Held = r.heldMemfds()
	return r
}

// Kind is a row of the table of what descriptors may be of: how one task, or the zygote, plans those of a type.
type Kind struct {
	Of  pb.FdTypes
	New func(f *Descriptors) Describer
}

// Describer plans the descriptors of one type and one task.
type Describer interface {
	Collect()                                        // makes what descriptions are cut from, at scratch numbers
	Describe(fd *pb.FdinfoEntry, file *pb.FileEntry) // makes one description
	Finish()                                         // gives back the scratch numbers
}

// Describe is a describer that needs nothing besides the description.
type Describe func(fd *pb.FdinfoEntry, file *pb.FileEntry)

func (Describe) Collect() {}

func (d Describe) Describe(fd *pb.FdinfoEntry, file *pb.FileEntry) { d(fd, file) }

func (Describe) Finish() {}

// Plain is a row for a describer without a state.
func Plain(of pb.FdTypes, method func(*Descriptors) Describe) Kind {
	return Kind{of, func(f *Descriptors) Describer { return method(f) }}
}

// Own lists the kinds of this room.
func (r *Room) Own() []Kind {
	return []Kind{
		{pb.FdTypes_PIPE, func(f *Descriptors) Describer { return &pipePlanner{f, map[uint32]*pipeEnds{}} }},
		Plain(pb.FdTypes_REG, func(f *Descriptors) Describe { return f.regularFile }),
		Plain(pb.FdTypes_NS, func(f *Descriptors) Describe { return f.namespaceFile }),
		Plain(pb.FdTypes_EVENTFD, func(f *Descriptors) Describe { return f.eventfd }),
		Plain(pb.FdTypes_EVENTPOLL, func(f *Descriptors) Describe { return f.epoll }),
		Plain(pb.FdTypes_TIMERFD, func(f *Descriptors) Describe { return f.timerfd }),
		Plain(pb.FdTypes_SIGNALFD, func(f *Descriptors) Describe { return f.signalfd }),
		Plain(pb.FdTypes_PIDFD, func(f *Descriptors) Describe { return f.pidfd }),
		Plain(pb.FdTypes_INOTIFY, func(f *Descriptors) Describe { return f.inotify }),
		Plain(pb.FdTypes_FANOTIFY, func(f *Descriptors) Describe { return f.fanotify }),
		Plain(pb.FdTypes_FIFO, func(f *Descriptors) Describe { return f.fifo }),
		Plain(pb.FdTypes_MEMFD, func(f *Descriptors) Describe { return f.memfd }),
	}
}

// Descriptors plans the descriptors of one task.
type Descriptors struct {
	*Room
	*job.Process
	Order      []*pb.FdinfoEntry            // the first descriptor of each open file description
	ByFile     map[uint32][]*pb.FdinfoEntry // all of them, by file id
	describers map[pb.FdTypes]Describer
}

// Task begins the plan of a task's descriptors.
func (r *Room) Task(t *job.Process) *Descriptors {
	f := &Descriptors{Room: r, Process: t, ByFile: map[uint32][]*pb.FdinfoEntry{},
		describers: map[pb.FdTypes]Describer{}}
	for _, k := range r.Kinds {
		f.describers[k.Of] = k.New(f)
	}
	for _, fd := range t.Img.Fds {
		if f.ByFile[fd.GetId()] == nil {
			f.Order = append(f.Order, fd)
		}
		f.ByFile[fd.GetId()] = append(f.ByFile[fd.GetId()], fd)
	}
	return f
}

// Descriptions restores all descriptors.
func (f *Descriptors) Descriptions() {
	for _, k := range f.Kinds {
		f.describers[k.Of].Collect()
	}
	for _, first := range f.Order {
		f.description(first)
	}
	f.Enter(job.PhaseDescriptors)
	if f.givesLate() {
		f.Process.Mark("it has what others take from it", abi.MarkLate)
	}
	for _, k := range f.Kinds {
		f.describers[k.Of].Finish()
	}
}

// FdWhere names a descriptor for messages. The zygote has numbers of its own.
func (f *Descriptors) FdWhere(fd *pb.FdinfoEntry) string {
	if f.Prog == f.Shared {
		return cmp.Or(f.Opened()[fd.GetId()], fmt.Sprintf("file %#x in flight", fd.GetId()))
	}
	return fmt.Sprintf("%s fd %d", f.Where(), fd.GetFd())
}

func cloexec(fd *pb.FdinfoEntry) bool { return fd.GetFlags()&uapi.FdCloexec != 0 }

// description restores one open file description and all its descriptors.
func (f *Descriptors) description(fd *pb.FdinfoEntry) {
	file := f.Dir.Files[fd.GetId()]
	if file == nil {
		f.Refuse(f.FdWhere(fd), "", "files.img has no file %#x", fd.GetId())
		return
	}
	if number, ok := f.SharedFDs[fd.GetId()]; ok {
		f.fromZygote(fd, number)
		return
	}
	if maker := f.LateMakers[fd.GetId()]; maker != nil && maker != f.Img {
		f.takeLate(fd, maker)
		f.duplicates(fd)
		return
	}
	d := f.describers[fd.GetType()]
	if d == nil {
		f.Refuse(f.FdWhere(fd), "", "%s: not supported", kindName(fd.GetType()))
		return
	}
	d.Describe(fd, file)
	f.duplicates(fd)
}

// fromZygote takes a description that the zygote has made.
func (f *Descriptors) fromZygote(fd *pb.FdinfoEntry, number int) {
	f.Create(fd, "shared with other tasks", uapi.SysFcntl, uint64(number), 0 /* F_DUPFD */, uint64(number))
	f.duplicates(fd)
	f.Adopt(fd.GetId(), uint64(fd.GetFd()))
}

func kindNames() map[pb.FdTypes]string {
	return map[pb.FdTypes]string{
		pb.FdTypes_UNIXSK: "unix socket", pb.FdTypes_TUNF: "tun/tap device",
		pb.FdTypes_EXT: "external file", pb.FdTypes_BPFMAP: "BPF map",
	}
}

func kindName(t pb.FdTypes) string {
	if name := kindNames()[t]; name != "" {
		return name
	}
	return fmt.Sprintf("file of unknown kind %d", t)
}

// Create adds a system call whose result becomes the descriptor.
func (f *Descriptors) Create(fd *pb.FdinfoEntry, what string, nr uint64, args ...uint64) {
	f.Prog.Open(int(fd.GetFd()), cloexec(fd), what, nr, args...)
}

// duplicates: the other descriptors of the same description, dup(2).
func (f *Descriptors) duplicates(first *pb.FdinfoEntry) {
	for _, fd := range f.ByFile[first.GetId()] {
		if fd == first {
			continue
		}
		flags := uint64(0)
		if cloexec(fd) {
			flags = uapi.OCloexec
		}
		f.Prog.Sys("the same file", uapi.SysDup3, uint64(first.GetFd()), uint64(fd.GetFd()), flags)
	}
}

// SetFlags sets status flags that could not be given at creation, fcntl(2) F_SETFL.
func (f *Descriptors) SetFlags(fd *pb.FdinfoEntry, flags uint32) {
	if flags &^= uapi.OAccmode | uapi.OCloexec | uapi.OLargefile; flags != 0 {
		f.Prog.Sys("status flags", uapi.SysFcntl, uint64(fd.GetFd()), uapi.FSetfl, uint64(flags))
	}
}

// regularFile opens a file by its path, a file without a name through the descriptor that holds it, and a file in /proc
// of a task later, when that task exists.
func (f *Descriptors) regularFile(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	if target := f.lateTarget(file); target != nil {
		name := file.GetReg().GetName()
		f.inProc(fd, target, name, strings.TrimPrefix(name, fmt.Sprintf("/proc/%d/", target.Pid)))
		return
	}
	path, ok := f.PathOf(fd.GetId(), f.FdWhere(fd))
	if !ok {
		return
	}
	reg := file.GetReg()
	if reg.GetMode()&uapi.SIfmt == uapi.SIflnk && f.remaps[fd.GetId()] != nil { // opening it anew would follow it
		number := uint64(f.Nameless[f.NamelessOf(fd.GetId())])
		f.Create(fd, f.ShownAs(fd.GetId()), uapi.SysFcntl, number, 0 /* F_DUPFD */, number)
		return
	}
	flags := reg.GetFlags()
	if f.NamelessOf(fd.GetId()) != "" {
		flags &^= uapi.ONofollow // what /proc/self/fd/N is would be the last link not to follow, open(2)
	}
	f.open(fd, f.ShownAs(fd.GetId()), path, flags, reg.GetPos())
	f.Owner(fd, reg.GetFown())
}

// open opens a path with the flags and the position that the description had.
func (f *Descriptors) open(fd *pb.FdinfoEntry, what, path string, statusFlags uint32, pos uint64) {
	flags := uint64(statusFlags) &^ (uapi.OCreat | uapi.OExcl | uapi.OTrunc)
	if flags&uapi.OTmpfile == uapi.OTmpfile { // with which it was made
		flags &^= uapi.OTmpfile
	}
	f.Create(fd, what, uapi.SysOpenat, uapi.AtFdcwd, f.Prog.Arena.String(path), flags|uapi.ONoctty)
	if pos != 0 && flags&uapi.OPath == 0 {
		f.Prog.Want(int64(pos), what, uapi.SysLseek, uint64(fd.GetFd()), pos, uapi.SeekSet)
	}
}

// eventfd makes an eventfd and then writes its counter.
func (f *Descriptors) eventfd(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	e := file.GetEfd()
	f.Create(fd, "eventfd", uapi.SysEventfd2, 0, uint64(e.GetFlags()&(uapi.ONonblock|uapi.EfdSemaphore)))
	if e.GetCounter() != 0 { // the argument of eventfd2 has only 32 bits
		f.Prog.Want(8, "counter of the eventfd", uapi.SysWrite, uint64(fd.GetFd()),
			f.Prog.Arena.Words(e.GetCounter()),
			8)
	}
	f.Owner(fd, e.GetFown())
}

func (f *Descriptors) epoll(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	e := file.GetEpfd()
	f.Create(fd, "epoll", uapi.SysEpollCreate1, 0)
	f.SetFlags(fd, e.GetFlags())
	f.Owner(fd, e.GetFown())
}

func (f *Descriptors) signalfd(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	s := file.GetSgfd()
	f.Create(fd, "signalfd", uapi.SysSignalfd4, ^uint64(0), f.Prog.Arena.Words(s.GetSigmask()), 8,
		uint64(s.GetFlags()&uapi.ONonblock))
	f.Owner(fd, s.GetFown())
}

// CloseOthers leaves no descriptor but the application's, close_range(2).
func (f *Descriptors) CloseOthers() {
	var own []int
	for _, fd := range f.Img.Fds {
		own = append(own, int(fd.GetFd()))
	}
	slices.Sort(own)
	next := 0
	for _, fd := range own {
		if fd > next {
			f.Prog.Sys("not the application's", uapi.SysCloseRange, uint64(next), uint64(fd-1), 0)
		}
		next = fd + 1
	}
	f.Prog.Sys("not the application's", uapi.SysCloseRange, uint64(next), 0xffffffff, 0)
}

// Filesystem restores working directory, root and umask. A new root leaves the working directory, chroot(2).
func (t *Descriptors) Filesystem() {
	p := t.Prog
	t.workingDirectory(t.Img.Fs.GetCwdId(), t.Where()+" working directory")
	root, ok := t.regular(t.Img.Fs.GetRootId(), t.Where()+" root directory")
	if ok && root != "/" {
		p.Sys("root directory "+root, uapi.SysChroot, p.Arena.String(root))
	}
	if t.Img.Fs.Umask != nil {
		p.Sys("umask", uapi.SysUmask, uint64(t.Img.Fs.GetUmask()))
	}
}

// workingDirectory goes to a task's directory. That can be /proc/PID of a process that has ended, which no path leads
// to.
func (t *Descriptors) workingDirectory(id uint32, where string) {
	if pid := t.endedProcess(id); pid != 0 {
		t.enterEnded(pid, t.Dir.Files[id].GetReg().GetName(), where)
		return
	}
	if path, ok := t.PathOf(id, where); ok {
		fd := t.Fds.Scratch()
		t.Prog.Open(fd, true, "working directory "+t.ShownAs(id), uapi.SysOpenat, uapi.AtFdcwd,
			t.Prog.Arena.String(path), uapi.OPath|uapi.ODirectory)
		t.Prog.Sys("working directory", uapi.SysFchdir, uint64(fd))
	}
}

// afterHooks defers an operation on a description until the last hook has run; of a shared one, to the first task that
// has it.
func (f *Descriptors) afterHooks(fd *pb.FdinfoEntry, planned func(prog *plan.Program, number uint64)) {
	if f.Prog == f.Shared {
		f.HandOver(fd.GetId(), job.PhaseTimers, planned)
		return
	}
	f.Later(job.PhaseTimers, func(prog *plan.Program) { planned(prog, uint64(fd.GetFd())) })
}
