package sock

import (
	"encoding/binary"
	"fmt"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
)

// netlinkSocket restores a socket to the kernel, with its port, groups and destination. CRIU dumps none that has
// messages.
func (f *descriptors) netlinkSocket(fd *pb.FdinfoEntry, e *pb.NetlinkSkEntry) {
	what := fmt.Sprintf("netlink socket, protocol %d", e.GetProtocol())
	if e.GetPortid() != 0 {
		what += fmt.Sprintf(", port %d", e.GetPortid())
	}
	if !f.checkNetlink(f.FdWhere(fd), what, e) {
		return
	}
	number := int(fd.GetFd())
	f.Create(fd, what, uapi.SysSocket, uapi.AfNetlink, uapi.SockRaw|uapi.ONonblock, uint64(e.GetProtocol()))
	f.socketOptions(number, what, e.GetOpts())
	if e.GetPortid() != 0 {
		var groups uint32
		if len(e.GetGroups()) > 0 {
			groups = e.GetGroups()[0]
		}
		f.netlinkAddress(uapi.SysBind, number, what, e.GetPortid(), groups)
	}
	if e.GetState() == uapi.NetlinkConnected {
		var group uint32
		if e.GetDstGroup() != 0 {
			group = 1 << (e.GetDstGroup() - 1)
		}
		f.netlinkAddress(uapi.SysConnect, number, what+" connected", e.GetDstPortid(), group)
	}
	f.socketFlags(fd, e.GetFlags())
	f.Owner(fd, e.GetFown())
}

// netlinkAddress adds bind(2) or connect(2) with a struct sockaddr_nl.
func (f *descriptors) netlinkAddress(nr uint64, number int, what string, port, groups uint32) {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, uapi.AfNetlink)
	b = le.AppendUint32(le.AppendUint32(b, port), groups)
	f.Prog.Sys(what, nr, uint64(number), f.Prog.Arena.Bytes(b), uint64(len(b)))
}

// checkNetlink refuses a netlink socket whose groups or port cannot be given back: bind(2) takes 32 groups, and a port
// that is free.
func (f *descriptors) checkNetlink(where, what string, e *pb.NetlinkSkEntry) bool {
	for i, groups := range e.GetGroups() {
		if i > 0 && groups != 0 || e.GetPortid() == 0 && groups != 0 {
			f.Refuse(where, "", "%s has groups above %d or no port: not supported", what,
				uapi.NetlinkGroups)
			return false
		}
	}
	switch {
	case e.GetDstGroup() > uapi.NetlinkGroups:
		f.Refuse(where, "", "%s is connected to group %d, above %d: not supported", what, e.GetDstGroup(),
			uapi.NetlinkGroups)
	case e.GetPortid() != 0 && f.Host.NetlinkPort(e.GetProtocol(), e.GetPortid()):
		f.Refuse(where, "end the process that has it", "%s: the port is in use", what)
	default:
		return true
	}
	return false
}
