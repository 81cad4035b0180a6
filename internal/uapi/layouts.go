package uapi

// Structs that arguments point to, with the members that strace(1) prints.

const (
	siginfoSize = 32 // of siginfo_t, as far as it is printed
	capDataSize = 24 // of struct __user_cap_data_struct[2]
)

func one(s *Struct) Arg { return Arg{Kind: Pointer, Of: s} }

func inline(s *Struct) Arg { return Arg{Kind: Inline, Of: s} }

// sized is the argument of an option, a struct or several; the next argument is the size.
func sized(s *Struct) Arg { return Arg{Kind: Sized, Of: s} }

// Numbers.
var (
	signalSet  = Struct{Size: 8, Members: []Member{{"", 0, 8, Arg{Kind: SigMask}}}}
	number32   = Struct{Size: 4, Members: []Member{{"", 0, 4, integer}}}
	number64   = Struct{Size: 8, Members: []Member{{"", 0, 8, integer}}}
	group      = Struct{Size: 4, Members: []Member{{"", 0, 4, id}}}
	descriptor = Struct{Size: 4, Members: []Member{{"", 0, 4, fd}}}
)

// Times.
var (
	timespec = Struct{C: "struct __kernel_timespec", Header: "linux/time_types.h", Size: 16, Members: []Member{
		{"tv_sec", 0, 8, integer}, {"tv_nsec", 8, 8, integer},
	}}

	timeval = Struct{C: "struct __kernel_sock_timeval", Header: "linux/time_types.h", Size: 16, Members: []Member{
		{"tv_sec", 0, 8, integer}, {"tv_usec", 8, 8, integer},
	}}

	itimerval = Struct{C: "struct itimerval", Header: "linux/time.h", Size: 32, Members: []Member{
		{"it_interval", 0, 16, inline(&timeval)}, {"it_value", 16, 16, inline(&timeval)},
	}}
)

// Itimerspec is struct itimerspec, timer_settime(2).
var Itimerspec = Struct{C: "struct __kernel_itimerspec", Header: "linux/time_types.h", Size: 32, Members: []Member{
	{"it_interval", 0, 16, inline(&timespec)}, {"it_value", 16, 16, inline(&timespec)},
}}

// Signals.
var (
	sigactionFlags = Set{Flags: []Named{
		{Value: 1, Name: "SA_NOCLDSTOP"}, {Value: 2, Name: "SA_NOCLDWAIT"}, {Value: 4, Name: "SA_SIGINFO"},
		{Value: 0x400, Name: "SA_UNSUPPORTED"}, {Value: 0x800, Name: "SA_EXPOSE_TAGBITS"},
		{Value: 0x4000000, Name: "SA_RESTORER"}, {Value: 0x8000000, Name: "SA_ONSTACK"},
		{Value: 0x10000000, Name: "SA_RESTART"}, {Value: 0x40000000, Name: "SA_NODEFER"},
		{Value: 0x80000000, Name: "SA_RESETHAND"},
	}}

	sigactionHandlers = Set{Values: []Named{{Value: 0, Name: "SIG_DFL"}, {Value: 1, Name: "SIG_IGN"}}}

	sigaction = Struct{C: "struct sigaction", Header: "linux/signal.h", Size: 32, Members: []Member{
		{"sa_handler", 0, 8, words(&sigactionHandlers)}, {"sa_mask", 24, 8, Arg{Kind: SigMask}},
		{"sa_flags", 8, 8, words(&sigactionFlags)}, {"sa_restorer", 16, 8, Arg{Kind: Hex, Optional: true}},
	}}

	stackFlags = Set{Flags: []Named{
		{Value: 1, Name: "SS_ONSTACK"}, {Value: SsDisable, Name: "SS_DISABLE"},
		{Value: 1 << 31, Name: "SS_AUTODISARM"},
	}}

	sigaltstack = Struct{C: "stack_t", Header: "linux/signal.h", Size: 24, Members: []Member{
		{"ss_sp", 0, 8, hex}, {"ss_flags", 8, 4, words(&stackFlags)}, {"ss_size", 16, 8, integer},
	}}

	sigCodes = Set{Values: []Named{
		{Value: siUser, Name: "SI_USER"}, {Value: 0x80, Name: "SI_KERNEL"},
		{Value: siQueue & 0xffffffff, Name: "SI_QUEUE"}, {Value: SiTimer & 0xffffffff, Name: "SI_TIMER"},
		{Value: siMesgq & 0xffffffff, Name: "SI_MESGQ"}, {Value: -4 & 0xffffffff, Name: "SI_ASYNCIO"},
		{Value: -5 & 0xffffffff, Name: "SI_SIGIO"}, {Value: siTkill & 0xffffffff, Name: "SI_TKILL"},
	}}

	siginfo = Struct{C: "siginfo_t", Header: "linux/signal.h", Size: siginfoSize, Members: []Member{
		{"si_signo", 0, 4, signal}, {"si_errno", 4, 4, integer}, {"si_code", 8, 4, words(&sigCodes)},
	}}

	siginfoSent = Struct{C: "siginfo_t", Header: "linux/signal.h", Size: siginfoSize, Members: []Member{
		{"si_signo", 0, 4, signal}, {"si_errno", 4, 4, integer}, {"si_code", 8, 4, words(&sigCodes)},
		{"si_pid", 16, 4, integer}, {"si_uid", 20, 4, id},
	}}

	siginfoQueued = Struct{C: "siginfo_t", Header: "linux/signal.h", Size: siginfoSize, Members: []Member{
		{"si_signo", 0, 4, signal}, {"si_errno", 4, 4, integer}, {"si_code", 8, 4, words(&sigCodes)},
		{"si_pid", 16, 4, integer}, {"si_uid", 20, 4, id}, {"si_ptr", 24, 8, hex},
	}}
)

