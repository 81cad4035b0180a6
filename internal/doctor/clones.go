//go:build linux && amd64

package doctor

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/exports"
	"github.com/crpie/crpie/internal/imagemem"
	"github.com/crpie/crpie/internal/uapi"
)

// Clones lists what two restores of the same images have in common, and what sets them apart. A problem is what only
// one of them can have, or what they would damage together; a note is what is equal in both. Files in which generators
// of random numbers may be are opened by open.
func Clones(d *images.Dir, open imagemem.OpenFile) []Finding {
	c := &clones{Dir: d, open: open, symbols: &exports.Files{}, nameless: map[uint32]bool{}}
	for _, r := range d.Remaps {
		c.nameless[r.GetOrigId()] = true
	}
	c.pids()
	c.descriptors()
	c.mappings()
	c.locks()
	c.identity()
	c.add("addresses", Note, "nothing can change them", "the layout of memory, stack guards and pointer guards are equal")
	return c.findings
}

// clones is one look at a dump.
type clones struct {
	round
	*images.Dir
	open     imagemem.OpenFile
	symbols  *exports.Files
	nameless map[uint32]bool // files that were deleted before the dump
}

// own reports whether a kind of namespace is the tasks' own: each restore makes another.
func (c *clones) own(id func(*pb.TaskKobjIdsEntry) uint32) bool {
	its, criu := c.Tasks[0].Ids, c.Inventory.GetRootIds()
	return its != nil && criu != nil && id(its) != id(criu)
}

func (c *clones) ownNet() bool   { return c.own((*pb.TaskKobjIdsEntry).GetNetNsId) }
func (c *clones) ownMount() bool { return c.own((*pb.TaskKobjIdsEntry).GetMntNsId) }

func (c *clones) pids() {
	if c.own((*pb.TaskKobjIdsEntry).GetPidNsId) {
		c.fine("pids", "tasks: %d, in a pid namespace of their own", len(c.Tasks))
		return
	}
	c.add("pids", Problem, "crpie restore --new-pids", "tasks: %d, from pid %d on: another restore fails while they live",
		len(c.Tasks), c.Tasks[0].Pid)
}

// descriptors looks at each file that a task has open, once.
func (c *clones) descriptors() {
	seen := map[uint32]bool{}
	for _, t := range c.Tasks {
		for _, fd := range t.Fds {
			if seen[fd.GetId()] {
				continue
			}
			seen[fd.GetId()] = true
			where := fmt.Sprintf("task %d, descriptor %d", t.Pid, fd.GetFd())
			switch f := c.Files[fd.GetId()]; {
			case f.GetReg() != nil:
				c.regular(where, f.GetReg())
			case f.GetIsk() != nil:
				c.inet(where, f.GetIsk())
			case f.GetUsk() != nil:
				c.unix(where, f.GetUsk())
			}
		}
	}
}

// regular: each clone has a position of its own in the same file. A file without a name is made anew for each.
func (c *clones) regular(where string, f *pb.RegFileEntry) {
	access := f.GetFlags() & uapi.OAccmode
	if access == uapi.ORdonly || c.nameless[f.GetId()] || f.GetMode()&uapi.SIfmt != uapi.SIfreg {
		return
	}
	verdict, what := Problem, "each overwrites what the other has written"
	if f.GetFlags()&uapi.OAppend != 0 {
		verdict, what = Note, "what they append is mixed"
	}
	c.add("file", verdict, c.elsewhere("a hook of PIE_RST_POST_FILES that opens another file in its place"),
		"%s: %s is open for writing: %s", where, f.GetName(), what)
}

// elsewhere adds what helps if the tasks have a mount namespace.
func (c *clones) elsewhere(hint string) string {
	if c.ownMount() {
		return "a root directory for each: crpie restore --root; or " + hint
	}
	return hint
}

