package uapi

var RlimitNames = [...]string{"CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS",
	"LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"}

// Numbers of the Linux user-space interface on x86-64, the machine a plan is made for. They are data here, not the
// host's: a plan comes out the same wherever it is made. Sources: include/uapi/linux and arch/x86/include/uapi/asm of
// Linux 6.18.

// System call numbers, arch/x86/entry/syscalls/syscall_64.tbl.
const (
	SysWrite            = 1
	SysClose            = 3
	SysLseek            = 8
	SysMmap             = 9
	SysMprotect         = 10
	SysMunmap           = 11
	SysRtSigaction      = 13
	SysRtSigprocmask    = 14
	SysRtSigreturn      = 15
	SysMremap           = 25
	SysMsync            = 26
	SysMadvise          = 28
	SysShmget           = 29
	SysShmat            = 30
	SysShmctl           = 31
	SysSemget           = 64
	SysSemctl           = 66
	SysMsgget           = 68
	SysMsgsnd           = 69
	SysMsgctl           = 71
	SysSetitimer        = 38
	SysGetpid           = 39
	SysSocket           = 41
	SysConnect          = 42
	SysSendmsg          = 46
	SysSendto           = 44
	SysShutdown         = 48
	SysBind             = 49
	SysListen           = 50
	SysSetsockopt       = 54
	SysClone            = 56
	SysExit             = 60
	SysKill             = 62
	SysIoctl            = 16
	SysSendfile         = 40
	SysFcntl            = 72
	SysFlock            = 73
	SysFtruncate        = 77
	SysFchmod           = 91
	SysFchown           = 93
	SysRtSigtimedwait   = 128
	SysWaitid           = 247
	SysChdir            = 80
	SysFchdir           = 81
	SysMkdir            = 83
	SysUnlink           = 87
	SysChmod            = 90
	SysLchown           = 94
	SysUmask            = 95
	SysGettimeofday     = 96
	SysSetpgid          = 109
	SysSetsid           = 112
	SysGetsid           = 124
	SysSetgroups        = 116
	SysSetresuid        = 117
	SysSetresgid        = 119
	SysSetfsuid         = 122
	SysSetfsgid         = 123
	SysCapset           = 126
	SysRtSigqueueinfo   = 129
	SysSigaltstack      = 131
	SysPersonality      = 135
	SysSetpriority      = 141
	SysSchedSetsched    = 144
	SysMlock            = 149
	SysPrctl            = 157
	SysArchPrctl        = 158
	SysChroot           = 161
	SysMount            = 165
	SysGettid           = 186
	SysTime             = 201
	SysFutex            = 202
	SysSetTidAddress    = 218
	SysTimerSettime     = 223
	SysClockGettime     = 228
	SysClockGetres      = 229
	SysExitGroup        = 231
	SysEpollCtl         = 233
	SysTgkill           = 234
	SysOpenat           = 257
	SysPpoll            = 271
	SysUnshare          = 272
	SysSetns            = 308
	SysSetRobustList    = 273
	SysPidfdOpen        = 434
	SysPidfdGetfd       = 438
	SysInotifyAddWatch  = 254
	SysInotifyInit1     = 294
	SysFanotifyInit     = 300
	SysFanotifyMark     = 301
	SysOpenByHandleAt   = 304
	SysTimerfdCreate    = 283
	SysTimerfdSettime   = 286
	SysAccept4          = 288
	SysSignalfd4        = 289
	SysEventfd2         = 290
	SysEpollCreate1     = 291
	SysDup3             = 292
	SysRtTgsigqueueinfo = 297
	SysPrlimit64        = 302
	SysTee              = 276
	SysFchownat         = 260
	SysFchmodat         = 268
	SysUtimensat        = 280
	SysGetcpu           = 309
	SysSeccomp          = 317
	SysGetrandom        = 318
	SysMemfdCreate      = 319
	SysMembarrier       = 324
	SysPwritev2         = 328
	SysRseq             = 334
	SysFsopen           = 430
	SysFsconfig         = 431
	SysFsmount          = 432
	SysCloseRange       = 436
	SysOpenTree         = 428
	SysMoveMount        = 429
	SysOpenat2          = 437
	SysMountSetattr     = 442
)

