package restorer

import (
	"encoding/binary"
	"fmt"

	"github.com/crpie/crpie/images/pb"
)

const (
	afNetlink        = 16
	netlinkConnected = 1  // net/netlink/af_netlink.c
	netlinkGroups    = 32 // that fit into an address, netlink(7)
)

// netlinkSocket restores a socket to the kernel, with its port, groups and destination. CRIU dumps none that has messages.
func (f *sockPlanner) netlinkSocket(fd *pb.FdinfoEntry, e *pb.NetlinkSkEntry) {
	what := fmt.Sprintf("netlink socket, protocol %d", e.GetProtocol())
	if e.GetPortid() != 0 {
		what += fmt.Sprintf(", port %d", e.GetPortid())
	}
	if !f.checkNetlink(f.fdWhere(fd), what, e) {
		return
	}
	number := int(fd.GetFd())
	f.create(fd, what, sysSocket, afNetlink, sockRaw|oNonblock, uint64(e.GetProtocol()))
	f.socketOptions(number, what, e.GetOpts())
	if e.GetPortid() != 0 {
		var groups uint32
		if len(e.GetGroups()) > 0 {
			groups = e.GetGroups()[0]
		}
		f.netlinkAddress(sysBind, number, what, e.GetPortid(), groups)
	}
	if e.GetState() == netlinkConnected {
		var group uint32
		if e.GetDstGroup() != 0 {
			group = 1 << (e.GetDstGroup() - 1)
		}
		f.netlinkAddress(sysConnect, number, what+" connected", e.GetDstPortid(), group)
	}
	f.socketFlags(fd, e.GetFlags())
	f.owner(fd, e.GetFown())
}

// netlinkAddress adds bind(2) or connect(2) with a struct sockaddr_nl.
func (f *sockPlanner) netlinkAddress(nr uint64, number int, what string, port, groups uint32) {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, afNetlink)
	b = le.AppendUint32(le.AppendUint32(b, port), groups)
	f.prog.sys(what, nr, uint64(number), f.prog.arena.bytes(b), uint64(len(b)))
}

func (f *sockPlanner) checkNetlink(where, what string, e *pb.NetlinkSkEntry) bool {
	for i, groups := range e.GetGroups() {
		if i > 0 && groups != 0 || e.GetPortid() == 0 && groups != 0 {
			f.refuse(where, "", "%s has groups above %d or no port: not supported", what, netlinkGroups)
			return false
		}
	}
	switch {
	case e.GetDstGroup() > netlinkGroups:
		f.refuse(where, "", "%s is connected to group %d, above %d: not supported", what, e.GetDstGroup(), netlinkGroups)
	case e.GetPortid() != 0 && f.host.NetlinkPort(e.GetProtocol(), e.GetPortid()):
		f.refuse(where, "end the process that has it", "%s: the port is in use", what)
	default:
		return true
	}
	return false
}
