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
	SysSocket           = 41
	SysConnect          = 42
	SysSendmsg          = 46
	SysSendto           = 44
	SysShutdown         = 48
	SysBind             = 49
	SysListen           = 50
	SysSetsockopt       = 54
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
	SysSetTidAddress    = 218
	SysTimerSettime     = 223
	SysEpollCtl         = 233
	SysOpenat           = 257
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
	SysSeccomp          = 317
	SysMemfdCreate      = 319
	SysMembarrier       = 324
	SysRseq             = 334
	SysFsopen           = 430
	SysFsconfig         = 431
	SysFsmount          = 432
	SysCloseRange       = 436
)

// Syscalls names the system calls that programs use, and how many arguments are worth printing.
var Syscalls = [...]struct {
	Name string
	Args int
}{
	SysWrite: {"write", 3}, SysClose: {"close", 1}, SysLseek: {"lseek", 3},
	SysMmap: {"mmap", 6}, SysMprotect: {"mprotect", 3}, SysMunmap: {"munmap", 2},
	SysRtSigaction: {"rt_sigaction", 2}, SysRtSigprocmask: {"rt_sigprocmask", 2}, SysMremap: {"mremap", 5}, SysMsync: {"msync", 3},
	SysShmget: {"shmget", 3}, SysShmat: {"shmat", 3}, SysShmctl: {"shmctl", 3}, SysSemget: {"semget", 3}, SysSemctl: {"semctl", 4},
	SysMsgget: {"msgget", 2}, SysMsgsnd: {"msgsnd", 4}, SysMsgctl: {"msgctl", 3},
	SysMadvise: {"madvise", 3}, SysSetitimer: {"setitimer", 2}, SysFcntl: {"fcntl", 3}, SysKill: {"kill", 2},
	SysRtSigtimedwait: {"rt_sigtimedwait", 3}, SysWaitid: {"waitid", 4},
	SysFchdir: {"fchdir", 1}, SysUmask: {"umask", 1}, SysSetpgid: {"setpgid", 2}, SysSetsid: {"setsid", 0}, SysGetsid: {"getsid", 1},
	SysSetgroups: {"setgroups", 2}, SysSetresuid: {"setresuid", 3}, SysSetresgid: {"setresgid", 3},
	SysSetfsuid: {"setfsuid", 1}, SysSetfsgid: {"setfsgid", 1}, SysCapset: {"capset", 2},
	SysRtSigqueueinfo: {"rt_sigqueueinfo", 3}, SysSigaltstack: {"sigaltstack", 2},
	SysPersonality: {"personality", 1}, SysSetpriority: {"setpriority", 3},
	SysSchedSetsched: {"sched_setscheduler", 3}, SysMlock: {"mlock", 2}, SysPrctl: {"prctl", 5},
	SysArchPrctl: {"arch_prctl", 2}, SysChroot: {"chroot", 1},
	SysSetTidAddress: {"set_tid_address", 1}, SysTimerSettime: {"timer_settime", 4},
	SysEpollCtl: {"epoll_ctl", 4}, SysOpenat: {"openat", 4},
	SysUnshare: {"unshare", 1}, SysSetns: {"setns", 2}, SysSetRobustList: {"set_robust_list", 2}, SysTimerfdCreate: {"timerfd_create", 2},
	SysTimerfdSettime: {"timerfd_settime", 4}, SysSignalfd4: {"signalfd4", 4}, SysEventfd2: {"eventfd2", 2},
	SysEpollCreate1: {"epoll_create1", 1}, SysDup3: {"dup3", 3}, SysRtTgsigqueueinfo: {"rt_tgsigqueueinfo", 4},
	SysPrlimit64: {"prlimit64", 4}, SysSeccomp: {"seccomp", 3}, SysMembarrier: {"membarrier", 3},
	SysRseq: {"rseq", 4}, SysCloseRange: {"close_range", 3},
	SysPidfdOpen: {"pidfd_open", 2}, SysPidfdGetfd: {"pidfd_getfd", 3},
	SysInotifyInit1: {"inotify_init1", 1}, SysInotifyAddWatch: {"inotify_add_watch", 3}, SysFanotifyInit: {"fanotify_init", 2},
	SysFanotifyMark: {"fanotify_mark", 5}, SysOpenByHandleAt: {"open_by_handle_at", 3},
	SysIoctl: {"ioctl", 3}, SysSendfile: {"sendfile", 4}, SysFtruncate: {"ftruncate", 2}, SysFchmod: {"fchmod", 2}, SysFchown: {"fchown", 3},
	SysFchownat: {"fchownat", 5}, SysFchmodat: {"fchmodat", 3}, SysUtimensat: {"utimensat", 4}, SysTee: {"tee", 4}, SysFlock: {"flock", 2}, SysMemfdCreate: {"memfd_create", 2},
	SysSocket: {"socket", 3}, SysConnect: {"connect", 3}, SysSendto: {"sendto", 4}, SysShutdown: {"shutdown", 2},
	SysBind: {"bind", 3}, SysListen: {"listen", 2}, SysSetsockopt: {"setsockopt", 5}, SysChdir: {"chdir", 1},
	SysSendmsg: {"sendmsg", 3}, SysMkdir: {"mkdir", 2}, SysFsopen: {"fsopen", 2}, SysFsconfig: {"fsconfig", 5},
	SysFsmount: {"fsmount", 3}, SysUnlink: {"unlink", 1}, SysChmod: {"chmod", 2}, SysLchown: {"lchown", 3}, SysAccept4: {"accept4", 4},
}

// mmap(2) and friends.
const (
	ProtRead  = 1
	ProtWrite = 2
	ProtExec  = 4

	MapShared          = 0x01
	MapPrivate         = 0x02
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
)

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
	FdCloexec  = 1
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
	CloneFiles        = 0x400
	PPid              = 1 // waitid(2)
	WExited           = 4
	WNowait           = 0x01000000
	CloneNewtime      = 0x80
	CloneNewcgroup    = 0x2000000
	CloneNewipc       = 0x08000000
	SeccompModeStrict = 0
	SeccompModeFilter = 1
	PrioProcess       = 0
	SigSetmask        = 2
	SigKill           = 9
	SigStop           = 19
	SigTstp           = 20
	NrSignals         = 64
)
