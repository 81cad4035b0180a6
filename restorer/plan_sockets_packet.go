package restorer

import (
	"encoding/binary"
	"fmt"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
)

// Numbers of packet(7), include/uapi/linux/if_packet.h.
const (
	afPacket   = 17
	sockPacket = 10
	solPacket  = 263

	packetAddMembership = 1
	packetRxRing        = 5
	packetCopyThresh    = 7
	packetAuxdata       = 8
	packetOrigdev       = 9
	packetVersion       = 10
	packetReserve       = 12
	packetTxRing        = 13
	packetLoss          = 14
	packetVnetHdr       = 15
	packetTimestamp     = 17
	packetFanout        = 18

	maxHardwareAddress = 32 // MAX_ADDR_LEN, include/linux/netdevice.h
	noFanout           = 0xffffffff
)

// packetSocket restores a socket that sees the packets of interfaces. It is given its protocol together with its interface:
// without one it sees nothing.
func (f *sockPlanner) packetSocket(fd *pb.FdinfoEntry, e *pb.PacketSockEntry) {
	what := fmt.Sprintf("packet socket, protocol %#04x", swap16(e.GetProtocol()))
	device := f.checkPacket(f.fdWhere(fd), what, e)
	number := int(fd.GetFd())
	protocol := uint64(0)
	if e.GetType() == sockPacket { // its address has no room for one
		protocol = uint64(e.GetProtocol())
	}
	f.create(fd, what, sysSocket, afPacket, uint64(e.GetType())|oNonblock, protocol)
	set := func(option, value uint64) { f.prog.setOption(number, what, solPacket, option, value) }
	if e.GetType() != sockPacket { // that kind has none of these
		set(packetVersion, uint64(e.GetVersion()))
		set(packetReserve, uint64(e.GetReserve()))
		set(packetTimestamp, uint64(e.GetTimestamp()))
		set(packetCopyThresh, uint64(e.GetCopyThresh()))
		for _, flag := range []struct {
			option uint64
			on     bool
		}{
			{packetAuxdata, e.GetAuxData()}, {packetOrigdev, e.GetOrigDev()}, {packetVnetHdr, e.GetVnetHdr()},
			{packetLoss, e.GetLoss()},
		} {
			if flag.on {
				set(flag.option, 1)
			}
		}
		f.packetRing(number, what, packetRxRing, e.GetRxRing())
		f.packetRing(number, what, packetTxRing, e.GetTxRing())
	}
	f.memberships(number, what, e)
	f.socketOptions(number, what, e.GetOpts())
	if e.GetType() != sockPacket || device != "" { // it cannot be bound to none, and hears all interfaces without being bound
		addr := packetAddress(e, device)
		f.prog.sys(what, sysBind, uint64(number), f.prog.arena.bytes(addr), uint64(len(addr)))
	}
	if e.Fanout != nil && e.GetFanout() != noFanout {
		set(packetFanout, uint64(e.GetFanout()))
	}
	f.socketFlags(fd, e.GetFlags())
	f.owner(fd, e.GetFown())
}

func swap16(v uint32) uint16 { return uint16(v)<<8 | uint16(v)>>8 }

// checkPacket gives the name of the interface that the socket is bound to, if to one.
func (f *sockPlanner) checkPacket(where, what string, e *pb.PacketSockEntry) (device string) {
	if !f.host.has(capNetRaw) {
		f.refuse(where, "run crpie as root", "%s: crpie lacks %s", what, capNames[capNetRaw])
	}
	switch e.GetType() {
	case sockRaw, sockDgram, sockPacket:
	default:
		f.refuse(where, "", "packet socket of type %d: not supported", e.GetType())
	}
	if e.GetIfindex() != 0 {
		if device = f.host.InterfaceName(e.GetIfindex()); device == "" {
			f.refuse(where, "make the interface again", "%s is bound to interface %d: this host has none of that number", what, e.GetIfindex())
		}
	}
	for _, m := range e.GetMclist() {
		if len(m.GetAddr()) > maxHardwareAddress {
			f.refuse(where, "", "%s has a membership of %d bytes, more than %d", what, len(m.GetAddr()), maxHardwareAddress)
		}
		if f.host.InterfaceName(m.GetIndex()) == "" {
			f.refuse(where, "make the interface again", "%s has a membership of interface %d: this host has none of that number",
				what, m.GetIndex())
		}
	}
	return device
}

// packetAddress lays out a struct sockaddr_ll, or for a socket of the old kind a struct sockaddr with the interface's name.
func packetAddress(e *pb.PacketSockEntry, device string) []byte {
	le := binary.LittleEndian
	b := le.AppendUint16(nil, afPacket)
	if e.GetType() == sockPacket {
		const saData = 14
		name := make([]byte, saData)
		copy(name[:saData-1], device)
		return append(b, name...)
	}
	b = le.AppendUint16(b, uint16(e.GetProtocol())) // in network order already
	b = le.AppendUint32(b, e.GetIfindex())
	return append(b, make([]byte, 12)...)
}

// memberships adds struct packet_mreq, with an address as long as it may be.
func (f *sockPlanner) memberships(number int, what string, e *pb.PacketSockEntry) {
	for _, m := range e.GetMclist() {
		le := binary.LittleEndian
		b := le.AppendUint32(nil, m.GetIndex())
		b = le.AppendUint16(le.AppendUint16(b, uint16(m.GetType())), uint16(len(m.GetAddr())))
		b = append(b, make([]byte, maxHardwareAddress)...)
		copy(b[8:], m.GetAddr())
		f.prog.sys(what, sysSetsockopt, uint64(number), solPacket, packetAddMembership, f.prog.arena.bytes(b), uint64(len(b)))
	}
}

// packetRing makes a ring, struct tpacket_req3, of which the first two versions read the beginning.
func (f *sockPlanner) packetRing(number int, what string, option uint64, r *pb.PacketRing) {
	if r == nil {
		return
	}
	var b []byte
	for _, v := range []uint32{r.GetBlockSize(), r.GetBlockNr(), r.GetFrameSize(), r.GetFrameNr(), r.GetRetireTmo(),
		r.GetSizeofPriv(), r.GetFeatures()} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	f.prog.sys("ring of "+what, sysSetsockopt, uint64(number), solPacket, option, f.prog.arena.bytes(b), uint64(len(b)))
}

// mapRings maps the rings of packet sockets, now that the task has these. What was in them is lost, as with CRIU.
func (f *sockPlanner) mapRings() {
	for _, v := range f.img.Mm.GetVmas() {
		if v.GetStatus()&images.VmaSocket == 0 {
			continue
		}
		fds := f.byFile[uint32(v.GetShmid())]
		if len(fds) == 0 || fds[0].GetType() != pb.FdTypes_PACKETSK || v.GetShmid()>>32 != 0 {
			f.refuse(fmt.Sprintf("%s memory %x-%x", f.where(), v.GetStart(), v.GetEnd()), "",
				"mapping of packet socket %#x, of which the task has no descriptor: not supported", v.GetShmid())
			continue
		}
		f.prog.want(int64(v.GetStart()), "ring of a packet socket", sysMmap, v.GetStart(), v.GetEnd()-v.GetStart(), uint64(v.GetProt()),
			mapShared|mapFixedNoreplace, uint64(fds[0].GetFd()), v.GetPgoff())
	}
}
