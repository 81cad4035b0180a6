package restorer

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/tty"

	"github.com/crpie/crpie/images"
)

// files plans descriptors, working directory, root and umask. Until its end the task still has the descriptors it
// inherited; after it, only the application's.
func (t *filePlanner) files() {
	if sharesFiles(t.img, t.img.Parent) {
		t.sharedFiles()
		return
	}
	sharers := t.sharers()
	for _, other := range sharers {
		t.follow(fmt.Sprintf("task %d needs the restorer's descriptors no more", other.Pid), other, markOwnFiles)
	}
	f := newFilePlanner(t)
	t.oomScore()
	t.loginUID()
	f.saveTerminal()
	f.collectPipes()
	f.collectSockets()
	for _, first := range f.order {
		f.description(first)
	}
	for _, do := range f.lastOfAll {
		do()
	}
	if t.givesLate() {
		t.mark("it has what others take from it", markLate)
	}
	f.finishPipes()
	f.finishSockets()
	f.mapRings()
	f.epolls()
	for _, seal := range t.sealLater[t.img.Pid] {
		seal(t.prog)
	}
	t.filesystem()
	f.closeOthers()
	if len(sharers) > 0 {
		t.mark("the descriptors are the application's", markFiles)
	}
	t.locks()
}

// sharedFiles is files for a task whose descriptor table is that of an ancestor, CLONE_FILES of clone(2): the ancestor
// restores the descriptors, when nobody uses others any more.
func (t *filePlanner) sharedFiles() {
	t.oomScore()
	t.loginUID()
	for _, seal := range t.sealLater[t.img.Pid] {
		seal(t.prog)
	}
	t.filesystem()
	t.mark("it needs the restorer's descriptors no more", markOwnFiles)
	owner := t.img
	for sharesFiles(owner, owner.Parent) {
		owner = owner.Parent
	}
	t.follow("the descriptors are the application's", owner, markFiles)
	newFilePlanner(t).mapRings()
	t.locks()
}

// sharers lists the descendants that have the descriptor table of this task.
func (t *filePlanner) sharers() (all []*images.Task) {
	for _, other := range t.dir.Tasks {
		if other != t.img && sharesFiles(other, t.img) {
			all = append(all, other)
		}
	}
	return all
}

// filePlanner plans the descriptors of one task.
type filePlanner struct {
	*taskPlanner
	order     []*fdinfo.FdinfoEntry            // the first descriptor of each open file description
	byFile    map[uint32][]*fdinfo.FdinfoEntry // all of them, by file id
	pipes     map[uint32]*pipeEnds
	unix      *unixPlanner
	lastOfAll []func() // descriptions that need the others
	terminal  int      // where crpie's terminal is kept, -1: nowhere
}

func newFilePlanner(t *taskPlanner) *filePlanner {
	f := &filePlanner{taskPlanner: t, byFile: map[uint32][]*fdinfo.FdinfoEntry{}, pipes: map[uint32]*pipeEnds{}}
	for _, fd := range t.img.Fds {
		if f.byFile[fd.GetId()] == nil {
			f.order = append(f.order, fd)
		}
		f.byFile[fd.GetId()] = append(f.byFile[fd.GetId()], fd)
	}
	return f
}

// fdWhere names a descriptor for messages. The zygote has numbers of its own.
func (f *filePlanner) fdWhere(fd *fdinfo.FdinfoEntry) string {
	if f.prog == f.shared {
		return cmp.Or(f.opened()[fd.GetId()], fmt.Sprintf("file %#x in flight", fd.GetId()))
	}
	return fmt.Sprintf("%s fd %d", f.where(), fd.GetFd())
}

func cloexec(fd *fdinfo.FdinfoEntry) bool { return fd.GetFlags()&fdCloexec != 0 }

