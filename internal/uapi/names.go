package uapi

// How system calls print: the names of what their arguments are made of. Sources as of the numbers, include/uapi.

// Policy names a scheduling policy and its flags, sched(7).
func Policy(v uint64) string { return policies.String(v) }

func words(s *Set) Arg { return Arg{Kind: Words, Set: s} }

var (
	hex, integer, mode, signal, id = Arg{Kind: Hex}, Arg{Kind: Int}, Arg{Kind: Mode}, Arg{Kind: Signal},
		Arg{Kind: ID}

	fd, str, data, option, sockaddr = Arg{Kind: FD}, Arg{Kind: String}, Arg{Kind: Bytes}, Arg{Kind: Option},
		Arg{Kind: Sockaddr}
)

// OpenFlags are the flags of openat(2), also of descriptors that are made in another way.
var OpenFlags = Set{
	Mask: OAccmode,
	Values: []Named{
		{Value: ORdonly, Name: "O_RDONLY"}, {Value: OWronly, Name: "O_WRONLY"}, {Value: ORdwr, Name: "O_RDWR"},
	},
	Flags: statusFlags,
}

// StatusFlags are what F_SETFL of fcntl(2) and calls that make descriptors take: no access mode.
var StatusFlags = Set{Flags: statusFlags}

var statusFlags = []Named{
	{Value: OTmpfile, Name: "O_TMPFILE"}, {Value: OCreat, Name: "O_CREAT"}, {Value: OExcl, Name: "O_EXCL"},
	{Value: ONoctty, Name: "O_NOCTTY"}, {Value: OTrunc, Name: "O_TRUNC"}, {Value: OAppend, Name: "O_APPEND"},
	{Value: ONonblock, Name: "O_NONBLOCK"}, {Value: 0o4010000, Name: "O_SYNC"},
	{Value: 0o10000, Name: "O_DSYNC"}, {Value: OAsync, Name: "O_ASYNC"}, {Value: ODirect, Name: "O_DIRECT"},
	{Value: OLargefile, Name: "O_LARGEFILE"}, {Value: ODirectory, Name: "O_DIRECTORY"},
	{Value: ONofollow, Name: "O_NOFOLLOW"}, {Value: 0o1000000, Name: "O_NOATIME"},
	{Value: OCloexec, Name: "O_CLOEXEC"}, {Value: OPath, Name: "O_PATH"},
}

var protFlags = Set{
	None: "PROT_NONE",
	Flags: []Named{
		{Value: ProtRead, Name: "PROT_READ"}, {Value: ProtWrite, Name: "PROT_WRITE"},
		{Value: ProtExec, Name: "PROT_EXEC"},
	},
}

var mapFlags = Set{
	Mask: 0xf,
	Values: []Named{
		{Value: MapShared, Name: "MAP_SHARED"}, {Value: MapPrivate, Name: "MAP_PRIVATE"},
		{Value: 3, Name: "MAP_SHARED_VALIDATE"}, {Value: MapDroppable, Name: "MAP_DROPPABLE"},
	},
	Flags: []Named{
		{Value: MapFixed, Name: "MAP_FIXED"}, {Value: MapAnonymous, Name: "MAP_ANONYMOUS"},
		{Value: 0x40, Name: "MAP_32BIT"}, {Value: MapGrowsdown, Name: "MAP_GROWSDOWN"},
		{Value: MapLocked, Name: "MAP_LOCKED"}, {Value: MapNoreserve, Name: "MAP_NORESERVE"},
		{Value: 0x8000, Name: "MAP_POPULATE"}, {Value: MapStack, Name: "MAP_STACK"},
		{Value: MapHugetlb, Name: "MAP_HUGETLB"}, {Value: MapFixedNoreplace, Name: "MAP_FIXED_NOREPLACE"},
		{Value: 21 << 26, Name: "MAP_HUGE_2MB"}, {Value: 30 << 26, Name: "MAP_HUGE_1GB"},
	},
}

var mremapFlags = Set{Flags: []Named{
	{Value: 1, Name: "MREMAP_MAYMOVE"}, {Value: 2, Name: "MREMAP_FIXED"}, {Value: 4, Name: "MREMAP_DONTUNMAP"},
}}

var msyncFlags = Set{Flags: []Named{
	{Value: MsAsync, Name: "MS_ASYNC"}, {Value: 2, Name: "MS_INVALIDATE"},
	{Value: 4, Name: "MS_SYNC"},
}}

var advice = Set{Values: []Named{
	{Value: 0, Name: "MADV_NORMAL"}, {Value: 1, Name: "MADV_RANDOM"}, {Value: 2, Name: "MADV_SEQUENTIAL"},
	{Value: MadvDontneed, Name: "MADV_DONTNEED"}, {Value: MadvDontfork, Name: "MADV_DONTFORK"},
	{Value: 12, Name: "MADV_MERGEABLE"},
	{Value: 14, Name: "MADV_HUGEPAGE"}, {Value: 15, Name: "MADV_NOHUGEPAGE"}, {Value: MadvDontdump, Name: "MADV_DONTDUMP"},
	{Value: MadvWipeonfork, Name: "MADV_WIPEONFORK"}, {Value: MadvGuardInstall, Name: "MADV_GUARD_INSTALL"},
	{Value: MadvGuardRemove, Name: "MADV_GUARD_REMOVE"},
}}

// CloneFlags are the flags of clone3(2), unshare(2) and setns(2).
var CloneFlags = Set{Flags: []Named{
	{Value: CloneNewtime, Name: "CLONE_NEWTIME"}, {Value: CloneVM, Name: "CLONE_VM"},
	{Value: CloneFS, Name: "CLONE_FS"}, {Value: CloneFiles, Name: "CLONE_FILES"},
	{Value: CloneSighand, Name: "CLONE_SIGHAND"}, {Value: CloneParent, Name: "CLONE_PARENT"},
	{Value: CloneThread, Name: "CLONE_THREAD"}, {Value: CloneNewns, Name: "CLONE_NEWNS"},
	{Value: CloneSysvsem, Name: "CLONE_SYSVSEM"}, {Value: CloneNewcgroup, Name: "CLONE_NEWCGROUP"},
	{Value: CloneNewuts, Name: "CLONE_NEWUTS"}, {Value: CloneNewipc, Name: "CLONE_NEWIPC"},
	{Value: CloneNewuser, Name: "CLONE_NEWUSER"}, {Value: CloneNewpid, Name: "CLONE_NEWPID"},
	{Value: CloneNewnet, Name: "CLONE_NEWNET"},
}}