// Codes of signals that processes send, include/uapi/asm-generic/siginfo.h.
const (
	siUser  = 0
	siQueue = -1
	siMesgq = -3
	siTkill = -6
)

// Sigevent is struct sigevent, timer_create(2).
var Sigevent = Struct{C: "struct sigevent", Header: "linux/signal.h", Size: 64, Members: []Member{
	{"sigev_value", 0, 8, hex}, {"sigev_signo", 8, 4, signal},
	{"sigev_notify", 12, 4, words(&Set{Values: []Named{
		{Value: 0, Name: "SIGEV_SIGNAL"}, {Value: 1, Name: "SIGEV_NONE"}, {Value: 2, Name: "SIGEV_THREAD"},
		{Value: SigevThreadID, Name: "SIGEV_THREAD_ID"},
	}})},
	{"sigev_notify_thread_id", 16, 4, Arg{Kind: Int, Optional: true}},
}}

// Processes.
var (
	rlimit = Struct{C: "struct rlimit64", Header: "linux/resource.h", Size: 16, Members: []Member{
		{"rlim_cur", 0, 8, words(&limits)}, {"rlim_max", 8, 8, words(&limits)},
	}}

	limits = Set{Decimal: true, Values: []Named{{Value: 1<<64 - 1, Name: "RLIM64_INFINITY"}}}

	capHeader = Struct{
		C: "struct __user_cap_header_struct", Header: "linux/capability.h", Size: 8,
		Members: []Member{
			{"version", 0, 4, words(&Set{Values: []Named{
				{Value: CapVersion3, Name: "_LINUX_CAPABILITY_VERSION_3"},
			}})},
			{"pid", 4, 4, integer},
		},
	}

	mmMap = Struct{C: "struct prctl_mm_map", Header: "linux/prctl.h", Size: 104, Members: []Member{
		{"start_code", 0, 8, hex}, {"end_code", 8, 8, hex}, {"start_data", 16, 8, hex},
		{"end_data", 24, 8, hex}, {"start_brk", 32, 8, hex}, {"brk", 40, 8, hex}, {"start_stack", 48, 8, hex},
		{"arg_start", 56, 8, hex}, {"arg_end", 64, 8, hex}, {"env_start", 72, 8, hex}, {"env_end", 80, 8, hex},
		{"auxv", 88, 8, hex}, {"auxv_size", 96, 4, integer}, {"exe_fd", 100, 4, integer},
	}}

	sockFprog = Struct{C: "struct sock_fprog", Header: "linux/filter.h", Size: 16, Members: []Member{
		{"len", 0, 2, integer}, {"filter", 8, 8, hex},
	}}
)