// mmap(2) and friends.
const (
	ProtRead  = 1
	ProtWrite = 2
	ProtExec  = 4

	MapShared          = 0x01
	MapPrivate         = 0x02
	MapType            = 0x0f
	MapFixed           = 0x10
	MapAnonymous       = 0x20
	MapGrowsdown       = 0x100
	MapLocked          = 0x2000
	MapNoreserve       = 0x4000
	MapStack           = 0x20000
	MapHugetlb         = 0x40000
	MapFixedNoreplace  = 0x100000
	MapDroppable       = 0x8
	MremapMaymoveFixed = 3
	MsAsync            = 1

	MadvDontneed     = 4
	MadvDontfork     = 10
	MadvDontdump     = 16
	MadvWipeonfork   = 18
	MadvGuardInstall = 102 // Linux 6.13
	MadvGuardRemove  = 103

	MfdAllowSealing = 2 // memfd_create(2)
	MfdHugetlb      = 4
)

// System V IPC: msgget(2), semctl(2), shmctl(2).
const (
	IpcCreat, IpcExcl, IpcNowait = 0o1000, 0o2000, 0o4000

	IpcRmid, IpcSet = 0, 1

	ShmLock = 11
	Setall  = 17
)

// Descriptors of events and times: eventfd(2), epoll_ctl(2), timerfd_settime(2), clock_getres(2).
const (
	EfdSemaphore        = 1
	EpollCtlAdd         = 1
	TfdTimerAbstime     = 1
	TfdTimerCancelOnSet = 2

	ClockMonotonic, ClockBoottime, ClockBoottimeAlarm = 1, 7, 9
)

// FsconfigCmdCreate makes the file system, fsconfig(2).
const FsconfigCmdCreate = 6

// fcntl(2) and openat(2).
const (
	AtFdcwd    = ^uint64(99) // -100
	OAccmode   = 3
	ORdonly    = 0
	OWronly    = 1
	ORdwr      = 2
	OCreat     = 0o100
	OExcl      = 0o200
	ONoctty    = 0o400
	OTrunc     = 0o1000
	OAppend    = 0o2000
	ONonblock  = 0o4000
	OAsync     = 0o20000
	OLargefile = 0o100000
	ODirectory = 0o200000
	ONofollow  = 0o400000
	OCloexec   = 0o2000000
	OPath      = 0o10000000
	OTmpfile   = 0o20200000
	FSetfl     = 4
	FSetown    = 8
	FSetsig    = 10
	FSetownEx  = 15
	FSetpipeSz = 1031
	FSetlk     = 6
	FOfdSetlk  = 37
	FSetlease  = 1024
	FAddSeals  = 1033
	FdCloexec  = 1

	ODirect = 0o40000 // of pipe2(2): packet mode

	FRdlck, FWrlck, FUnlck = 0, 1, 2

	FSealFutureWrite = 0x10

	LockSh, LockEx, LockNb = 1, 2, 4 // flock(2)

	SeekSet = 0

	ShutRdwr = 2 // shutdown(2)
)

// InotifyIocSetnextwd chooses the number of the next watch, Linux 4.16; linux/inotify.h.
const InotifyIocSetnextwd = 0x40044900

// TfdIocSetTicks sets how often a timer has expired, Linux 3.17; linux/timerfd.h.
const TfdIocSetTicks = 0x40085400

// ioctl_tty(2), asm-generic/ioctls.h.
const (
	Tcsets         = 0x5402
	Tiocexcl       = 0x540c
	Tiocsctty      = 0x540e
	Tiocspgrp      = 0x5410
	Tiocswinsz     = 0x5414
	Tiocpkt        = 0x5420
	Tiocvhangup    = 0x5437
	Tiocgptpeer    = 0x5441 // Linux 4.13
	Tiocslcktrmios = 0x5457
	Tiocsptlck     = 0x40045431
)