// description restores one open file description and all its descriptors.
func (f *filePlanner) description(fd *fdinfo.FdinfoEntry) {
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
	switch fd.GetType() {
	case fdinfo.FdTypes_REG:
		f.regularFile(fd, file)
	case fdinfo.FdTypes_NS:
		f.namespaceFile(fd, file)
	case fdinfo.FdTypes_PIPE:
		f.pipeEnd(fd, file)
	case fdinfo.FdTypes_EVENTFD:
		f.eventfd(fd, file)
	case fdinfo.FdTypes_EVENTPOLL:
		e := file.GetEpfd()
		f.create(fd, "epoll", sysEpollCreate1, 0)
		f.setFlags(fd, e.GetFlags())
		f.owner(fd, e.GetFown())
	case fdinfo.FdTypes_TIMERFD:
		f.timerfd(fd, file)
	case fdinfo.FdTypes_SIGNALFD:
		s := file.GetSgfd()
		f.create(fd, "signalfd", sysSignalfd4, ^uint64(0), f.prog.arena.words(s.GetSigmask()), 8, uint64(s.GetFlags()&oNonblock))
		f.owner(fd, s.GetFown())
	case fdinfo.FdTypes_TTY:
		f.tty(fd)
	case fdinfo.FdTypes_PIDFD:
		f.pidfd(fd, file)
	case fdinfo.FdTypes_INOTIFY:
		f.inotify(fd, file)
	case fdinfo.FdTypes_FANOTIFY:
		f.fanotify(fd, file)
	case fdinfo.FdTypes_FIFO:
		f.fifo(fd, file)
	case fdinfo.FdTypes_MEMFD:
		f.memfd(fd, file)
	case fdinfo.FdTypes_UNIXSK:
		f.unixSocket(fd, file.GetUsk())
	case fdinfo.FdTypes_INETSK:
		f.inetSocket(fd, file.GetIsk())
	case fdinfo.FdTypes_NETLINKSK:
		f.netlinkSocket(fd, file.GetNlsk())
	case fdinfo.FdTypes_PACKETSK:
		f.packetSocket(fd, file.GetPsk())
	default:
		f.refuse(f.fdWhere(fd), "", "%s: not supported", kindName(fd.GetType()))
		return
	}
	f.duplicates(fd)
}

// fromZygote takes a description that the zygote has made.
func (f *filePlanner) fromZygote(fd *fdinfo.FdinfoEntry, number int) {
	f.create(fd, "shared with other tasks", sysFcntl, uint64(number), 0 /* F_DUPFD */, uint64(number))
	f.duplicates(fd)
	if o := f.sharedOwners[fd.GetId()]; o != nil {
		f.owned = append(f.owned, owned{fd.GetFd(), o})
		delete(f.sharedOwners, fd.GetId())
	}
	if arm := f.armShared[fd.GetId()]; arm != nil {
		arm(f, uint64(fd.GetFd()))
		delete(f.armShared, fd.GetId())
	}
}

var kindNames = map[fdinfo.FdTypes]string{
	fdinfo.FdTypes_UNIXSK: "unix socket", fdinfo.FdTypes_TUNF: "tun/tap device",
	fdinfo.FdTypes_EXT: "external file", fdinfo.FdTypes_BPFMAP: "BPF map",
}

func kindName(t fdinfo.FdTypes) string {
	if name := kindNames[t]; name != "" {
		return name
	}
	return fmt.Sprintf("file of unknown kind %d", t)
}

// create adds a system call whose result becomes the descriptor.
func (f *filePlanner) create(fd *fdinfo.FdinfoEntry, what string, nr uint64, args ...uint64) {
	f.prog.open(int(fd.GetFd()), cloexec(fd), what, nr, args...)
}