// Files.
var (
	lockRange = Struct{C: "struct flock", Header: "asm/fcntl.h", Size: 32, Members: []Member{
		{"l_type", 0, 2, words(&lockTypes)}, {"l_whence", 2, 2, words(&whence)}, {"l_start", 8, 8, integer},
		{"l_len", 16, 8, integer},
	}}

	ownerEx = Struct{C: "struct f_owner_ex", Header: "asm/fcntl.h", Size: 8, Members: []Member{
		{"type", 0, 4, words(&Set{Values: []Named{
			{Value: 0, Name: "F_OWNER_TID"}, {Value: 1, Name: "F_OWNER_PID"},
			{Value: 2, Name: "F_OWNER_PGRP"},
		}})},
		{"pid", 4, 4, integer},
	}}

	epollEvents = Set{Flags: []Named{
		{Value: 1, Name: "EPOLLIN"}, {Value: 2, Name: "EPOLLPRI"}, {Value: 4, Name: "EPOLLOUT"},
		{Value: 8, Name: "EPOLLERR"}, {Value: 0x10, Name: "EPOLLHUP"}, {Value: 0x40, Name: "EPOLLRDNORM"},
		{Value: 0x80, Name: "EPOLLRDBAND"}, {Value: 0x100, Name: "EPOLLWRNORM"},
		{Value: 0x200, Name: "EPOLLWRBAND"}, {Value: 0x400, Name: "EPOLLMSG"},
		{Value: 0x2000, Name: "EPOLLRDHUP"},
		{Value: 1 << 28, Name: "EPOLLEXCLUSIVE"}, {Value: 1 << 29, Name: "EPOLLWAKEUP"},
		{Value: 1 << 30, Name: "EPOLLONESHOT"}, {Value: 1 << 31, Name: "EPOLLET"},
	}}

	epollEvent = Struct{C: "struct epoll_event", Header: "linux/eventpoll.h", Size: 12, Members: []Member{
		{"events", 0, 4, words(&epollEvents)}, {"data", 4, 8, hex},
	}}

	fileHandle = Struct{Size: 8, Members: []Member{{"handle_bytes", 0, 4, integer}, {"handle_type", 4, 4, integer}}}
)