// Modes of terminals, termios(3).
const (
	Icanon  = 0x2
	Extproc = 0x10000
)

// prctl(2) and arch_prctl(2).
const (
	PrSetPdeathsig      = 1
	PrSetDumpable       = 4
	PrSetName           = 15
	PrSetSecurebits     = 28
	PrCapbsetDrop       = 24
	PrSetMM             = 35
	PrSetMMMap          = 14
	PrSetChildSubreaper = 36
	PrSetNoNewPrivs     = 38
	PrSetThpDisable     = 41
	PrCapAmbient        = 47
	PrCapAmbientRaise   = 2
	PrTimerRestoreIDs   = 77
	ArchSetGS           = 0x1001
	ArchSetFS           = 0x1002
	ArchMapVDSO64       = 0x2003
)

// clone(2), seccomp(2), setpriority(2), signals.
const (
	CloneParent       = 0x8000
	CloneVM           = 0x100
	CloneFS           = 0x200
	CloneFiles        = 0x400
	CloneSighand      = 0x800
	CloneThread       = 0x10000
	CloneSysvsem      = 0x40000
	PPid              = 1 // waitid(2)
	WExited           = 4
	WNowait           = 0x01000000
	CloneNewtime      = 0x80
	CloneNewns        = 0x20000
	CloneNewcgroup    = 0x2000000
	CloneNewuts       = 0x4000000
	CloneNewipc       = 0x8000000
	CloneNewuser      = 0x10000000
	CloneNewpid       = 0x20000000
	CloneNewnet       = 0x40000000
	SeccompModeStrict = 0
	SeccompModeFilter = 1
	PrioProcess       = 0
	SigSetmask        = 2
	SigKill           = 9
	SigChld           = 17
	SigCont           = 18
	SigStop           = 19
	SigTstp           = 20
	SigTtin           = 21
	SigTtou           = 22
	SigUrg            = 23
	SigWinch          = 28
	NrSignals         = 64
	SsDisable         = 2  // sigaltstack(2)
	SigevThreadID     = 4  // timer_create(2)
	SiTimer           = -2 // sigaction(2)
)

// What a task has: getrlimit(2), sched_getscheduler(2), personality(2), capset(2).
const (
	RlimitCore, RlimitNproc, RlimitNofile = 4, 6, 7

	SchedOther, SchedFifo, SchedRR, SchedDeadline, SchedExt = 0, 1, 2, 6, 7

	SchedResetOnFork = 0x40000000 // comes with the policy

	PerLinux, PerLinux32 = 0, 8

	CapVersion3 = 0x20080522 // _LINUX_CAPABILITY_VERSION_3
)

// fsconfig(2), open_tree(2), move_mount(2), openat2(2): include/uapi/linux/mount.h, openat2.h.
const (
	FsconfigSetFlag     = 0
	FsconfigSetString   = 1
	AtEmptyPath         = 0x1000
	OpenTreeClone       = 1
	MoveMountEmptyPaths = 0x44 // both MOVE_MOUNT_F_EMPTY_PATH and MOVE_MOUNT_T_EMPTY_PATH
	MoveMountSetGroup   = 0x100
	ResolveNoSymlinks   = 4
	ResolveBeneath      = 8
)

// mount(2).
const (
	MsRdonly     = 1
	MsNosuid     = 2
	MsNodev      = 4
	MsNoexec     = 8
	MsNoatime    = 1 << 10
	MsNodiratime = 1 << 11
	MsRec        = 1 << 14
	MsRelatime   = 1 << 21
)

// mount_setattr(2).
const (
	MountAttrRdonly      = 1
	MountAttrNosuid      = 2
	MountAttrNodev       = 4
	MountAttrNoexec      = 8
	MountAttrNoatime     = 0x10
	MountAttrStrictatime = 0x20
	MountAttrAtime       = 0x70
	MountAttrNodiratime  = 0x80

	MsUnbindable = 1 << 17
	MsPrivate    = 1 << 18
	MsSlave      = 1 << 19
	MsShared     = 1 << 20
)
