package sock

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
)

// packetSocket restores a socket that sees the packets of interfaces. It is given its protocol together with its
// interface: without one it sees nothing.
func (f *descriptors) packetSocket(fd *pb.FdinfoEntry, e *pb.PacketSockEntry) {
	what := fmt.Sprintf("packet socket, protocol %#04x", swap16(e.GetProtocol()))
	device := f.checkPacket(f.FdWhere(fd), what, e)
	number := int(fd.GetFd())
	protocol := uint64(0)
	if e.GetType() == uapi.SockPacket { // its address has no room for one
		protocol = uint64(e.GetProtocol())
	}
	f.Create(fd, what, uapi.SysSocket, uapi.AfPacket, uint64(e.GetType())|uapi.ONonblock, protocol)
	set := func(option, value uint64) { f.Prog.SetOption(number, what, uapi.SolPacket, option, value) }
	if e.GetType() != uapi.SockPacket { // that kind has none of these
		set(uapi.PacketVersion, uint64(e.GetVersion()))
		set(uapi.PacketReserve, uint64(e.GetReserve()))
		set(uapi.PacketTimestamp, uint64(e.GetTimestamp()))
		set(uapi.PacketCopyThresh, uint64(e.GetCopyThresh()))
		for _, flag := range []struct {
			option uint64
			on     bool
		}{
			{uapi.PacketAuxdata, e.GetAuxData()}, {uapi.PacketOrigdev, e.GetOrigDev()},
			{uapi.PacketVnetHdr, e.GetVnetHdr()},
			{uapi.PacketLoss, e.GetLoss()},
		} {
			if flag.on {
				set(flag.option, 1)
			}
		}
		f.packetRing(number, what, uapi.PacketRxRing, e.GetRxRing())
		f.packetRing(number, what, uapi.PacketTxRing, e.GetTxRing())
	}
	f.memberships(number, what, e)
	f.socketOptions(number, what, e.GetOpts())
	// it cannot be bound to none, and hears all interfaces without being bound
	if e.GetType() != uapi.SockPacket || device != "" {
		addr := packetAddress(e, device)
		f.Prog.Sys(what, uapi.SysBind, uint64(number), f.Prog.Arena.Bytes(addr), uint64(len(addr)))
	}
	if e.Fanout != nil && e.GetFanout() != uapi.NoFanout {
		set(uapi.PacketFanout, uint64(e.GetFanout()))
	}
	f.socketFlags(fd, e.GetFlags())
	f.Owner(fd, e.GetFown())
}

func swap16(v uint32) uint16 { return uint16(v)<<8 | uint16(v)>>8 }

// checkPacket gives the name of the interface that the socket is bound to, if to one.
func (f *descriptors) checkPacket(where, what string, e *pb.PacketSockEntry) (device string) {
	if !f.Host.Has(uapi.CapNetRaw) {
		f.Refuse(where, "run crpie as root", "%s: crpie lacks %s", what, uapi.CapNames[uapi.CapNetRaw])
	}
	switch e.GetType() {
	case uapi.SockRaw, uapi.SockDgram, uapi.SockPacket:
	default:
		f.Refuse(where, "", "packet socket of type %d: not supported", e.GetType())
	}
	if e.GetIfindex() != 0 {
		device = f.Host.InterfaceName(e.GetIfindex())
		if device == "" && (e.GetType() == uapi.SockPacket || !f.awaitsNumber(e.GetIfindex())) {
			f.Refuse(where, "make the interface again",
				"%s is bound to interface %d: this host has none of that number", what, e.GetIfindex())
		}
	}
	for _, m := range e.GetMclist() {
		if len(m.GetAddr()) > uapi.MaxHardwareAddress {
			f.Refuse(where, "", "%s has a membership of %d bytes, more than %d", what, len(m.GetAddr()),
				uapi.MaxHardwareAddress)
		}
		if f.Host.InterfaceName(m.GetIndex()) == "" && !f.awaitsNumber(m.GetIndex()) {
			f.Refuse(where, "make the interface again",
				"%s has a membership of interface %d: this host has none of that number",
				what, m.GetIndex())
		}
	}
	return device
}

// awaitsNumber reports whether an interface of a number may come before the socket is bound to it. The old kind of
// packet sockets wants a name, which the images do not have.
func (f *descriptors) awaitsNumber(number uint32) bool {
	if !f.Host.MayCome("") {
		return false
	}
	if !slices.Contains(f.Plan.InterfaceNumbers, number) {
		f.Plan.InterfaceNumbers = append(f.Plan.InterfaceNumbers, number)
		f.Plan.Network = append(f.Plan.Network, fmt.Sprintf("somebody else makes interface %d", number))
	}
	return true
}

// packetAddress lays out a struct sockaddr_ll, or for a socket of the old kind a struct sockaddr with the interface's
// name.
func packetAddress(e *pb.PacketSockEntry, device string) []byte {
	le := binary.LittleEndian
	b := le.AppendUint16(nil, uapi.AfPacket)
	if e.GetType() == uapi.SockPacket {
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
func (f *descriptors) memberships(number int, what string, e *pb.PacketSockEntry) {
	for _, m := range e.GetMclist() {
		le := binary.LittleEndian
		b := le.AppendUint32(nil, m.GetIndex())
		b = le.AppendUint16(le.AppendUint16(b, uint16(m.GetType())), uint16(len(m.GetAddr())))
		b = append(b, make([]byte, uapi.MaxHardwareAddress)...)
		copy(b[8:], m.GetAddr())
		f.Prog.Sys(what, uapi.SysSetsockopt, uint64(number), uapi.SolPacket, uapi.PacketAddMembership,
			f.Prog.Arena.Bytes(b), uint64(len(b)))
	}
}

// packetRing makes a ring, struct tpacket_req3, of which the first two versions read the beginning.
func (f *descriptors) packetRing(number int, what string, option uint64, r *pb.PacketRing) {
	if r == nil {
		return
	}
	var b []byte
	for _, v := range []uint32{r.GetBlockSize(), r.GetBlockNr(), r.GetFrameSize(), r.GetFrameNr(), r.GetRetireTmo(),
		r.GetSizeofPriv(), r.GetFeatures()} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	f.Prog.Sys("ring of "+what, uapi.SysSetsockopt, uint64(number), uapi.SolPacket, option, f.Prog.Arena.Bytes(b),
		uint64(len(b)))
}

// MapRings maps the rings of packet sockets, now that the task has these. What was in them is lost, as with CRIU.
func (f *descriptors) MapRings() {
	for _, v := range f.Img.Mm.GetVmas() {
		if v.GetStatus()&images.VmaSocket == 0 {
			continue
		}
		fds := f.ByFile[uint32(v.GetShmid())]
		if len(fds) == 0 || fds[0].GetType() != pb.FdTypes_PACKETSK || v.GetShmid()>>32 != 0 {
			f.Refuse(fmt.Sprintf("%s memory %x-%x", f.Where(), v.GetStart(), v.GetEnd()), "",
				"mapping of packet socket %#x, of which the task has no descriptor: not supported",
				v.GetShmid())
			continue
		}
		f.Prog.Want(int64(v.GetStart()), "ring of a packet socket", uapi.SysMmap, v.GetStart(),
			v.GetEnd()-v.GetStart(),
			uint64(v.GetProt()),
			uapi.MapShared|uapi.MapFixedNoreplace, uint64(fds[0].GetFd()), v.GetPgoff())
	}
}