// Terminals.
var (
	inputModes = Set{Flags: []Named{
		{Value: 1, Name: "IGNBRK"}, {Value: 2, Name: "BRKINT"}, {Value: 4, Name: "IGNPAR"},
		{Value: 8, Name: "PARMRK"},
		{Value: 0x10, Name: "INPCK"}, {Value: 0x20, Name: "ISTRIP"}, {Value: 0x40, Name: "INLCR"},
		{Value: 0x80, Name: "IGNCR"}, {Value: 0x100, Name: "ICRNL"}, {Value: 0x200, Name: "IUCLC"},
		{Value: 0x400, Name: "IXON"}, {Value: 0x800, Name: "IXANY"}, {Value: 0x1000, Name: "IXOFF"},
		{Value: 0x2000, Name: "IMAXBEL"}, {Value: 0x4000, Name: "IUTF8"},
	}}

	outputModes = Set{Flags: []Named{
		{Value: 1, Name: "OPOST"}, {Value: 2, Name: "OLCUC"}, {Value: 4, Name: "ONLCR"},
		{Value: 8, Name: "OCRNL"},
		{Value: 0x10, Name: "ONOCR"}, {Value: 0x20, Name: "ONLRET"}, {Value: 0x40, Name: "OFILL"},
		{Value: 0x80, Name: "OFDEL"}, {Value: 0x100, Name: "NL1"}, {Value: 0x600, Name: "CR3"},
		{Value: 0x400, Name: "CR2"}, {Value: 0x200, Name: "CR1"}, {Value: 0x1800, Name: "XTABS"},
		{Value: 0x1000, Name: "TAB2"}, {Value: 0x800, Name: "TAB1"}, {Value: 0x2000, Name: "BS1"},
		{Value: 0x4000, Name: "VT1"}, {Value: 0x8000, Name: "FF1"},
	}}

	controlModes = Set{
		Mask: 0x100f,
		Values: []Named{
			{Value: 0, Name: "B0"}, {Value: 1, Name: "B50"}, {Value: 2, Name: "B75"},
			{Value: 3, Name: "B110"},
			{Value: 4, Name: "B134"}, {Value: 5, Name: "B150"}, {Value: 6, Name: "B200"},
			{Value: 7, Name: "B300"},
			{Value: 8, Name: "B600"}, {Value: 9, Name: "B1200"}, {Value: 10, Name: "B1800"},
			{Value: 11, Name: "B2400"}, {Value: 12, Name: "B4800"}, {Value: 13, Name: "B9600"},
			{Value: 14, Name: "B19200"}, {Value: 15, Name: "B38400"}, {Value: 0x1000, Name: "BOTHER"},
			{Value: 0x1001, Name: "B57600"}, {Value: 0x1002, Name: "B115200"},
			{Value: 0x1003, Name: "B230400"},
			{Value: 0x1004, Name: "B460800"}, {Value: 0x1005, Name: "B500000"},
			{Value: 0x1006, Name: "B576000"},
			{Value: 0x1007, Name: "B921600"}, {Value: 0x1008, Name: "B1000000"},
		},
		Flags: []Named{
			{Value: 0x30, Name: "CS8"}, {Value: 0x20, Name: "CS7"}, {Value: 0x10, Name: "CS6"},
			{Value: 0x40, Name: "CSTOPB"}, {Value: 0x80, Name: "CREAD"}, {Value: 0x100, Name: "PARENB"},
			{Value: 0x200, Name: "PARODD"}, {Value: 0x400, Name: "HUPCL"}, {Value: 0x800, Name: "CLOCAL"},
			{Value: 0x40000000, Name: "CMSPAR"}, {Value: 0x80000000, Name: "CRTSCTS"},
		},
	}

	localModes = Set{Flags: []Named{
		{Value: 1, Name: "ISIG"}, {Value: Icanon, Name: "ICANON"}, {Value: 4, Name: "XCASE"},
		{Value: 8, Name: "ECHO"},
		{Value: 0x10, Name: "ECHOE"}, {Value: 0x20, Name: "ECHOK"}, {Value: 0x40, Name: "ECHONL"},
		{Value: 0x80, Name: "NOFLSH"}, {Value: 0x100, Name: "TOSTOP"}, {Value: 0x200, Name: "ECHOCTL"},
		{Value: 0x400, Name: "ECHOPRT"}, {Value: 0x800, Name: "ECHOKE"}, {Value: 0x1000, Name: "FLUSHO"},
		{Value: 0x4000, Name: "PENDIN"}, {Value: 0x8000, Name: "IEXTEN"}, {Value: Extproc, Name: "EXTPROC"},
	}}

	termios = Struct{C: "struct termios", Header: "asm/termbits.h", Size: 36, Members: []Member{
		{"c_iflag", 0, 4, words(&inputModes)}, {"c_oflag", 4, 4, words(&outputModes)},
		{"c_cflag", 8, 4, words(&controlModes)}, {"c_lflag", 12, 4, words(&localModes)},
		{"c_line", 16, 1, integer}, {"c_cc", 17, 19, Arg{Kind: Chars}},
	}}

	winsize = Struct{C: "struct winsize", Header: "asm/termios.h", Size: 8, Members: []Member{
		{"ws_row", 0, 2, integer}, {"ws_col", 2, 2, integer}, {"ws_xpixel", 4, 2, integer},
		{"ws_ypixel", 6, 2, integer},
	}}
)

