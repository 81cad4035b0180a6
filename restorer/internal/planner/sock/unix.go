package sock

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
)

// unixSocket is one unix socket on its way: it is made at a scratch number, and its descriptors are copies of that.
type unixSocket struct {
	*pb.UnixSkEntry
	number    int
	where     string // for messages about the images
	what      string // for messages about operations
	path      string // absolute, of the file that it has or had; "" without one
	byPath    int    // a descriptor of that file, for connections; 0: none
	made      bool
	connected bool // a datagram socket that is connected, or about to be
}

// unixPlanner makes the unix sockets of one task, or those that connect tasks, in the order in which programs
// make them: names, connections, what was sent, shutdown, options. A connection with a name is made through a listener
// with that name, which gives the accepted end its name; other pairs are made by socketpair(2).
type unixPlanner struct {
	*descriptors
	list       []*unixSocket // by inode: the order in which they had been made
	byID       map[uint32]*unixSocket
	byIno      map[uint32]*unixSocket
	to         map[uint32][]*unixSocket // sockets that are connected to an inode
	listeners  map[string]*unixSocket   // by listenerKey
	temps      []*unixSocket            // listeners that are there only while connections are made
	paths      map[string]*unixSocket   // sockets by the path that they have now
	deliveries []delivery
	extra      []int // scratch numbers that are closed in the end
	private    privateFS
}

// Collect makes every unix socket at a scratch number, and its connections.
func (u *unixPlanner) Collect() {
	for _, fd := range u.Order {
		e := u.Dir.Files[fd.GetId()].GetUsk()
		_, shared := u.SharedFDs[fd.GetId()]
		if fd.GetType() != pb.FdTypes_UNIXSK || e == nil || shared {
			continue
		}
		s := &unixSocket{UnixSkEntry: e, number: u.Fds.Scratch(), where: u.FdWhere(fd), what: socketName(e),
			path: unixPath(e)}
		u.byID[fd.GetId()] = s
		if u.check(s) {
			u.list = append(u.list, s)
			u.byIno[e.GetIno()] = s
			u.to[e.GetPeer()] = append(u.to[e.GetPeer()], s)
		}
	}
	slices.SortStableFunc(u.list, func(a, b *unixSocket) int { return cmp.Compare(a.GetIno(), b.GetIno()) })
	u.standalone()
	u.pairs()
	u.waiting()
}

// check refuses a single socket that cannot be restored.
func (u *unixPlanner) check(s *unixSocket) bool {
	before := u.Len()
	switch s.GetType() {
	case uapi.SockStream, uapi.SockDgram, uapi.SockSeqpacket:
	default:
		u.Refuse(s.where, "", "unix socket of type %d: not supported", s.GetType())
	}
	u.checkMarked(s)
	if n := len(unixName(s.UnixSkEntry)); n > sunPath {
		u.Refuse(s.where, "", "the name of the socket has %d bytes, more than %d", n, sunPath)
	}
	if u.byIno[s.GetIno()] != nil {
		u.Refuse(s.where, "", "%s: another file has its inode %d", s.what, s.GetIno())
	}
	u.checkName(s)
	return u.Len() == before
}

func (s *unixSocket) isStream() bool { return s.GetType() != uapi.SockDgram }

// mutual is the socket at the other end, if that is where the other one is connected, too. To datagram sockets that
// have each other as peer others may have been connected before; such are not a pair.
func (u *unixPlanner) mutual(s *unixSocket) *unixSocket {
	other := u.byIno[s.GetPeer()]
	if s.GetPeer() == 0 || other == nil || other == s || other.GetPeer() != s.GetIno() ||
		other.GetType() != s.GetType() {
		return nil
	}
	if !s.isStream() && len(u.to[s.GetIno()])+len(u.to[other.GetIno()]) > 2 {
		return nil
	}
	return other
}

// orphan: the other end has been closed. A datagram socket with a name may just have been sent to.
func (u *unixPlanner) orphan(s *unixSocket) bool {
	if s.GetPeer() != 0 {
		return false
	}
	if s.isStream() {
		return s.GetState() == uapi.TcpEstablished
	}
	return len(s.GetName()) == 0 && (s.GetState() == uapi.TcpEstablished || len(u.queue(s)) > 0)
}

// standalone makes the sockets that have no peer: with a name or without, listening or not.
func (u *unixPlanner) standalone() {
	for _, s := range u.list {
		if u.mutual(s) != nil || u.orphan(s) {
			continue
		}
		if s.isStream() || len(u.queue(s)) == 0 {
			u.open(s)
		} else {
			u.createSentTo(s)
		}
		u.bind(s)
		if s.GetState() == uapi.TcpListen && s.isStream() {
			u.Prog.Sys(s.what, uapi.SysListen, uint64(s.number), uint64(s.GetBacklog()))
			u.listeners[listenerKey(s)] = s
		}
	}
}

func (u *unixPlanner) open(s *unixSocket) {
	u.Prog.Open(s.number, true, s.what, uapi.SysSocket, uapi.AfUnix, uint64(s.GetType())|uapi.ONonblock, 0)
	s.made = true
}

// otherEnd is an end that is there for what it sends, and closed then.
func (u *unixPlanner) otherEnd(s *unixSocket, what string) *unixSocket {
	end := &unixSocket{UnixSkEntry: &pb.UnixSkEntry{Type: s.Type}, number: u.Fds.Scratch(), what: what + s.what}
	u.extra = append(u.extra, end.number)
	u.send(end, s)
	return end
}

