package restorer

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	sk_opts "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-opts"
	sk_unix "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-unix"

	"github.com/crpie/crpie/internal/abi"
)

// unixSocket is one unix socket on its way: it is made at a scratch number, and its descriptors are copies of that.
type unixSocket struct {
	*sk_unix.UnixSkEntry
	number int
	where  string // for messages about the images
	what   string // for messages about operations
	made   bool
}

// unixPlanner makes the unix sockets of one task, or those that tie tasks together, in the order in which programs
// make them: names, connections, what was sent, shutdown, options. A connection with a name is made through a listener
// with that name, which gives the accepted end its name; other pairs are made by socketpair(2).
type unixPlanner struct {
	*filePlanner
	list       []*unixSocket // by inode: the order in which they had been made
	byID       map[uint32]*unixSocket
	byIno      map[uint32]*unixSocket
	temps      map[string]*unixSocket // listeners that are there only while connections are made, by name
	deliveries []delivery
	extra      []int // scratch numbers of ends that nobody has
}

// collectSockets makes every unix socket at a scratch number, and its connections.
func (f *filePlanner) collectSockets() {
	u := &unixPlanner{
		filePlanner: f, byID: map[uint32]*unixSocket{}, byIno: map[uint32]*unixSocket{}, temps: map[string]*unixSocket{},
	}
	f.unix = u
	for _, fd := range f.order {
		e := f.dir.Files[fd.GetId()].GetUsk()
		_, shared := f.sharedFDs[fd.GetId()]
		if fd.GetType() != fdinfo.FdTypes_UNIXSK || e == nil || shared {
			continue
		}
		s := &unixSocket{UnixSkEntry: e, number: f.fds.scratch(), where: f.fdWhere(fd), what: socketName(e)}
		u.byID[fd.GetId()] = s
		if u.check(s) {
			u.list = append(u.list, s)
			u.byIno[e.GetIno()] = s
		}
	}
	slices.SortStableFunc(u.list, func(a, b *unixSocket) int { return cmp.Compare(a.GetIno(), b.GetIno()) })
	u.standalone()
	u.pairs()
	u.waiting()
	u.datagrams()
}

// socketName is for people.
func socketName(e *sk_unix.UnixSkEntry) string {
	name := strings.TrimSuffix(string(e.GetName()), "\x00")
	switch {
	case name == "":
		return fmt.Sprintf("unix socket %d", e.GetIno())
	case name[0] == 0:
		return fmt.Sprintf("unix socket %q", "@"+name[1:])
	}
	return fmt.Sprintf("unix socket %q", name)
}

// check refuses what is not understood about a single socket.
func (u *unixPlanner) check(s *unixSocket) bool {
	const sunPath = 108 // sizeof(sun_path), unix(7)
	before := u.planner.Len()
	switch s.GetType() {
	case sockStream, sockDgram, sockSeqpacket:
	default:
		u.refuse(s.where, "", "unix socket of type %d: not supported", s.GetType())
	}
	if s.GetUflags() != 0 {
		u.refuse(s.where, "", "%s was dumped as external (--ext-unix-sk): not supported", s.what)
	}
	if len(s.GetName()) > sunPath {
		u.refuse(s.where, "", "the name of the socket has %d bytes, more than %d", len(s.GetName()), sunPath)
	}
	if u.byIno[s.GetIno()] != nil {
		u.refuse(s.where, "", "%s: another file has its inode %d", s.what, s.GetIno())
	}
	u.checkPath(s)
	return u.planner.Len() == before
}

// hasPath: the name is one in the file system.
func (s *unixSocket) hasPath() bool { return len(s.GetName()) > 0 && s.GetName()[0] != 0 }

// path is absolute.
func (s *unixSocket) path() string {
	name := strings.TrimSuffix(string(s.GetName()), "\x00")
	if path.IsAbs(name) {
		return name
	}
	return path.Join(s.GetNameDir(), name)
}

func (s *unixSocket) sameName(o *unixSocket) bool {
	return string(s.GetName()) == string(o.GetName()) && s.GetNameDir() == o.GetNameDir()
}

func (s *unixSocket) isStream() bool { return s.GetType() != sockDgram }