// Sockets.
var (
	iovec = Struct{C: "struct iovec", Header: "linux/uio.h", Size: 16, Members: []Member{
		{"iov_base", 0, 8, data}, {"iov_len", 8, 8, integer},
	}}

	msghdr = Struct{C: "struct msghdr", Header: "sys/socket.h", Size: 56, Members: []Member{
		{"msg_name", 0, 8, sockaddr}, {"msg_namelen", 8, 4, integer},
		{"msg_iov", 16, 8, Arg{Kind: Counted, Of: &iovec}},
		{"msg_iovlen", 24, 8, integer}, {"msg_control", 32, 8, Arg{Kind: Control}},
		{"msg_controllen", 40, 8, integer}, {"msg_flags", 48, 4, words(&msgFlags)},
	}}

	cmsghdr = Struct{C: "struct cmsghdr", Header: "sys/socket.h", Size: CmsgHeader, Members: []Member{
		{"cmsg_len", 0, 8, integer},
		{"cmsg_level", 8, 4, words(&Set{Values: []Named{{Value: SolSocket, Name: "SOL_SOCKET"}}})},
		{"cmsg_type", 12, 4, words(&Set{Values: []Named{{Value: ScmRights, Name: "SCM_RIGHTS"}}})},
	}}

	openHow = Struct{C: "struct open_how", Header: "linux/openat2.h", Size: 24, Members: []Member{
		{"flags", 0, 8, words(&OpenFlags)}, {"mode", 8, 8, mode}, {"resolve", 16, 8, words(&resolveFlags)},
	}}

	mountAttr = Struct{C: "struct mount_attr", Header: "linux/mount.h", Size: 32, Members: []Member{
		{"attr_set", 0, 8, words(&mountAttributes)}, {"attr_clr", 8, 8, words(&mountAttributes)},
		{"propagation", 16, 8, words(&propagations)}, {"userns_fd", 24, 8, integer},
	}}

	linger = Struct{C: "struct linger", Header: "sys/socket.h", Size: 8, Members: []Member{
		{"l_onoff", 0, 4, integer}, {"l_linger", 4, 4, integer},
	}}

	repairOption = Struct{C: "struct tcp_repair_opt", Header: "linux/tcp.h", Size: 8, Members: []Member{
		{"opt_code", 0, 4, words(&Set{Values: []Named{
			{Value: TcpoptMaxseg, Name: "TCPOPT_MAXSEG"}, {Value: TcpoptWindow, Name: "TCPOPT_WINDOW"},
			{Value: TcpoptSackPermitted, Name: "TCPOPT_SACK_PERMITTED"},
			{Value: TcpoptTimestamp, Name: "TCPOPT_TIMESTAMP"},
		}})},
		{"opt_val", 4, 4, hex},
	}}

	repairWindow = Struct{C: "struct tcp_repair_window", Header: "linux/tcp.h", Size: 20, Members: []Member{
		{"snd_wl1", 0, 4, hex}, {"snd_wnd", 4, 4, hex}, {"max_window", 8, 4, hex}, {"rcv_wnd", 12, 4, hex},
		{"rcv_wup", 16, 4, hex},
	}}

	packetRequest = Struct{C: "struct tpacket_req3", Header: "linux/if_packet.h", Size: 28, Members: []Member{
		{"tp_block_size", 0, 4, integer}, {"tp_block_nr", 4, 4, integer}, {"tp_frame_size", 8, 4, integer},
		{"tp_frame_nr", 12, 4, integer}, {"tp_retire_blk_tov", 16, 4, integer},
		{"tp_sizeof_priv", 20, 4, integer}, {"tp_feature_req_word", 24, 4, hex},
	}}

	packetMember = Struct{Size: 8 + MaxHardwareAddress, Members: []Member{ // the kernel's struct packet_mreq_max
		{"mr_ifindex", 0, 4, integer}, {"mr_type", 4, 2, integer}, {"mr_alen", 6, 2, integer},
		{"mr_address", 8, MaxHardwareAddress, Arg{Kind: Chars}},
	}}
)

// System V IPC.
var (
	ipcPerm = Struct{C: "struct ipc64_perm", Header: "asm/ipcbuf.h", Size: 48, Members: []Member{
		{"uid", 4, 4, id}, {"gid", 8, 4, id}, {"mode", 20, 4, mode},
	}}

	shmSettings = Struct{C: "struct shmid64_ds", Header: "asm/shmbuf.h", Size: 112, Members: []Member{
		{"shm_perm", 0, 48, inline(&ipcPerm)},
	}}

	semSettings = Struct{C: "struct semid64_ds", Header: "asm/sembuf.h", Size: 104, Members: []Member{
		{"sem_perm", 0, 48, inline(&ipcPerm)},
	}}

	msgSettings = Struct{C: "struct msqid64_ds", Header: "asm/msgbuf.h", Size: 120, Members: []Member{
		{"msg_perm", 0, 48, inline(&ipcPerm)}, {"msg_qbytes", 88, 8, integer},
	}}
)