func (c *clones) inet(where string, e *pb.InetSkEntry) {
	at, ok := images.AddrPort(e.GetFamily(), e.GetSrcAddr(), e.GetSrcPort())
	to, okTo := images.AddrPort(e.GetFamily(), e.GetDstAddr(), e.GetDstPort())
	stream := e.GetProto() == uapi.IpprotoTCP
	switch {
	case !ok || !okTo || e.GetSrcPort() == 0:
	case stream && e.GetState() != uapi.TcpListen && e.GetState() != uapi.TcpClose:
		c.connection(where, at, to)
	case c.ownNet():
		c.fine("port", "%s: %v, in a network namespace of its own", where, at)
	case e.GetOpts().GetSoReuseport():
		c.add("port", Note, "", "%s: %v: with SO_REUSEPORT the clones share what comes in", where, at)
	default:
		c.add("port", Problem, "a network namespace for each: ip netns exec NAME crpie restore …",
			"%s: %v: it is in use while the first clone lives", where, at)
	}
}

// connection: one over the loopback device of the tasks' own network namespace has both ends in each clone.
func (c *clones) connection(where string, at, to netip.AddrPort) {
	if c.ownNet() && at.Addr().IsLoopback() {
		c.fine("connection", "%s: TCP from %v to %v, in a network namespace of its own", where, at, to)
		return
	}
	c.add("connection", Problem, "crpie restore --tcp-close for all clones but one",
		"%s: TCP from %v to %v: only one can go on with it; of TLS two would use the same keys and nonces", where, at, to)
}

// unix: names of sockets are paths, or abstract ones of the network namespace, unix(7).
func (c *clones) unix(where string, e *pb.UnixSkEntry) {
	name := strings.TrimRight(string(e.GetName()), "\x00")
	abstract := strings.HasPrefix(name, "\x00")
	switch {
	case name == "", e.GetDeleted():
	case abstract && c.ownNet():
		c.fine("socket", "%s: @%s, in a network namespace of its own", where, name[1:])
	case abstract:
		c.add("socket", Problem, "a network namespace for each: ip netns exec NAME crpie restore …",
			"%s: @%s: it is in use while the first clone lives", where, name[1:])
	case e.GetState() == uapi.TcpListen || e.GetType() == uapi.SockDgram:
		c.add("socket", Problem, c.elsewhere("a mount namespace for each"),
			"%s: %s: it is in use while the first clone lives", where, name)
	}
}

// mappings names files that are changed through memory, and shared memory of System V.
func (c *clones) mappings() {
	seen := map[string]bool{}
	ownIPC := c.own((*pb.TaskKobjIdsEntry).GetIpcNsId)
	for _, t := range c.Tasks {
		for _, v := range t.Mm.GetVmas() {
			name := c.VMAName(v)
			if v.GetStatus()&images.VmaSysvIPC != 0 && !ownIPC {
				c.add("mapping", Problem, "an IPC namespace, dumped with the process",
					"task %d, %#x: shared memory of System V: the clones change the same memory", t.Pid, v.GetStart())
			}
			if v.GetStatus()&images.VmaFileShared == 0 || v.GetProt()&uapi.ProtWrite == 0 || seen[name] {
				continue
			}
			seen[name] = true
			c.add("mapping", Problem, c.elsewhere("a copy of the file, and a hook that maps it"),
				"task %d, %#x: %s is mapped shared and for writing: the clones change the same memory", t.Pid, v.GetStart(), name)
		}
	}
}

// locks of one clone are in the way of the other's: the second restore fails.
func (c *clones) locks() {
	type place struct{ pid, fd int32 }
	names := map[place]string{}
	for _, t := range c.Tasks {
		for _, fd := range t.Fds {
			names[place{int32(t.Pid), int32(fd.GetFd())}] = c.Files[fd.GetId()].GetReg().GetName()
		}
	}
	for _, l := range c.Locks {
		if l.GetType() == uapi.FRdlck {
			continue // several can have it
		}
		c.add("lock", Problem, "crpie restore --no-file-locks for all clones but one, or a file of its own for each",
			"task %d, descriptor %d: %s is locked: only one of the clones can have the lock", l.GetPid(), l.GetFd(),
			names[place{l.GetPid(), l.GetFd()}])
	}
}