// duplicates: the other descriptors of the same description, dup(2).
func (f *filePlanner) duplicates(first *fdinfo.FdinfoEntry) {
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
func (f *filePlanner) setFlags(fd *fdinfo.FdinfoEntry, flags uint32) {
	if flags &^= oAccmode | oCloexec | oLargefile; flags != 0 {
		f.prog.sys("status flags", sysFcntl, uint64(fd.GetFd()), fSetfl, uint64(flags))
	}
}

func (f *filePlanner) regularFile(fd *fdinfo.FdinfoEntry, file *fdinfo.FileEntry) {
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
	flags := reg.GetFlags()
	if f.namelessOf(fd.GetId()) != "" {
		flags &^= oNofollow // what /proc/self/fd/N is would be the last link not to follow, open(2)
	}
	f.open(fd, f.shownAs(fd.GetId()), path, flags, reg.GetPos())
	f.owner(fd, reg.GetFown())
}

// open opens a path with the flags and the position that the description had.
func (f *filePlanner) open(fd *fdinfo.FdinfoEntry, what, path string, statusFlags uint32, pos uint64) {
	flags := uint64(statusFlags) &^ (oCreat | oExcl | oTrunc)
	if flags&oTmpfile == oTmpfile { // with which it was made
		flags &^= oTmpfile
	}
	f.create(fd, what, sysOpenat, atFdcwd, f.prog.arena.string(path), flags|oNoctty)
	if pos != 0 && flags&oPath == 0 {
		f.prog.want(int64(pos), what, sysLseek, uint64(fd.GetFd()), pos, 0 /* SEEK_SET */)
	}
}

func (f *filePlanner) eventfd(fd *fdinfo.FdinfoEntry, file *fdinfo.FileEntry) {
	const efdSemaphore = 1
	e := file.GetEfd()
	f.create(fd, "eventfd", sysEventfd2, 0, uint64(e.GetFlags()&(oNonblock|efdSemaphore)))
	if e.GetCounter() != 0 { // the argument of eventfd2 has only 32 bits
		f.prog.want(8, "counter of the eventfd", sysWrite, uint64(fd.GetFd()), f.prog.arena.words(e.GetCounter()), 8)
	}
	f.owner(fd, e.GetFown())
}

// saveTerminal keeps the terminal that --shell-job tasks go on with.
func (f *filePlanner) saveTerminal() {
	f.terminal = -1
	uses := slices.ContainsFunc(f.img.Fds, func(fd *fdinfo.FdinfoEntry) bool { return fd.GetType() == fdinfo.FdTypes_TTY })
	if !uses || !f.opts.ShellJob || f.host.TTY < 0 {
		return
	}
	f.terminal = f.fds.scratch()
	f.prog.open(f.terminal, true, "this terminal", sysFcntl, uint64(f.host.TTY), 0 /* F_DUPFD */, uint64(f.terminal))
}

func (f *filePlanner) tty(fd *fdinfo.FdinfoEntry) {
	file := f.dir.Files[fd.GetId()]
	switch {
	case f.dir.Ttys[file.GetTty().GetTtyInfoId()].GetType() == tty.TtyType_EXT_TTY:
		f.refuse(f.fdWhere(fd), "give it an open terminal: --inherit-fd fd[N]:"+resourceOf(f.dir, file), "terminal that was dumped as external")
	case !f.opts.ShellJob:
		f.refuse(f.fdWhere(fd), "use --shell-job to give it crpie's own terminal", "terminal: not supported")
	case f.terminal < 0:
		f.refuse(f.fdWhere(fd), "run crpie in a terminal", "terminal: crpie's standard streams are none")
	default:
		f.create(fd, "this terminal", sysFcntl, uint64(f.terminal), 0, uint64(f.terminal))
	}
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

// filesystem restores root, working directory and umask.
func (t *filePlanner) filesystem() {
	p := t.prog
	cwd, ok := t.pathOf(t.img.Fs.GetCwdId(), t.where()+" working directory")
	if !ok {
		return
	}
	fd := t.fds.scratch()
	p.open(fd, true, "working directory "+t.shownAs(t.img.Fs.GetCwdId()), sysOpenat, atFdcwd, p.arena.string(cwd), oPath|oDirectory)
	root, ok := t.regular(t.img.Fs.GetRootId(), t.where()+" root directory")
	if !ok {
		return
	}
	if root != "/" {
		p.sys("root directory "+root, sysChroot, p.arena.string(root))
	}
	p.sys("working directory", sysFchdir, uint64(fd))
	if t.img.Fs.Umask != nil {
		p.sys("umask", sysUmask, uint64(t.img.Fs.GetUmask()))
	}
}

// oomScore needs /proc, as loginUID does, so they come before the root directory changes.
func (t *filePlanner) oomScore() {
	tc := t.img.Core.GetTc()
	score := int(tc.GetOomScoreAdj())
	if tc.OomScoreAdj == nil || score == t.host.OomScoreAdj {
		return
	}
	if score < t.host.OomScoreAdj && !t.host.has(capSysResource) {
		t.refuse(t.where(), "start crpie with an oom_score_adj that is no higher, or with CAP_SYS_RESOURCE",
			"oom_score_adj %d is below crpie's own %d", score, t.host.OomScoreAdj)
		return
	}
	t.writeOwn("oom_score_adj", score)
}

// noLoginUID is the login uid of who has not logged in, audit(7).
const noLoginUID = math.MaxUint32

// loginUID restores what audit calls the task by. CRIU dumps one that is set, and nothing unsets one.
func (t *filePlanner) loginUID() {
	tc := t.img.Core.GetTc()
	uid := tc.GetLoginuid()
	if tc.Loginuid == nil || uid == noLoginUID || uid == t.host.LoginUID {
		return
	}
	if !t.host.has(capAuditControl) {
		t.refuse(t.where(), "", "audit's login uid %d is not crpie's own, and crpie lacks CAP_AUDIT_CONTROL", uid)
		return
	}
	t.writeOwn("loginuid", uid)
}

// writeOwn writes a number to a file of the task's own in /proc.
func (t *filePlanner) writeOwn(name string, value any) {
	fd, text := t.fds.scratch(), fmt.Sprint(value)
	t.prog.open(fd, true, name, sysOpenat, atFdcwd, t.prog.arena.string("/proc/self/"+name), oWronly)
	t.prog.want(int64(len(text)), name, sysWrite, uint64(fd), t.prog.arena.string(text), uint64(len(text)))
	t.prog.sys("", sysClose, uint64(fd))
}

// pipeData reads what was in a pipe.
func (f *filePlanner) pipeData(id uint32) []byte {
	data := f.dir.PipeData[id]
	if data == nil {
		return nil
	}
	return f.payload(f.where(), data.Data)
}

// payload reads data that lies in an image; images.Open has checked its size.
func (p *fileRoom) payload(where string, r images.Range) []byte {
	if r.Size == 0 {
		return nil
	}
	b, err := images.ReadRange(p.dir.FS, r)
	if err != nil {
		p.refuse(where, "", "%v", err)
	}
	return b
}