// Clocks are the clocks of timers, clock_getres(2).
var Clocks = Set{Values: []Named{
	{Value: 0, Name: "CLOCK_REALTIME"}, {Value: ClockMonotonic, Name: "CLOCK_MONOTONIC"},
	{Value: 2, Name: "CLOCK_PROCESS_CPUTIME_ID"}, {Value: 3, Name: "CLOCK_THREAD_CPUTIME_ID"},
	{Value: ClockBoottime, Name: "CLOCK_BOOTTIME"}, {Value: 8, Name: "CLOCK_REALTIME_ALARM"},
	{Value: ClockBoottimeAlarm, Name: "CLOCK_BOOTTIME_ALARM"}, {Value: 11, Name: "CLOCK_TAI"},
}}

// SockTypes are the types of socket(2), with their flags.
var SockTypes = Set{
	Mask: 0xf,
	Values: []Named{
		{Value: SockStream, Name: "SOCK_STREAM"}, {Value: SockDgram, Name: "SOCK_DGRAM"},
		{Value: SockRaw, Name: "SOCK_RAW"}, {Value: SockSeqpacket, Name: "SOCK_SEQPACKET"},
		{Value: SockPacket, Name: "SOCK_PACKET"},
	},
	Flags: []Named{{Value: ONonblock, Name: "SOCK_NONBLOCK"}, {Value: OCloexec, Name: "SOCK_CLOEXEC"}}}

var families = Set{Values: []Named{
	{Value: AfUnix, Name: "AF_UNIX"}, {Value: AfInet, Name: "AF_INET"}, {Value: AfInet6, Name: "AF_INET6"},
	{Value: AfNetlink, Name: "AF_NETLINK"}, {Value: AfPacket, Name: "AF_PACKET"},
}}

var ipProtocols = []Arg{words(&SockTypes), words(&Set{Values: []Named{
	{Value: 0, Name: "IPPROTO_IP"}, {Value: IpprotoICMP, Name: "IPPROTO_ICMP"},
	{Value: IpprotoTCP, Name: "IPPROTO_TCP"}, {Value: IpprotoUDP, Name: "IPPROTO_UDP"},
	{Value: IpprotoICMPv6, Name: "IPPROTO_ICMPV6"}, {Value: IpprotoUDPLite, Name: "IPPROTO_UDPLITE"},
	{Value: 255, Name: "IPPROTO_RAW"},
}})}

var socketFamilies = Set{Values: []Named{
	{Value: AfUnix, Name: "AF_UNIX"}, {AfInet, "AF_INET", ipProtocols}, {AfInet6, "AF_INET6", ipProtocols},
	{Value: AfNetlink, Name: "AF_NETLINK"}, {Value: AfPacket, Name: "AF_PACKET"},
}}

// Options of setsockopt(2), by level.
var (
	socketOptions = Set{Values: []Named{
		{Value: SoReuseaddr, Name: "SO_REUSEADDR"}, {Value: SoDontroute, Name: "SO_DONTROUTE"},
		{Value: SoBroadcast, Name: "SO_BROADCAST"}, {Value: 7, Name: "SO_SNDBUF"},
		{Value: 8, Name: "SO_RCVBUF"}, {Value: SoKeepalive, Name: "SO_KEEPALIVE"},
		{Value: SoOobinline, Name: "SO_OOBINLINE"}, {Value: SoNoCheck, Name: "SO_NO_CHECK"},
		{Value: SoPriority, Name: "SO_PRIORITY"}, {SoLinger, "SO_LINGER", []Arg{sized(&linger), integer}},
		{Value: SoReuseport, Name: "SO_REUSEPORT"}, {Value: SoPasscred, Name: "SO_PASSCRED"},
		{Value: SoRcvlowat, Name: "SO_RCVLOWAT"}, {SoRcvtimeo, "SO_RCVTIMEO", []Arg{sized(&timeval), integer}},
		{SoSndtimeo, "SO_SNDTIMEO", []Arg{sized(&timeval), integer}}, {Value: SoBindtodevice, Name: "SO_BINDTODEVICE"},
		{SoAttachFilter, "SO_ATTACH_FILTER", []Arg{sized(&sockFprog), integer}},
		{Value: SoDetachFilter, Name: "SO_DETACH_FILTER"},
		{Value: SoSndbufforce, Name: "SO_SNDBUFFORCE"}, {Value: SoRcvbufforce, Name: "SO_RCVBUFFORCE"},
		{Value: SoPasssec, Name: "SO_PASSSEC"}, {Value: SoMark, Name: "SO_MARK"},
		{Value: SoBufLock, Name: "SO_BUF_LOCK"},
	}}

	ipOptions = Set{Values: []Named{
		{Value: IpTos, Name: "IP_TOS"}, {Value: IpTTL, Name: "IP_TTL"}, {Value: IpHdrincl, Name: "IP_HDRINCL"},
		{Value: IpPktinfo, Name: "IP_PKTINFO"}, {Value: IpFreebind, Name: "IP_FREEBIND"},
		{Value: IpNodefrag, Name: "IP_NODEFRAG"},
	}}

	ipv6Options = Set{Values: []Named{
		{Value: Ipv6V6only, Name: "IPV6_V6ONLY"}, {Value: Ipv6Hdrincl, Name: "IPV6_HDRINCL"},
		{Value: Ipv6Recvpktinfo, Name: "IPV6_RECVPKTINFO"}, {Value: Ipv6Freebind, Name: "IPV6_FREEBIND"},
	}}

	tcpOptions = Set{Values: []Named{
		{Value: TcpNodelay, Name: "TCP_NODELAY"}, {Value: TcpCork, Name: "TCP_CORK"},
		{Value: TcpKeepidle, Name: "TCP_KEEPIDLE"}, {Value: TcpKeepintvl, Name: "TCP_KEEPINTVL"},
		{Value: TcpKeepcnt, Name: "TCP_KEEPCNT"}, {Value: TcpRepair, Name: "TCP_REPAIR"},
		{Value: TcpRepairQueue, Name: "TCP_REPAIR_QUEUE"}, {Value: TcpQueueSeq, Name: "TCP_QUEUE_SEQ"},
		{TcpRepairOptions, "TCP_REPAIR_OPTIONS", []Arg{sized(&repairOption), integer}},
		{Value: TcpTimestamp, Name: "TCP_TIMESTAMP"},
		{TcpRepairWindow, "TCP_REPAIR_WINDOW", []Arg{sized(&repairWindow), integer}},
	}}

	packetOptions = Set{Values: []Named{
		{PacketAddMembership, "PACKET_ADD_MEMBERSHIP", []Arg{sized(&packetMember), integer}},
		{PacketRxRing, "PACKET_RX_RING", []Arg{sized(&packetRequest), integer}},
		{Value: PacketCopyThresh, Name: "PACKET_COPY_THRESH"},
		{Value: PacketAuxdata, Name: "PACKET_AUXDATA"}, {Value: PacketOrigdev, Name: "PACKET_ORIGDEV"},
		{Value: PacketVersion, Name: "PACKET_VERSION"}, {Value: PacketReserve, Name: "PACKET_RESERVE"},
		{PacketTxRing, "PACKET_TX_RING", []Arg{sized(&packetRequest), integer}}, {Value: PacketLoss, Name: "PACKET_LOSS"},
		{Value: PacketVnetHdr, Name: "PACKET_VNET_HDR"}, {Value: PacketTimestamp, Name: "PACKET_TIMESTAMP"},
		{Value: PacketFanout, Name: "PACKET_FANOUT"},
	}}

	rawOptions = Set{Values: []Named{{Value: IcmpFilter, Name: "ICMP_FILTER"}}}

	icmpv6Options = Set{Values: []Named{{Value: IcmpFilter, Name: "ICMPV6_FILTER"}}}
)

