package uapi

// Numbers of socket(2), socket(7), unix(7), ip(7), ipv6(7), tcp(7) and udp(7).
const (
	AfUnix, AfInet, AfInet6 = 1, 2, 10

	SockStream, SockDgram, SockRaw, SockSeqpacket = 1, 2, 3, 5

	SolIP, SolSocket, SolTCP, SolIPv6 = 0, 1, 6, 41

	SoReuseaddr    = 2
	SoDontroute    = 5
	SoBroadcast    = 6
	SoKeepalive    = 9
	SoOobinline    = 10
	SoNoCheck      = 11
	SoPriority     = 12
	SoLinger       = 13
	SoReuseport    = 15
	SoPasscred     = 16
	SoRcvlowat     = 18
	SoRcvtimeo     = 20
	SoSndtimeo     = 21
	SoBindtodevice = 25
	SoAttachFilter = 26
	SoDetachFilter = 27
	SoSndbufforce  = 32
	SoRcvbufforce  = 33
	SoPasssec      = 34
	SoMark         = 36
	SoBufLock      = 72

	MsgDontwait = 0x40
	MsgNosignal = 0x4000
)

// States of a socket in the images, include/net/tcp_states.h: unix sockets have them too.
const (
	TcpEstablished = 1
	TcpClose       = 7
	TcpListen      = 10
)

// Numbers of ip(7), ipv6(7) and tcp(7).
const (
	IpprotoTCP, IpprotoUDP, IpprotoUDPLite = 6, 17, 136

	IpTos, IpTTL, IpPktinfo, IpFreebind = 1, 2, 8, 15

	Ipv6V6only, Ipv6Recvpktinfo, Ipv6Freebind = 26, 49, 78

	TcpNodelay, TcpCork, TcpKeepidle, TcpKeepintvl, TcpKeepcnt = 1, 3, 4, 5, 6
)

const (
	AfNetlink        = 16
	NetlinkConnected = 1  // net/netlink/af_netlink.c
	NetlinkGroups    = 32 // that fit into an address, netlink(7)
)

// Numbers of packet(7), include/uapi/linux/if_packet.h.
const (
	AfPacket   = 17
	SockPacket = 10
	SolPacket  = 263

	PacketAddMembership = 1
	PacketRxRing        = 5
	PacketCopyThresh    = 7
	PacketAuxdata       = 8
	PacketOrigdev       = 9
	PacketVersion       = 10
	PacketReserve       = 12
	PacketTxRing        = 13
	PacketLoss          = 14
	PacketVnetHdr       = 15
	PacketTimestamp     = 17
	PacketFanout        = 18

	MaxHardwareAddress = 32 // MAX_ADDR_LEN, include/linux/netdevice.h
	NoFanout           = 0xffffffff
)

// Numbers of unix(7) and cmsg(3).
const (
	ScmRights  = 1
	MaxRights  = 253 // SCM_MAX_FD
	CmsgHeader = 16  // sizeof(struct cmsghdr)
)

// Numbers of raw(7), icmp(7) and ipv6(7).
const (
	IpprotoICMP, IpprotoICMPv6 = 1, 58

	SolRaw, SolICMPv6 = 255, 58

	IpHdrincl, IpNodefrag = 3, 22
	Ipv6Hdrincl           = 36
	IcmpFilter            = 1 // of both, at their own levels
	Icmpv6FilterWords     = 8 // struct icmp6_filter
)

// States of a TCP connection besides those above, include/net/tcp_states.h.
const (
	TcpSynSent   = 2
	TcpFinWait1  = 4
	TcpFinWait2  = 5
	TcpTimeWait  = 6
	TcpCloseWait = 8
	TcpLastAck   = 9
	TcpClosing   = 11
)

// Options of TCP_REPAIR, include/uapi/linux/tcp.h.
const (
	TcpRepair        = 19
	TcpRepairQueue   = 20
	TcpQueueSeq      = 21
	TcpRepairOptions = 22
	TcpTimestamp     = 24
	TcpRepairWindow  = 29

	TcpNoQueue, TcpRecvQueue, TcpSendQueue = 0, 1, 2

	TcpiOptTimestamps, TcpiOptSack, TcpiOptWscale = 1, 2, 4 // struct tcp_info.tcpi_options

	TcpoptMaxseg, TcpoptWindow, TcpoptSackPermitted, TcpoptTimestamp = 2, 3, 4, 8 // include/net/tcp.h

	MaxWscale = 14 // RFC 7323, 2.3
)
