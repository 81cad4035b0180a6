// Package clones tells what several restores of the same images have in common: what only one of them can have, what
// they would damage together, and what is each one's.
//
// It reads images only, and makes no system call. What is equal in the memory of all is not looked at.
package clones

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
)

// Verdict says who can have a thing.
type Verdict int

// The verdicts.
const (
	Each  Verdict = iota // each clone has its own
	All                  // all have it, and nothing is lost
	Mixed                // all have it, and each changes what the others have
	One                  // only one can have it: the restore of a second fails
)

// Kinds of things.
const (
	File       = "file"
	Mapping    = "mapping"
	Lock       = "lock"
	Port       = "port"
	Connection = "connection"
	Socket     = "socket"
	Terminal   = "terminal"
)

// ownNet sets apart what one network namespace cannot have twice.
const ownNet = "a network namespace for each: crpie restore --join-ns net:/run/netns/NAME, with --clones NAME%n"

// Thing is something of the images that is outside of the tasks' memory.
type Thing struct {
	Kind    string
	Verdict Verdict
	ID      uint32 // of the file; 0: it is none that is open
	Where   string // "task 7, descriptor 3"
	What    string
	Hint    string // what sets the clones apart; may be empty
}

// Namespaces says which kinds of them each clone has its own of.
type Namespaces struct {
	Net, Mounts, IPC bool
}

// Own tells it of the images alone.
func Own(d *images.Dir) Namespaces {
	return Namespaces{
		Net:    d.OwnNamespace((*pb.TaskKobjIdsEntry).GetNetNsId),
		Mounts: d.OwnNamespace((*pb.TaskKobjIdsEntry).GetMntNsId),
		IPC:    d.OwnNamespace((*pb.TaskKobjIdsEntry).GetIpcNsId),
	}
}

// Things lists them: what is open, in the order of tasks and descriptors, then mappings and locks.
func Things(d *images.Dir, own Namespaces) []Thing {
	l := &list{Dir: d, own: own, nameless: map[uint32]bool{}}
	for _, r := range d.Remaps {
		l.nameless[r.GetOrigId()] = true
	}
	l.descriptors()
	l.mappings()
	l.locks()
	return l.all
}

// list is one look at a dump.
type list struct {
	*images.Dir
	own      Namespaces
	nameless map[uint32]bool // files that were deleted before the dump
	where    string          // what is looked at, and its file
	id       uint32
	all      []Thing
}

func (l *list) add(kind string, verdict Verdict, hint, format string, args ...any) {
	l.all = append(l.all, Thing{kind, verdict, l.id, l.where, fmt.Sprintf(format, args...), hint})
}

// descriptors looks at each file that a task has open, once.
func (l *list) descriptors() {
	seen := map[uint32]bool{}
	for _, t := range l.Tasks {
		for _, fd := range t.Fds {
			if seen[fd.GetId()] {
				continue
			}
			seen[fd.GetId()] = true
			l.where, l.id = fmt.Sprintf("task %d, descriptor %d", t.Pid, fd.GetFd()), fd.GetId()
			switch f := l.Files[fd.GetId()]; {
			case f.GetReg() != nil:
				l.regular(f.GetReg())
			case f.GetIsk() != nil:
				l.inet(f.GetIsk())
			case f.GetUsk() != nil:
				l.unix(f.GetUsk())
			case f.GetTty() != nil:
				l.terminal(l.Ttys[f.GetTty().GetTtyInfoId()])
			}
		}
	}
	l.id = 0
}

// regular: each clone has a position of its own in the same file. A file without a name is made anew for each.
func (l *list) regular(f *pb.RegFileEntry) {
	access := f.GetFlags() & uapi.OAccmode
	if access == uapi.ORdonly || l.nameless[f.GetId()] || f.GetMode()&uapi.SIfmt != uapi.SIfreg {
		return
	}
	verdict, what := Mixed, "each overwrites what the other has written"
	if f.GetFlags()&uapi.OAppend != 0 {
		verdict, what = All, "what they append is mixed"
	}
	l.add(File, verdict, l.elsewhere("a hook of PIE_RST_POST_FILES that opens another file in its place"),
		"%s is open for writing: %s", f.GetName(), what)
}

// elsewhere adds what helps if the tasks have a mount namespace.
func (l *list) elsewhere(hint string) string {
	if l.own.Mounts {
		return "a root directory for each: crpie restore --root; or " + hint
	}
	return hint
}