// SockLevels are the levels of setsockopt(2), each with its options.
var SockLevels = Set{Values: []Named{
	{SolSocket, "SOL_SOCKET", []Arg{words(&socketOptions), option, integer}},
	{SolIP, "SOL_IP", []Arg{words(&ipOptions), option, integer}},
	{SolIPv6, "SOL_IPV6", []Arg{words(&ipv6Options), option, integer}},
	{SolTCP, "SOL_TCP", []Arg{words(&tcpOptions), option, integer}},
	{SolPacket, "SOL_PACKET", []Arg{words(&packetOptions), option, integer}},
	{SolRaw, "SOL_RAW", []Arg{words(&rawOptions), option, integer}},
	{SolICMPv6, "SOL_ICMPV6", []Arg{words(&icmpv6Options), option, integer}},
}}

var lockTypes = Set{Values: []Named{
	{Value: FRdlck, Name: "F_RDLCK"}, {Value: FWrlck, Name: "F_WRLCK"},
	{Value: FUnlck, Name: "F_UNLCK"},
}}

var fcntlCommands = Set{Values: []Named{
	{0, "F_DUPFD", []Arg{fd}}, {1, "F_GETFD", []Arg{}},
	{2, "F_SETFD", []Arg{words(&Set{Flags: []Named{
		{Value: FdCloexec, Name: "FD_CLOEXEC"}}})}},
	{FSetfl, "F_SETFL", []Arg{words(&StatusFlags)}}, {FSetlk, "F_SETLK", []Arg{one(&lockRange)}},
	{FSetown, "F_SETOWN", []Arg{integer}}, {FSetsig, "F_SETSIG", []Arg{signal}},
	{FSetownEx, "F_SETOWN_EX", []Arg{one(&ownerEx)}},
	{FOfdSetlk, "F_OFD_SETLK", []Arg{one(&lockRange)}},
	{FSetlease, "F_SETLEASE", []Arg{words(&lockTypes)}}, {FSetpipeSz, "F_SETPIPE_SZ", []Arg{integer}},
	{FAddSeals, "F_ADD_SEALS", []Arg{words(&Set{Flags: []Named{
		{Value: 1, Name: "F_SEAL_SEAL"}, {Value: 2, Name: "F_SEAL_SHRINK"}, {Value: 4, Name: "F_SEAL_GROW"},
		{Value: 8, Name: "F_SEAL_WRITE"}, {Value: FSealFutureWrite, Name: "F_SEAL_FUTURE_WRITE"},
		{Value: 0x20, Name: "F_SEAL_EXEC"},
	}})}},
}}

var ioctlRequests = Set{Values: []Named{
	{Tcsets, "TCSETS", []Arg{one(&termios)}}, {Tiocexcl, "TIOCEXCL", []Arg{}},
	{Tiocsctty, "TIOCSCTTY", []Arg{integer}},
	{Tiocspgrp, "TIOCSPGRP", []Arg{one(&number32)}}, {Tiocswinsz, "TIOCSWINSZ", []Arg{one(&winsize)}},
	{Tiocpkt, "TIOCPKT", []Arg{one(&number32)}}, {Tiocvhangup, "TIOCVHANGUP", []Arg{}},
	{Tiocgptpeer, "TIOCGPTPEER", []Arg{words(&OpenFlags)}},
	{Tiocslcktrmios, "TIOCSLCKTRMIOS", []Arg{one(&termios)}},
	{Tiocsptlck, "TIOCSPTLCK", []Arg{one(&number32)}},
	{InotifyIocSetnextwd, "INOTIFY_IOC_SETNEXTWD", []Arg{integer}},
	{TfdIocSetTicks, "TFD_IOC_SET_TICKS", []Arg{one(&number64)}},
}}

