package net

import (
	"encoding/binary"

	"github.com/mdlayher/netlink"
)

// Numbers of rtnetlink(7), include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h, net_namespace.h, veth.h.
const (
	rtmNewlink, rtmDellink, rtmGetlink = 16, 17, 18
	rtmNewaddr, rtmDeladdr, rtmGetaddr = 20, 21, 22
	rtmNewroute, rtmDelroute           = 24, 25
	rtmGetroute                        = 26
	rtmNewrule, rtmDelrule, rtmGetrule = 32, 33, 34
	rtmNewnsid                         = 88

	iflaAddress, iflaIfname, iflaMTU = 1, 3, 4
	iflaLink, iflaMaster             = 5, 10
	iflaOperstate                    = 16
	iflaLinkinfo, iflaNetNsFd        = 18, 28
	infoKind, infoData               = 1, 2
	vethInfoPeer                     = 1
	macvlanMode, macvlanFlags        = 1, 2

	netnsaNsid, netnsaFd = 1, 3

	ifaAddress, ifaLocal, ifaFlags = 1, 2, 8
	ifaFTentative                  = 0x40

	rtaDst, rtaOif, rtaGateway        = 1, 4, 5
	rtaMultipath, rtaVia              = 9, 18
	rtaTable                          = 15
	rtTableMain                       = 254
	rtprotKernel                      = 2
	rtnhDead, rtnhLinkdown            = 1, 16
	rtnhFlagsOfTheKernel              = rtnhDead | rtnhLinkdown | 8 /* OFFLOAD */ | 64 /* TRAP */
	rtmFCloned                        = 0x200
	rtmFlagsOfTheKernel               = rtnhFlagsOfTheKernel | 0x4000 /* RTM_F_OFFLOAD */ | 0x8000 /* RTM_F_TRAP */
	fraTable, fraPriority             = 15, 6
	sizeIfinfomsg, sizeIfaddr         = 16, 8
	sizeRtmsg, sizeRtnexthop          = 12, 8
	afUnspec                          = 0
	iffUp, iffRunning                 = 0x1, 0x40
	iffBroadcast, iffLoopback         = 0x2, 0x8
	iffOfTheUser               uint32 = 0x1 | 0x4 | 0x20 | 0x80 | 0x100 | 0x200 | 0x1000 | 0x2000 | 0x4000 | 0x8000
)

// ask is a message that is to be acknowledged.
func ask(kind uint16, flags netlink.HeaderFlags, head []byte, attrs func(a *netlink.AttributeEncoder)) netlink.Message {
	a := netlink.NewAttributeEncoder()
	if attrs != nil {
		attrs(a)
	}
	b, err := a.Encode()
	if err != nil {
		panic(err) // an attribute above 64 KiB: all of them are bounded where they come from
	}
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind),
			Flags: netlink.Request | netlink.Acknowledge | flags},
		Data: append(head, b...),
	}
}

// get asks for one entry, which is the answer: there is no acknowledgement behind it.
func get(kind uint16, head []byte, attrs func(a *netlink.AttributeEncoder)) netlink.Message {
	m := ask(kind, 0, head, attrs)
	m.Header.Flags = netlink.Request
	return m
}

// dump asks for all entries of a table.
func dump(kind uint16, head []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request | netlink.Dump},
		Data:   head,
	}
}

// ifinfomsg is the head of messages about links: flags are those of mask.
func ifinfomsg(index, flags, mask uint32) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte{afUnspec, 0, 0, 0}, index)
	return le.AppendUint32(le.AppendUint32(b, flags), mask)
}

// nested adds an attribute of attributes.
func nested(a *netlink.AttributeEncoder, kind uint16, attrs func(a *netlink.AttributeEncoder)) {
	a.Nested(kind, func(inner *netlink.AttributeEncoder) error {
		attrs(inner)
		return nil
	})
}

// attributes decodes what follows the head of a message; of several of one kind the last counts. ok is false if it
// cannot be.
func attributes(data []byte, head int) (all map[uint16][]byte, ok bool) {
	if len(data) < head {
		return nil, false
	}
	d, err := netlink.NewAttributeDecoder(data[head:])
	if err != nil {
		return nil, false
	}
	all = map[uint16][]byte{}
	for d.Next() {
		all[d.Type()] = d.Bytes()
	}
	return all, d.Err() == nil
}

// number is an attribute of four bytes, in this machine's order; 0 without it.
func number(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}