// checkPath: the name must be free, or that of a socket that nobody has open any more.
func (u *unixPlanner) checkPath(s *unixSocket) {
	if len(s.GetName()) == 0 {
		return
	}
	if u.host.UnixName(strings.TrimSuffix(string(s.GetName()), "\x00")) {
		u.refuse(s.where, "end the process that has it", "the name of %s is in use", s.what)
	}
	if !s.hasPath() {
		return
	}
	for _, t := range u.dir.Tasks {
		if root := u.dir.Files[t.Fs.GetRootId()].GetReg(); t.Fs != nil && root.GetName() != "/" {
			u.refuse(s.where, "", "%s in a tree with root directory %s: not supported", s.what, root.GetName())
			return
		}
	}
	name := s.path()
	if !path.IsAbs(name) {
		u.refuse(s.where, "", "%s: the directory of its name was not dumped", s.what)
		return
	}
	if dir, err := u.host.Stat(path.Dir(name)); err != nil || !dir.IsDir() {
		u.refuse(s.where, "make the directory again", "%s is no directory, which %s needs", path.Dir(name), s.what)
		return
	}
	info, err := u.host.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		u.refuse(s.where, "", "%v", err)
	case info.Mode()&fs.ModeSocket == 0:
		u.refuse(s.where, "move it away", "%s is in the way of a socket: it is none itself", name)
	case s.GetDeleted():
		u.refuse(s.where, "remove it", "%s is in the way of a socket that had been deleted", name)
	}
}

func (u *unixPlanner) create(s *unixSocket) {
	u.prog.open(s.number, true, s.what, sysSocket, afUnix, uint64(s.GetType())|oNonblock, 0)
	s.made = true
}

// address lays out the sockaddr_un. A relative name is looked up from the directory it was used in; the task's own
// working directory comes later.
func (u *unixPlanner) address(s *unixSocket) (addr, size uint64) {
	if s.hasPath() && s.GetName()[0] != '/' {
		u.prog.sys("directory of "+s.what, sysChdir, u.prog.arena.string(s.GetNameDir()))
	}
	b := append(binary.LittleEndian.AppendUint16(nil, afUnix), s.GetName()...)
	return u.prog.arena.bytes(b), uint64(len(b))
}

// bind gives a socket its name. What has that path is a socket nobody has open: checkPath has looked.
func (u *unixPlanner) bind(s *unixSocket) {
	if len(s.GetName()) == 0 {
		return
	}
	if s.hasPath() {
		if _, err := u.host.Stat(s.path()); err == nil {
			u.prog.sys("left over from before", sysUnlink, u.prog.arena.string(s.path()))
		} else {
			u.plan.Sockets = append(u.plan.Sockets, s.path())
		}
	}
	addr, size := u.address(s)
	u.prog.sys(s.what, sysBind, uint64(s.number), addr, size)
	if perms := s.GetFilePerms(); s.hasPath() && perms != nil {
		file := u.prog.arena.string(s.path())
		u.prog.sys(s.what, sysLchown, file, uint64(perms.GetUid()), uint64(perms.GetGid()))
		u.prog.sys(s.what, sysChmod, file, uint64(perms.GetMode()&0o7777))
	}
}

func (u *unixPlanner) connect(s, to *unixSocket) {
	addr, size := u.address(to)
	u.prog.sys(s.what+" to "+to.what, sysConnect, uint64(s.number), addr, size)
}

// mutual is the socket at the other end, if that is where the other one is connected, too.
func (u *unixPlanner) mutual(s *unixSocket) *unixSocket {
	other := u.byIno[s.GetPeer()]
	if s.GetPeer() == 0 || other == nil || other == s || other.GetPeer() != s.GetIno() || other.GetType() != s.GetType() {
		return nil
	}
	return other
}

// orphan: the other end has been closed.
func (u *unixPlanner) orphan(s *unixSocket) bool {
	if s.isStream() {
		return s.GetPeer() == 0 && s.GetState() == tcpEstablished
	}
	return s.GetPeer() == 0 && len(s.GetName()) == 0 && len(u.queue(s)) > 0
}

// standalone makes the sockets that are no end of a connection: with a name or without, listening or not.
func (u *unixPlanner) standalone() {
	for _, s := range u.list {
		if u.mutual(s) != nil || u.orphan(s) {
			continue
		}
		u.create(s)
		u.bind(s)
		if s.GetState() == tcpListen && s.isStream() {
			u.prog.sys(s.what, sysListen, uint64(s.number), uint64(s.GetBacklog()))
		}
	}
}

// pairs makes the connections. Of one whose other end is closed, that end is made for what it has sent.
func (u *unixPlanner) pairs() {
	for _, s := range u.list {
		switch other := u.mutual(s); {
		case s.made:
		case other != nil:
			u.pair(s, other)
			u.send(other, s)
			u.send(s, other)
		case u.orphan(s):
			closed := &unixSocket{
				UnixSkEntry: &sk_unix.UnixSkEntry{Type: s.Type}, number: u.fds.scratch(), what: "closed end of " + s.what,
			}
			u.pair(closed, s)
			u.send(closed, s)
			u.extra = append(u.extra, closed.number)
		}
	}
	for _, name := range u.tempNames() {
		u.prog.sys("", sysClose, uint64(u.temps[name].number))
	}
}