var capability = Arg{Kind: Capability}

var mmOptions = Set{Values: []Named{{PrSetMMMap, "PR_SET_MM_MAP", []Arg{one(&mmMap), integer}}}}

var prctlOptions = Set{Values: []Named{
	{PrSetPdeathsig, "PR_SET_PDEATHSIG", []Arg{signal}}, {PrSetDumpable, "PR_SET_DUMPABLE", []Arg{integer}},
	{PrSetName, "PR_SET_NAME", []Arg{str}}, {PrCapbsetDrop, "PR_CAPBSET_DROP", []Arg{capability}},
	{PrSetSecurebits, "PR_SET_SECUREBITS", []Arg{words(&Set{Flags: []Named{
		{Value: 1, Name: "SECBIT_NOROOT"}, {Value: 2, Name: "SECBIT_NOROOT_LOCKED"},
		{Value: SecbitNoSetuidFixup, Name: "SECBIT_NO_SETUID_FIXUP"},
		{Value: 8, Name: "SECBIT_NO_SETUID_FIXUP_LOCKED"}, {Value: SecbitKeepCaps, Name: "SECBIT_KEEP_CAPS"},
		{Value: 32, Name: "SECBIT_KEEP_CAPS_LOCKED"}, {Value: 64, Name: "SECBIT_NO_CAP_AMBIENT_RAISE"},
		{Value: 128, Name: "SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED"},
	}})}},
	{PrSetMM, "PR_SET_MM", []Arg{words(&mmOptions), hex, integer}},
	{PrSetChildSubreaper, "PR_SET_CHILD_SUBREAPER", []Arg{integer}},
	{PrSetNoNewPrivs, "PR_SET_NO_NEW_PRIVS", []Arg{integer}},
	{PrSetThpDisable, "PR_SET_THP_DISABLE", []Arg{integer}},
	{PrCapAmbient, "PR_CAP_AMBIENT",
		[]Arg{words(&Set{Values: []Named{
			{PrCapAmbientRaise, "PR_CAP_AMBIENT_RAISE", []Arg{capability}}}})}},
	{PrTimerRestoreIDs, "PR_TIMER_CREATE_RESTORE_IDS", []Arg{integer}},
}}

var archPrctlCodes = Set{Values: []Named{
	{Value: ArchSetGS, Name: "ARCH_SET_GS"}, {Value: ArchSetFS, Name: "ARCH_SET_FS"},
	{Value: ArchMapVDSO64, Name: "ARCH_MAP_VDSO_64"},
}}

var resources = Set{Values: []Named{
	{Value: 0, Name: "RLIMIT_CPU"}, {Value: 1, Name: "RLIMIT_FSIZE"}, {Value: 2, Name: "RLIMIT_DATA"},
	{Value: 3, Name: "RLIMIT_STACK"}, {Value: RlimitCore, Name: "RLIMIT_CORE"}, {Value: 5, Name: "RLIMIT_RSS"},
	{Value: RlimitNproc, Name: "RLIMIT_NPROC"}, {Value: RlimitNofile, Name: "RLIMIT_NOFILE"},
	{Value: 8, Name: "RLIMIT_MEMLOCK"},
	{Value: 9, Name: "RLIMIT_AS"}, {Value: 10, Name: "RLIMIT_LOCKS"}, {Value: 11, Name: "RLIMIT_SIGPENDING"},
	{Value: 12, Name: "RLIMIT_MSGQUEUE"}, {Value: 13, Name: "RLIMIT_NICE"}, {Value: 14, Name: "RLIMIT_RTPRIO"},
	{Value: 15, Name: "RLIMIT_RTTIME"},
}}