// createSentTo makes a datagram socket to which one end is connected that can fill its queue. It is itself disconnected
// again, by connecting to AF_UNSPEC: others may send to it, and it may be connected elsewhere, connect(2).
func (u *unixPlanner) createSentTo(s *unixSocket) {
	u.socketpair(u.otherEnd(s, "sender to "), s)
	unspec := u.Prog.Arena.Bytes([]byte{0, 0})
	u.Prog.Sys(s.what+" is not connected", uapi.SysConnect, uint64(s.number), unspec, 2)
}

func (u *unixPlanner) socketpair(a, b *unixSocket) {
	u.Prog.Core(b.what, abi.Socketpair{Type: uint64(b.GetType()) | uapi.ONonblock, First: uint64(a.number),
		Second: uint64(b.number)})
	a.made, b.made = true, true
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
			u.pair(u.otherEnd(s, "closed end of "), s)
		}
	}
	for _, l := range u.temps {
		u.Prog.Sys("", uapi.SysClose, uint64(l.number))
	}
}

// pair connects two sockets; of two with names the younger one had been accepted.
func (u *unixPlanner) pair(a, b *unixSocket) {
	client, server := a, b
	if len(server.GetName()) == 0 {
		client, server = b, a
	}
	if len(server.GetName()) == 0 || !server.isStream() {
		u.socketpair(a, b)
		u.bind(a)
		u.bind(b)
		return
	}
	listener := u.listener(server)
	u.open(client)
	u.bind(client)
	u.connect(client, listener)
	u.Prog.Open(server.number, true, server.what, uapi.SysAccept4, uint64(listener.number), 0, 0, uapi.ONonblock)
	server.made = true
}

// listenerKey is the same for a listener and what it has accepted.
func listenerKey(s *unixSocket) string {
	return fmt.Sprintf("%d %t %s %s", s.GetType(), s.GetDeleted(), s.GetNameDir(), s.GetName())
}

// listener finds the one that had accepted s, or makes one.
func (u *unixPlanner) listener(s *unixSocket) *unixSocket {
	if l := u.listeners[listenerKey(s)]; l != nil {
		return l
	}
	e := &pb.UnixSkEntry{
		Ino: s.Ino, Type: s.Type, State: pb.Uint32(uapi.TcpListen), Name: s.Name, NameDir: s.NameDir,
		Deleted: s.Deleted, FilePerms: s.FilePerms,
	}
	l := &unixSocket{UnixSkEntry: e, number: u.Fds.Scratch(), where: s.where, what: "listener for " + s.what,
		path: s.path}
	u.open(l)
	u.bind(l)
	u.Prog.Sys(l.what, uapi.SysListen, uint64(l.number), 0)
	u.temps = append(u.temps, l)
	u.listeners[listenerKey(s)] = l
	return l
}

// waiting connects what has not been accepted yet.
func (u *unixPlanner) waiting() {
	for _, s := range u.list {
		if !s.isStream() || s.GetPeer() == 0 || u.mutual(s) != nil {
			continue
		}
		listener := u.peer(s)
		if listener == nil {
			continue
		}
		if listener.number != 0 && (listener.GetState() != uapi.TcpListen ||
			listener.GetType() != s.GetType()) {
			u.Refuse(s.where, "", "%s is connected to %s, which does not listen: the images contradict themselves", s.what,
				listener.what)
			continue
		}
		if len(u.queue(s)) > 0 {
			u.Refuse(s.where, "", "%s has data from a connection that was not accepted: not supported",
				s.what)
		}
		u.connect(s, listener)
	}
}

// datagrams connects datagram sockets.
func (u *unixPlanner) datagrams() {
	for _, s := range u.list {
		if !s.isStream() && s.GetPeer() != 0 && u.mutual(s) == nil {
			u.connectDatagram(s)
		}
	}
}

// connectDatagram connects a datagram socket after all that are connected to it: only its peer may connect to one that
// has a peer already, unix(7).
func (u *unixPlanner) connectDatagram(s *unixSocket) {
	if s.connected || s.GetPeer() == 0 {
		return
	}
	s.connected = true
	for _, sender := range u.to[s.GetIno()] {
		u.connectDatagram(sender)
	}
	to := u.peer(s)
	switch {
	case to == nil:
	case to.isStream() || len(to.GetName()) == 0:
		u.Refuse(s.where, "", "%s sends to %s, which cannot be reached by name: not supported", s.what, to.what)
	default:
		u.connect(s, to)
	}
}

// Finish: every descriptor exists, so queues are filled. Then every socket is closed to what it was closed to, and
// scratch numbers are given back.
func (u *unixPlanner) Finish() {
	for _, d := range u.deliveries {
		u.deliver(d)
	}
	u.datagrams()
	for _, s := range u.list {
		if how := s.GetShutdown(); how <= pb.SkShutdown_BOTH {
			u.shutdownSocket(s.number, s.what, how)
		}
		u.socketOptions(s.number, s.what, s.GetOpts())
		u.extra = append(u.extra, s.number)
	}
	slices.Sort(u.extra)
	for _, number := range u.extra {
		u.Prog.Sys("", uapi.SysClose, uint64(number))
	}
}

// Describe gives a description the socket that was made for it.
func (u *unixPlanner) Describe(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	s := u.byID[fd.GetId()]
	if s == nil {
		u.Refuse(u.FdWhere(fd), "", "file %#x of files.img is not a unix socket", fd.GetId())
		return
	}
	u.Descriptors.Create(fd, s.what, uapi.SysFcntl, uint64(s.number), 0 /* F_DUPFD */, uint64(s.number))
	u.socketFlags(fd, file.GetUsk().GetFlags())
	u.Owner(fd, file.GetUsk().GetFown())
}