func (u *unixPlanner) tempNames() []string {
	var names []string
	for name := range u.temps {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// pair connects two sockets; of two with names the younger one had been accepted.
func (u *unixPlanner) pair(a, b *unixSocket) {
	client, server := a, b
	if len(server.GetName()) == 0 {
		client, server = b, a
	}
	if len(server.GetName()) == 0 || !server.isStream() {
		u.prog.core(abi.OpSocketpair, a.what, uint64(a.GetType())|oNonblock, uint64(a.number), uint64(b.number))
		u.bind(a)
		u.bind(b)
	} else {
		listener := u.listener(server)
		u.create(client)
		u.bind(client)
		u.connect(client, listener)
		u.prog.open(server.number, true, server.what, sysAccept4, uint64(listener.number), 0, 0, oNonblock)
	}
	a.made, b.made = true, true
}

// listener finds the one that had accepted s, or makes one.
func (u *unixPlanner) listener(s *unixSocket) *unixSocket {
	for _, l := range u.list {
		if l.GetState() == tcpListen && l.GetType() == s.GetType() && l.sameName(s) {
			return l
		}
	}
	key := fmt.Sprintf("%d %s %s", s.GetType(), s.GetNameDir(), s.GetName())
	if u.temps[key] == nil {
		l := &unixSocket{UnixSkEntry: s.UnixSkEntry, number: u.fds.scratch(), what: "listener for " + s.what}
		u.temps[key] = l
		u.create(l)
		u.bind(l)
		u.prog.sys(l.what, sysListen, uint64(l.number), 0)
	}
	return u.temps[key]
}

// waiting connects what has not been accepted yet.
func (u *unixPlanner) waiting() {
	for _, s := range u.list {
		if !s.isStream() || s.GetPeer() == 0 || u.mutual(s) != nil {
			continue
		}
		listener := u.byIno[s.GetPeer()]
		if listener == nil || listener.GetState() != tcpListen || listener.GetType() != s.GetType() || listener.GetDeleted() {
			u.refuse(s.where, "", "%s is connected to socket %d, which was not dumped: not supported", s.what, s.GetPeer())
			continue
		}
		if len(u.queue(s)) > 0 {
			u.refuse(s.where, "", "%s has data from a connection that was not accepted: not supported", s.what)
		}
		u.connect(s, listener)
	}
}

// datagrams fills the queues of datagram sockets that many can send to, by their names, then connects the senders.
func (u *unixPlanner) datagrams() {
	for _, s := range u.list {
		if s.isStream() || u.mutual(s) != nil || u.orphan(s) || len(u.queue(s)) == 0 {
			continue
		}
		if len(s.GetName()) == 0 {
			u.refuse(s.where, "", "%s has data, but no name to send it to: not supported", s.what)
			continue
		}
		sender := &unixSocket{
			UnixSkEntry: &sk_unix.UnixSkEntry{Type: s.Type}, number: u.fds.scratch(), what: "sender to " + s.what,
		}
		u.create(sender)
		u.connect(sender, s)
		u.send(sender, s)
		u.extra = append(u.extra, sender.number)
	}
	for _, s := range u.list {
		if s.isStream() || s.GetPeer() == 0 || u.mutual(s) != nil {
			continue
		}
		if to := u.byIno[s.GetPeer()]; to == nil || to.isStream() || len(to.GetName()) == 0 || to.GetPeer() != 0 {
			u.refuse(s.where, "", "%s sends to socket %d, which was not dumped or cannot be reached by name: not supported",
				s.what, s.GetPeer())
		} else {
			u.connect(s, to)
		}
	}
}

// finishSockets: every descriptor exists, so queues are filled. Names that had been deleted are, every socket is closed to
// what it was closed to, and scratch numbers are given back.
func (f *filePlanner) finishSockets() {
	u := f.unix
	for _, d := range u.deliveries {
		u.deliver(d)
	}
	deleted := map[string]bool{}
	for _, s := range u.list {
		if s.hasPath() && s.GetDeleted() && !deleted[s.path()] {
			deleted[s.path()] = true
			u.prog.sys(s.what+" had been deleted", sysUnlink, u.prog.arena.string(s.path()))
		}
		if how := s.GetShutdown(); how <= sk_opts.SkShutdown_BOTH {
			u.shutdownSocket(s.number, s.what, how)
		}
		u.socketOptions(s.number, s.what, s.GetOpts())
		u.extra = append(u.extra, s.number)
	}
	slices.Sort(u.extra)
	for _, number := range u.extra {
		u.prog.sys("", sysClose, uint64(number))
	}
}

// unixSocket gives a description the socket that was made for it.
func (f *filePlanner) unixSocket(fd *fdinfo.FdinfoEntry, e *sk_unix.UnixSkEntry) {
	s := f.unix.byID[fd.GetId()]
	if s == nil {
		f.refuse(f.fdWhere(fd), "", "file %#x of files.img is no unix socket", fd.GetId())
		return
	}
	f.create(fd, s.what, sysFcntl, uint64(s.number), 0 /* F_DUPFD */, uint64(s.number))
	f.socketFlags(fd, e.GetFlags())
	f.owner(fd, e.GetFown())
}