var (
	sigHow = Set{Values: []Named{
		{Value: 0, Name: "SIG_BLOCK"}, {Value: 1, Name: "SIG_UNBLOCK"},
		{Value: SigSetmask, Name: "SIG_SETMASK"},
	}}

	whence = Set{Values: []Named{
		{Value: SeekSet, Name: "SEEK_SET"}, {Value: 1, Name: "SEEK_CUR"},
		{Value: 2, Name: "SEEK_END"},
	}}

	itimers = Set{Values: []Named{
		{Value: 0, Name: "ITIMER_REAL"}, {Value: 1, Name: "ITIMER_VIRTUAL"},
		{Value: 2, Name: "ITIMER_PROF"},
	}}

	timerFlags = Set{Flags: []Named{{Value: 1, Name: "TIMER_ABSTIME"}}}

	timerfdFlags = Set{Flags: []Named{
		{Value: TfdTimerAbstime, Name: "TFD_TIMER_ABSTIME"},
		{Value: TfdTimerCancelOnSet, Name: "TFD_TIMER_CANCEL_ON_SET"},
	}}

	epollOps = Set{Values: []Named{
		{Value: EpollCtlAdd, Name: "EPOLL_CTL_ADD"}, {Value: 2, Name: "EPOLL_CTL_DEL"},
		{Value: 3, Name: "EPOLL_CTL_MOD"},
	}}

	policies = Set{
		Mask: 0xf,
		Values: []Named{
			{Value: SchedOther, Name: "SCHED_OTHER"}, {Value: SchedFifo, Name: "SCHED_FIFO"},
			{Value: SchedRR, Name: "SCHED_RR"},
			{Value: 3, Name: "SCHED_BATCH"}, {Value: 5, Name: "SCHED_IDLE"},
			{Value: SchedDeadline, Name: "SCHED_DEADLINE"},
		},
		Flags: []Named{{Value: SchedResetOnFork, Name: "SCHED_RESET_ON_FORK"}}}

	priorities = Set{Values: []Named{
		{Value: PrioProcess, Name: "PRIO_PROCESS"}, {Value: 1, Name: "PRIO_PGRP"},
		{Value: 2, Name: "PRIO_USER"},
	}}

	seccompOps = Set{Values: []Named{
		{SeccompModeStrict, "SECCOMP_SET_MODE_STRICT", []Arg{integer, hex}},
		{SeccompModeFilter, "SECCOMP_SET_MODE_FILTER", []Arg{words(&Set{Flags: []Named{
			{Value: 1, Name: "SECCOMP_FILTER_FLAG_TSYNC"}, {Value: 2, Name: "SECCOMP_FILTER_FLAG_LOG"},
			{Value: 4, Name: "SECCOMP_FILTER_FLAG_SPEC_ALLOW"},
			{Value: 8, Name: "SECCOMP_FILTER_FLAG_NEW_LISTENER"},
		}}), one(&sockFprog)}},
	}}

	ipcFlags = Set{Mask: 0o777, Mode: true, Flags: []Named{
		{Value: IpcCreat, Name: "IPC_CREAT"},
		{Value: IpcExcl, Name: "IPC_EXCL"}, {Value: IpcNowait, Name: "IPC_NOWAIT"},
	}}

	msgsndFlags = Set{Flags: []Named{{Value: IpcNowait, Name: "IPC_NOWAIT"}}}

	shmCommands = Set{Values: []Named{
		{IpcRmid, "IPC_RMID", []Arg{}}, {IpcSet, "IPC_SET", []Arg{one(&shmSettings)}},
		{ShmLock, "SHM_LOCK", []Arg{}},
	}}

	semCommands = Set{Values: []Named{
		{IpcRmid, "IPC_RMID", []Arg{}}, {IpcSet, "IPC_SET", []Arg{one(&semSettings)}},
		{Value: Setall, Name: "SETALL"},
	}}

	msgCommands = Set{Values: []Named{
		{IpcRmid, "IPC_RMID", []Arg{}}, {IpcSet, "IPC_SET", []Arg{one(&msgSettings)}},
	}}

	waitTypes = Set{Values: []Named{
		{Value: 0, Name: "P_ALL"}, {Value: PPid, Name: "P_PID"},
		{Value: 2, Name: "P_PGID"}, {Value: 3, Name: "P_PIDFD"},
	}}

	waitFlags = Set{Flags: []Named{
		{Value: 1, Name: "WNOHANG"}, {Value: WExited, Name: "WEXITED"}, {Value: WNowait, Name: "WNOWAIT"},
		{Value: 0x40000000, Name: "__WALL"},
	}}

	flockOps = Set{Flags: []Named{
		{Value: LockSh, Name: "LOCK_SH"}, {Value: LockEx, Name: "LOCK_EX"},
		{Value: LockNb, Name: "LOCK_NB"}, {Value: 8, Name: "LOCK_UN"},
	}}

	shutdownHow = Set{Values: []Named{
		{Value: 0, Name: "SHUT_RD"}, {Value: 1, Name: "SHUT_WR"},
		{Value: ShutRdwr, Name: "SHUT_RDWR"},
	}}

	msgFlags = Set{Flags: []Named{
		{Value: MsgDontwait, Name: "MSG_DONTWAIT"},
		{Value: MsgNosignal, Name: "MSG_NOSIGNAL"}, {Value: 1, Name: "MSG_OOB"},
	}}

	memfdFlags = Set{Flags: []Named{
		{Value: 1, Name: "MFD_CLOEXEC"}, {Value: MfdAllowSealing, Name: "MFD_ALLOW_SEALING"},
		{Value: MfdHugetlb, Name: "MFD_HUGETLB"},
		{Value: 8, Name: "MFD_NOEXEC_SEAL"}, {Value: 16, Name: "MFD_EXEC"},
		{Value: 21 << 26, Name: "MFD_HUGE_2MB"}, {Value: 30 << 26, Name: "MFD_HUGE_1GB"},
	}}

	membarriers = Set{Values: []Named{
		{Value: 2, Name: "MEMBARRIER_CMD_GLOBAL_EXPEDITED"},
		{Value: 4, Name: "MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED"},
		{Value: 8, Name: "MEMBARRIER_CMD_PRIVATE_EXPEDITED"},
		{Value: 16, Name: "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED"},
		{Value: 64, Name: "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE"},
		{Value: 256, Name: "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ"},
	}}

	rseqFlags = Set{Flags: []Named{{Value: 1, Name: "RSEQ_FLAG_UNREGISTER"}}}

	closeRangeFlags = Set{Flags: []Named{
		{Value: 2, Name: "CLOSE_RANGE_UNSHARE"},
		{Value: 4, Name: "CLOSE_RANGE_CLOEXEC"},
	}}

	atFlags = Set{Flags: []Named{{Value: 0x100, Name: "AT_SYMLINK_NOFOLLOW"},
		{Value: AtEmptyPath, Name: "AT_EMPTY_PATH"}}}

	inotifyMask = Set{Flags: []Named{
		{Value: InAllEvents, Name: "IN_ALL_EVENTS"}, {Value: 1, Name: "IN_ACCESS"},
		{Value: 2, Name: "IN_MODIFY"}, {Value: 4, Name: "IN_ATTRIB"}, {Value: 8, Name: "IN_CLOSE_WRITE"},
		{Value: 0x10, Name: "IN_CLOSE_NOWRITE"}, {Value: 0x20, Name: "IN_OPEN"},
		{Value: 0x40, Name: "IN_MOVED_FROM"}, {Value: 0x80, Name: "IN_MOVED_TO"},
		{Value: 0x100, Name: "IN_CREATE"}, {Value: 0x200, Name: "IN_DELETE"},
		{Value: 0x400, Name: "IN_DELETE_SELF"}, {Value: 0x800, Name: "IN_MOVE_SELF"},
		{Value: 1 << 24, Name: "IN_ONLYDIR"}, {Value: 1 << 25, Name: "IN_DONT_FOLLOW"},
		{Value: InExclUnlink, Name: "IN_EXCL_UNLINK"}, {Value: 1 << 28, Name: "IN_MASK_CREATE"},
		{Value: 1 << 29, Name: "IN_MASK_ADD"}, {Value: InOneshot, Name: "IN_ONESHOT"},
	}}

	fanotifyFlags = Set{Flags: []Named{
		{Value: 1, Name: "FAN_CLOEXEC"}, {Value: 2, Name: "FAN_NONBLOCK"},
		{Value: 4, Name: "FAN_CLASS_CONTENT"}, {Value: 8, Name: "FAN_CLASS_PRE_CONTENT"},
		{Value: 0x10, Name: "FAN_UNLIMITED_QUEUE"}, {Value: 0x20, Name: "FAN_UNLIMITED_MARKS"},
		{Value: 0x40, Name: "FAN_ENABLE_AUDIT"}, {Value: 0x80, Name: "FAN_REPORT_PIDFD"},
		{Value: 0x100, Name: "FAN_REPORT_TID"}, {Value: 0x200, Name: "FAN_REPORT_FID"},
		{Value: 0x400, Name: "FAN_REPORT_DIR_FID"}, {Value: 0x800, Name: "FAN_REPORT_NAME"},
		{Value: 0x1000, Name: "FAN_REPORT_TARGET_FID"},
	}}

	fanotifyMarks = Set{Flags: []Named{
		{Value: FanMarkAdd, Name: "FAN_MARK_ADD"}, {Value: 2, Name: "FAN_MARK_REMOVE"},
		{Value: 4, Name: "FAN_MARK_DONT_FOLLOW"}, {Value: 8, Name: "FAN_MARK_ONLYDIR"},
		{Value: FanMarkMount, Name: "FAN_MARK_MOUNT"},
		{Value: FanMarkIgnoredMask, Name: "FAN_MARK_IGNORED_MASK"},
		{Value: FanMarkSurvModify, Name: "FAN_MARK_IGNORED_SURV_MODIFY"},
		{Value: 0x100, Name: "FAN_MARK_FILESYSTEM"}, {Value: 0x200, Name: "FAN_MARK_EVICTABLE"},
		{Value: FanMarkIgnore, Name: "FAN_MARK_IGNORE"},
	}}

	fanotifyEvents = Set{Flags: []Named{
		{Value: 1, Name: "FAN_ACCESS"}, {Value: 2, Name: "FAN_MODIFY"}, {Value: 4, Name: "FAN_ATTRIB"},
		{Value: 8, Name: "FAN_CLOSE_WRITE"}, {Value: 0x10, Name: "FAN_CLOSE_NOWRITE"},
		{Value: 0x20, Name: "FAN_OPEN"}, {Value: 0x40, Name: "FAN_MOVED_FROM"},
		{Value: 0x80, Name: "FAN_MOVED_TO"}, {Value: 0x100, Name: "FAN_CREATE"},
		{Value: 0x200, Name: "FAN_DELETE"}, {Value: 0x400, Name: "FAN_DELETE_SELF"},
		{Value: 0x800, Name: "FAN_MOVE_SELF"}, {Value: 0x1000, Name: "FAN_OPEN_EXEC"},
		{Value: 0x8000, Name: "FAN_FS_ERROR"}, {Value: 0x10000, Name: "FAN_OPEN_PERM"},
		{Value: 0x20000, Name: "FAN_ACCESS_PERM"}, {Value: 0x40000, Name: "FAN_OPEN_EXEC_PERM"},
		{Value: 0x8000000, Name: "FAN_EVENT_ON_CHILD"}, {Value: 0x10000000, Name: "FAN_RENAME"},
		{Value: 0x40000000, Name: "FAN_ONDIR"},
	}}

	personalities = Set{
		Mask:   0xff,
		Values: []Named{{Value: PerLinux, Name: "PER_LINUX"}, {Value: PerLinux32, Name: "PER_LINUX32"}},
		Flags: []Named{
			{Value: 0x20000, Name: "UNAME26"}, {Value: 0x40000, Name: "ADDR_NO_RANDOMIZE"},
			{Value: 0x80000, Name: "FDPIC_FUNCPTRS"}, {Value: 0x100000, Name: "MMAP_PAGE_ZERO"},
			{Value: 0x200000, Name: "ADDR_COMPAT_LAYOUT"}, {Value: 0x400000, Name: "READ_IMPLIES_EXEC"},
			{Value: 0x800000, Name: "ADDR_LIMIT_32BIT"}, {Value: 0x1000000, Name: "SHORT_INODE"},
			{Value: 0x2000000, Name: "WHOLE_SECONDS"}, {Value: 0x4000000, Name: "STICKY_TIMEOUTS"},
			{Value: 0x8000000, Name: "ADDR_LIMIT_3GB"},
		},
	}

	fsconfigCommands = Set{Values: []Named{
		{FsconfigSetFlag, "FSCONFIG_SET_FLAG", []Arg{str}},
		{FsconfigSetString, "FSCONFIG_SET_STRING", []Arg{str, str}},
		{FsconfigCmdCreate, "FSCONFIG_CMD_CREATE", []Arg{}},
	}}

	openTreeFlags = Set{Flags: []Named{
		{Value: OpenTreeClone, Name: "OPEN_TREE_CLONE"}, {Value: AtEmptyPath, Name: "AT_EMPTY_PATH"},
	}}

	resolveFlags = Set{Flags: []Named{
		{Value: ResolveNoSymlinks, Name: "RESOLVE_NO_SYMLINKS"},
		{Value: ResolveBeneath, Name: "RESOLVE_BENEATH"},
	}}

	mountAttributes = Set{None: "0", Flags: []Named{
		{Value: MountAttrRdonly, Name: "MOUNT_ATTR_RDONLY"},
		{Value: MountAttrNosuid, Name: "MOUNT_ATTR_NOSUID"},
		{Value: MountAttrNodev, Name: "MOUNT_ATTR_NODEV"}, {Value: MountAttrNoexec, Name: "MOUNT_ATTR_NOEXEC"},
		{Value: MountAttrNodiratime, Name: "MOUNT_ATTR_NODIRATIME"},
		{Value: MountAttrAtime, Name: "MOUNT_ATTR__ATIME"},
		{Value: MountAttrNoatime, Name: "MOUNT_ATTR_NOATIME"},
		{Value: MountAttrStrictatime, Name: "MOUNT_ATTR_STRICTATIME"},
	}}

	propagations = Set{None: "0", Flags: []Named{
		{Value: MsUnbindable, Name: "MS_UNBINDABLE"},
		{Value: MsPrivate, Name: "MS_PRIVATE"}, {Value: MsSlave, Name: "MS_SLAVE"},
		{Value: MsShared, Name: "MS_SHARED"},
	}}

	mountFlags = Set{None: "0", Flags: []Named{
		{Value: MsRdonly, Name: "MS_RDONLY"}, {Value: MsNosuid, Name: "MS_NOSUID"},
		{Value: MsNodev, Name: "MS_NODEV"}, {Value: MsNoexec, Name: "MS_NOEXEC"},
		{Value: MsNoatime, Name: "MS_NOATIME"}, {Value: MsNodiratime, Name: "MS_NODIRATIME"},
		{Value: MsRec, Name: "MS_REC"}, {Value: MsSlave, Name: "MS_SLAVE"},
		{Value: MsRelatime, Name: "MS_RELATIME"},
	}}

	moveMountFlags = Set{Flags: []Named{
		{Value: 4, Name: "MOVE_MOUNT_F_EMPTY_PATH"}, {Value: 0x40, Name: "MOVE_MOUNT_T_EMPTY_PATH"},
		{Value: MoveMountSetGroup, Name: "MOVE_MOUNT_SET_GROUP"},
	}}

	eventfdFlags = Set{Flags: []Named{
		{Value: EfdSemaphore, Name: "EFD_SEMAPHORE"}, {Value: ONonblock, Name: "EFD_NONBLOCK"},
		{Value: OCloexec, Name: "EFD_CLOEXEC"},
	}}
)