func (l *list) inet(e *pb.InetSkEntry) {
	at, ok := images.AddrPort(e.GetFamily(), e.GetSrcAddr(), e.GetSrcPort())
	to, okTo := images.AddrPort(e.GetFamily(), e.GetDstAddr(), e.GetDstPort())
	stream := e.GetProto() == uapi.IpprotoTCP
	switch {
	case !ok || !okTo || e.GetSrcPort() == 0:
	case stream && e.GetState() != uapi.TcpListen && e.GetState() != uapi.TcpClose:
		l.connection(at, to)
	case l.own.Net:
		l.add(Port, Each, "", "%v, in a network namespace of its own", at)
	case e.GetOpts().GetSoReuseport():
		l.add(Port, All, "", "%v: with SO_REUSEPORT the clones share what comes in", at)
	case e.GetProto() == uapi.IpprotoUDP && e.GetOpts().GetReuseaddr(): // socket(7)
		l.add(Port, All, "", "%v: with SO_REUSEADDR all clones have it, and one of them gets what is for it alone", at)
	default:
		l.add(Port, One, ownNet,
			"%v: it is in use while the first clone lives", at)
	}
}

// connection: one over the loopback device of the tasks' own network namespace has both ends in each clone.
func (l *list) connection(at, to netip.AddrPort) {
	if l.own.Net && at.Addr().IsLoopback() {
		l.add(Connection, Each, "", "TCP from %v to %v, in a network namespace of its own", at, to)
		return
	}
	l.add(Connection, One, "crpie restore --tcp-close for all clones but one",
		"TCP from %v to %v: only one can go on with it; of TLS two would use the same keys and nonces", at, to)
}

// unix: names of sockets are paths, or abstract ones of the network namespace, unix(7). A path in a mount namespace of
// the tasks' own may be in a file system that each clone gets anew.
func (l *list) unix(e *pb.UnixSkEntry) {
	name := strings.TrimRight(string(e.GetName()), "\x00")
	abstract := strings.HasPrefix(name, "\x00")
	verdict := One
	if l.own.Mounts {
		verdict = Mixed
	}
	switch {
	case name == "", e.GetDeleted():
	case abstract && l.own.Net:
		l.add(Socket, Each, "", "@%s, in a network namespace of its own", name[1:])
	case abstract:
		l.add(Socket, One, ownNet,
			"@%s: it is in use while the first clone lives", name[1:])
	case e.GetState() == uapi.TcpListen || e.GetType() == uapi.SockDgram:
		l.add(Socket, verdict, l.elsewhere("a mount namespace for each"),
			"%s: it is in use while the first clone lives", name)
	}
}

// terminal: a pseudoterminal comes back under its number, in the devpts of the tasks' mount namespace.
func (l *list) terminal(info *pb.TtyInfoEntry) {
	name := fmt.Sprintf("/dev/pts/%d", info.GetPty().GetIndex())
	switch {
	case info.GetType() != pb.TtyType_PTY || !images.IsMaster(info):
	case l.own.Mounts:
		l.add(Terminal, Each, "", "the master of %s, in a mount namespace of its own", name)
	default:
		l.add(Terminal, One, "a mount namespace for each, with a devpts of its own",
			"the master of %s: the number is taken while the first clone lives", name)
	}
}

// mappings names files that are changed through memory, and shared memory of System V.
func (l *list) mappings() {
	seen := map[string]bool{}
	for _, t := range l.Tasks {
		for _, v := range t.Mm.GetVmas() {
			name := l.VMAName(v)
			l.where = fmt.Sprintf("task %d, %#x", t.Pid, v.GetStart())
			if v.GetStatus()&images.VmaSysvIPC != 0 && !l.own.IPC {
				l.add(Mapping, Mixed, "an IPC namespace, dumped with the process",
					"shared memory of System V: the clones change the same memory")
			}
			if v.GetStatus()&images.VmaFileShared == 0 || v.GetProt()&uapi.ProtWrite == 0 || seen[name] {
				continue
			}
			seen[name] = true
			l.add(Mapping, Mixed, l.elsewhere("a copy of the file, and a hook that maps it"),
				"%s is mapped shared and for writing: the clones change the same memory", name)
		}
	}
}

// locks of one clone are in the way of the other's. A file in a mount namespace of the tasks' own may be in a file
// system that each clone gets anew.
func (l *list) locks() {
	type place struct{ pid, fd int32 }
	names := map[place]string{}
	for _, t := range l.Tasks {
		for _, fd := range t.Fds {
			names[place{int32(t.Pid), int32(fd.GetFd())}] = l.Files[fd.GetId()].GetReg().GetName()
		}
	}
	verdict := One
	if l.own.Mounts {
		verdict = Mixed
	}
	for _, k := range l.Locks {
		if k.GetType() == uapi.FRdlck {
			continue // several can have it
		}
		l.where = fmt.Sprintf("task %d, descriptor %d", k.GetPid(), k.GetFd())
		l.add(Lock, verdict, "crpie restore --no-file-locks for all clones but one, or a file of its own for each",
			"%s is locked: only one of the clones can have the lock", names[place{k.GetPid(), k.GetFd()}])
	}
}