// Syscalls says how the system calls that programs use are printed.
var Syscalls = [...]Syscall{
	SysWrite: {"write", []Arg{fd, data, integer}}, SysClose: {"close", []Arg{fd}},
	SysLseek:          {"lseek", []Arg{fd, integer, words(&whence)}},
	SysMmap:           {"mmap", []Arg{hex, integer, words(&protFlags), words(&mapFlags), fd, hex}},
	SysMprotect:       {"mprotect", []Arg{hex, integer, words(&protFlags)}},
	SysMunmap:         {"munmap", []Arg{hex, integer}},
	SysRtSigaction:    {"rt_sigaction", []Arg{signal, one(&sigaction), one(&sigaction), integer}},
	SysRtSigprocmask:  {"rt_sigprocmask", []Arg{words(&sigHow), one(&signalSet), one(&signalSet), integer}},
	SysMremap:         {"mremap", []Arg{hex, integer, integer, words(&mremapFlags), hex}},
	SysMsync:          {"msync", []Arg{hex, integer, words(&msyncFlags)}},
	SysShmget:         {"shmget", []Arg{hex, integer, words(&ipcFlags)}},
	SysShmat:          {"shmat", []Arg{integer, hex, hex}},
	SysShmctl:         {"shmctl", []Arg{integer, words(&shmCommands), hex}},
	SysSemget:         {"semget", []Arg{hex, integer, words(&ipcFlags)}},
	SysSemctl:         {"semctl", []Arg{integer, integer, words(&semCommands), hex}},
	SysMsgget:         {"msgget", []Arg{hex, words(&ipcFlags)}},
	SysMsgsnd:         {"msgsnd", []Arg{integer, {Kind: Message}, integer, words(&msgsndFlags)}},
	SysMsgctl:         {"msgctl", []Arg{integer, words(&msgCommands), hex}},
	SysMadvise:        {"madvise", []Arg{hex, integer, words(&advice)}},
	SysSetitimer:      {"setitimer", []Arg{words(&itimers), one(&itimerval), one(&itimerval)}},
	SysFcntl:          {"fcntl", []Arg{fd, words(&fcntlCommands), hex}},
	SysKill:           {"kill", []Arg{integer, signal}},
	SysRtSigtimedwait: {"rt_sigtimedwait", []Arg{one(&signalSet), {Kind: Siginfo}, one(&timespec), integer}},
	SysWaitid:         {"waitid", []Arg{words(&waitTypes), integer, {Kind: Siginfo}, words(&waitFlags)}},
	SysFchdir:         {"fchdir", []Arg{fd}}, SysUmask: {"umask", []Arg{mode}},
	SysSetpgid: {"setpgid", []Arg{integer, integer}},
	SysSetsid:  {"setsid", nil}, SysGetsid: {"getsid", []Arg{integer}},
	SysSetgroups: {"setgroups", []Arg{integer, {Kind: Before, Of: &group}}},
	SysSetresuid: {"setresuid", []Arg{id, id, id}},
	SysSetresgid: {"setresgid", []Arg{id, id, id}},
	SysSetfsuid:  {"setfsuid", []Arg{id}}, SysSetfsgid: {"setfsgid", []Arg{id}},
	SysCapset:         {"capset", []Arg{one(&capHeader), {Kind: Caps}}},
	SysRtSigqueueinfo: {"rt_sigqueueinfo", []Arg{integer, signal, {Kind: Siginfo}}},
	SysSigaltstack:    {"sigaltstack", []Arg{one(&sigaltstack), one(&sigaltstack)}},
	SysPersonality:    {"personality", []Arg{words(&personalities)}}, SysSetpriority: {"setpriority",
		[]Arg{words(&priorities), integer, integer}},
	SysSchedSetsched: {"sched_setscheduler", []Arg{integer, words(&policies), one(&number32)}},
	SysMlock:         {"mlock", []Arg{hex, integer}},
	SysPrctl:         {"prctl", []Arg{words(&prctlOptions), hex, hex, hex, hex}},
	SysArchPrctl:     {"arch_prctl", []Arg{words(&archPrctlCodes), hex}},
	SysChroot:        {"chroot", []Arg{str}}, SysSetTidAddress: {"set_tid_address", []Arg{hex}},
	SysTimerSettime: {"timer_settime", []Arg{integer, words(&timerFlags), one(&Itimerspec), one(&Itimerspec)}},
	SysEpollCtl:     {"epoll_ctl", []Arg{fd, words(&epollOps), fd, one(&epollEvent)}},
	SysOpenat:       {"openat", []Arg{fd, str, words(&OpenFlags)}},
	SysUnshare:      {"unshare", []Arg{words(&CloneFlags)}}, SysSetns: {"setns", []Arg{fd, words(&CloneFlags)}},
	SysSetRobustList:    {"set_robust_list", []Arg{hex, integer}},
	SysTimerfdCreate:    {"timerfd_create", []Arg{words(&Clocks), words(&StatusFlags)}},
	SysTimerfdSettime:   {"timerfd_settime", []Arg{fd, words(&timerfdFlags), one(&Itimerspec), one(&Itimerspec)}},
	SysSignalfd4:        {"signalfd4", []Arg{fd, one(&signalSet), integer, words(&StatusFlags)}},
	SysEventfd2:         {"eventfd2", []Arg{integer, words(&eventfdFlags)}},
	SysEpollCreate1:     {"epoll_create1", []Arg{words(&StatusFlags)}},
	SysDup3:             {"dup3", []Arg{fd, fd, words(&StatusFlags)}},
	SysRtTgsigqueueinfo: {"rt_tgsigqueueinfo", []Arg{integer, integer, signal, {Kind: Siginfo}}},
	SysPrlimit64:        {"prlimit64", []Arg{integer, words(&resources), one(&rlimit), one(&rlimit)}},
	SysSeccomp:          {"seccomp", []Arg{words(&seccompOps), hex, hex}},
	SysMembarrier:       {"membarrier", []Arg{words(&membarriers), integer, integer}},
	SysRseq:             {"rseq", []Arg{hex, integer, words(&rseqFlags), hex}},
	SysCloseRange:       {"close_range", []Arg{hex, hex, words(&closeRangeFlags)}},
	SysPidfdOpen:        {"pidfd_open", []Arg{integer, words(&StatusFlags)}},
	SysPidfdGetfd:       {"pidfd_getfd", []Arg{fd, fd, integer}},
	SysInotifyInit1:     {"inotify_init1", []Arg{words(&StatusFlags)}},
	SysInotifyAddWatch:  {"inotify_add_watch", []Arg{fd, str, words(&inotifyMask)}},
	SysFanotifyInit:     {"fanotify_init", []Arg{words(&fanotifyFlags), words(&OpenFlags)}},
	SysFanotifyMark:     {"fanotify_mark", []Arg{fd, words(&fanotifyMarks), words(&fanotifyEvents), fd, str}},
	SysOpenByHandleAt:   {"open_by_handle_at", []Arg{fd, {Kind: Handle}, words(&OpenFlags)}},
	SysIoctl:            {"ioctl", []Arg{fd, words(&ioctlRequests), hex}},
	SysSendfile:         {"sendfile", []Arg{fd, fd, hex, integer}},
	SysFtruncate:        {"ftruncate", []Arg{fd, integer}}, SysFchmod: {"fchmod", []Arg{fd, mode}},
	SysFchown:      {"fchown", []Arg{fd, id, id}},
	SysFchownat:    {"fchownat", []Arg{fd, str, id, id, words(&atFlags)}},
	SysFchmodat:    {"fchmodat", []Arg{fd, str, mode}},
	SysUtimensat:   {"utimensat", []Arg{fd, str, {Kind: Pointer, Of: &timespec, N: 2}, words(&atFlags)}},
	SysTee:         {"tee", []Arg{fd, fd, integer, hex}},
	SysFlock:       {"flock", []Arg{fd, words(&flockOps)}},
	SysMemfdCreate: {"memfd_create", []Arg{str, words(&memfdFlags)}},
	SysSocket:      {"socket", []Arg{words(&socketFamilies), words(&SockTypes), hex}},
	SysConnect:     {"connect", []Arg{fd, sockaddr, integer}},
	SysSendto:      {"sendto", []Arg{fd, data, integer, words(&msgFlags)}},
	SysShutdown:    {"shutdown", []Arg{fd, words(&shutdownHow)}},
	SysBind:        {"bind", []Arg{fd, sockaddr, integer}}, SysListen: {"listen", []Arg{fd, integer}},
	SysSetsockopt: {"setsockopt", []Arg{fd, words(&SockLevels), hex, hex, integer}},
	SysChdir:      {"chdir", []Arg{str}},
	SysSendmsg:    {"sendmsg", []Arg{fd, one(&msghdr), words(&msgFlags)}}, SysMkdir: {"mkdir", []Arg{str, mode}},
	SysFsopen: {"fsopen", []Arg{str, hex}}, SysFsconfig: {"fsconfig",
		[]Arg{fd, words(&fsconfigCommands), hex, hex, hex}},
	SysOpenTree:     {"open_tree", []Arg{fd, str, words(&openTreeFlags)}},
	SysMoveMount:    {"move_mount", []Arg{fd, str, fd, str, words(&moveMountFlags)}},
	SysOpenat2:      {"openat2", []Arg{fd, str, one(&openHow), integer}},
	SysMountSetattr: {"mount_setattr", []Arg{fd, str, words(&atFlags), one(&mountAttr), integer}},
	SysMount:        {"mount", []Arg{str, str, str, words(&mountFlags), str}},
	SysFsmount:      {"fsmount", []Arg{fd, hex, hex}}, SysUnlink: {"unlink", []Arg{str}},
	SysChmod:  {"chmod", []Arg{str, mode}},
	SysLchown: {"lchown", []Arg{str, id, id}}, SysAccept4: {"accept4", []Arg{fd, hex, hex, words(&StatusFlags)}}}
