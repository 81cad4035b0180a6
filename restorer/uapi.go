package restorer

// Numbers of the Linux user-space interface on x86-64, the machine a plan is made for. They are data here, not the
// host's: a plan comes out the same wherever it is made. Sources: include/uapi/linux and arch/x86/include/uapi/asm of
// Linux 6.18.

// System call numbers, arch/x86/entry/syscalls/syscall_64.tbl.
const (
	sysWrite            = 1
	sysClose            = 3
	sysLseek            = 8
	sysMmap             = 9
	sysMprotect         = 10
	sysMunmap           = 11
	sysRtSigaction      = 13
	sysRtSigprocmask    = 14
	sysMremap           = 25
	sysMsync            = 26
	sysMadvise          = 28
	sysShmget           = 29
	sysShmat            = 30
	sysShmctl           = 31
	sysSemget           = 64
	sysSemctl           = 66
	sysMsgget           = 68
	sysMsgsnd           = 69
	sysMsgctl           = 71
	sysSetitimer        = 38
	sysSocket           = 41
	sysConnect          = 42
	sysSendmsg          = 46
	sysSendto           = 44
	sysShutdown         = 48
	sysBind             = 49
	sysListen           = 50
	sysSetsockopt       = 54
	sysKill             = 62
	sysIoctl            = 16
	sysSendfile         = 40
	sysFcntl            = 72
	sysFlock            = 73
	sysFtruncate        = 77
	sysFchmod           = 91
	sysFchown           = 93
	sysRtSigtimedwait   = 128
	sysWaitid           = 247
	sysChdir            = 80
	sysFchdir           = 81
	sysMkdir            = 83
	sysUnlink           = 87
	sysChmod            = 90
	sysLchown           = 94
	sysUmask            = 95
	sysSetpgid          = 109
	sysSetsid           = 112
	sysSetgroups        = 116
	sysSetresuid        = 117
	sysSetresgid        = 119
	sysSetfsuid         = 122
	sysSetfsgid         = 123
	sysCapset           = 126
	sysRtSigqueueinfo   = 129
	sysSigaltstack      = 131
	sysPersonality      = 135
	sysSetpriority      = 141
	sysSchedSetsched    = 144
	sysMlock            = 149
	sysPrctl            = 157
	sysArchPrctl        = 158
	sysChroot           = 161
	sysSetTidAddress    = 218
	sysTimerSettime     = 223
	sysEpollCtl         = 233
	sysOpenat           = 257
	sysUnshare          = 272
	sysSetns            = 308
	sysSetRobustList    = 273
	sysPidfdOpen        = 434
	sysPidfdGetfd       = 438
	sysInotifyAddWatch  = 254
	sysInotifyInit1     = 294
	sysFanotifyInit     = 300
	sysFanotifyMark     = 301
	sysOpenByHandleAt   = 304
	sysTimerfdCreate    = 283
	sysTimerfdSettime   = 286
	sysAccept4          = 288
	sysSignalfd4        = 289
	sysEventfd2         = 290
	sysEpollCreate1     = 291
	sysDup3             = 292
	sysRtTgsigqueueinfo = 297
	sysPrlimit64        = 302
	sysTee              = 276
	sysFchownat         = 260
	sysFchmodat         = 268
	sysUtimensat        = 280
	sysSeccomp          = 317
	sysMemfdCreate      = 319
	sysMembarrier       = 324
	sysRseq             = 334
	sysFsopen           = 430
	sysFsconfig         = 431
	sysFsmount          = 432
	sysCloseRange       = 436
)

// syscalls names the system calls that programs use, and how many arguments are worth printing.
var syscalls = [...]struct {
	name string
	args int
}{
	sysWrite: {"write", 3}, sysClose: {"close", 1}, sysLseek: {"lseek", 3},
	sysMmap: {"mmap", 6}, sysMprotect: {"mprotect", 3}, sysMunmap: {"munmap", 2},
	sysRtSigaction: {"rt_sigaction", 2}, sysRtSigprocmask: {"rt_sigprocmask", 2}, sysMremap: {"mremap", 5}, sysMsync: {"msync", 3},
	sysShmget: {"shmget", 3}, sysShmat: {"shmat", 3}, sysShmctl: {"shmctl", 3}, sysSemget: {"semget", 3}, sysSemctl: {"semctl", 4},
	sysMsgget: {"msgget", 2}, sysMsgsnd: {"msgsnd", 4}, sysMsgctl: {"msgctl", 3},
	sysMadvise: {"madvise", 3}, sysSetitimer: {"setitimer", 2}, sysFcntl: {"fcntl", 3}, sysKill: {"kill", 2},
	sysRtSigtimedwait: {"rt_sigtimedwait", 3}, sysWaitid: {"waitid", 4},
	sysFchdir: {"fchdir", 1}, sysUmask: {"umask", 1}, sysSetpgid: {"setpgid", 2}, sysSetsid: {"setsid", 0},
	sysSetgroups: {"setgroups", 2}, sysSetresuid: {"setresuid", 3}, sysSetresgid: {"setresgid", 3},
	sysSetfsuid: {"setfsuid", 1}, sysSetfsgid: {"setfsgid", 1}, sysCapset: {"capset", 2},
	sysRtSigqueueinfo: {"rt_sigqueueinfo", 3}, sysSigaltstack: {"sigaltstack", 2},
	sysPersonality: {"personality", 1}, sysSetpriority: {"setpriority", 3},
	sysSchedSetsched: {"sched_setscheduler", 3}, sysMlock: {"mlock", 2}, sysPrctl: {"prctl", 5},
	sysArchPrctl: {"arch_prctl", 2}, sysChroot: {"chroot", 1},
	sysSetTidAddress: {"set_tid_address", 1}, sysTimerSettime: {"timer_settime", 4},
	sysEpollCtl: {"epoll_ctl", 4}, sysOpenat: {"openat", 4},
	sysUnshare: {"unshare", 1}, sysSetns: {"setns", 2}, sysSetRobustList: {"set_robust_list", 2}, sysTimerfdCreate: {"timerfd_create", 2},
	sysTimerfdSettime: {"timerfd_settime", 4}, sysSignalfd4: {"signalfd4", 4}, sysEventfd2: {"eventfd2", 2},
	sysEpollCreate1: {"epoll_create1", 1}, sysDup3: {"dup3", 3}, sysRtTgsigqueueinfo: {"rt_tgsigqueueinfo", 4},
	sysPrlimit64: {"prlimit64", 4}, sysSeccomp: {"seccomp", 3}, sysMembarrier: {"membarrier", 3},
	sysRseq: {"rseq", 4}, sysCloseRange: {"close_range", 3},
	sysPidfdOpen: {"pidfd_open", 2}, sysPidfdGetfd: {"pidfd_getfd", 3},
	sysInotifyInit1: {"inotify_init1", 1}, sysInotifyAddWatch: {"inotify_add_watch", 3}, sysFanotifyInit: {"fanotify_init", 2},
	sysFanotifyMark: {"fanotify_mark", 5}, sysOpenByHandleAt: {"open_by_handle_at", 3},
	sysIoctl: {"ioctl", 3}, sysSendfile: {"sendfile", 4}, sysFtruncate: {"ftruncate", 2}, sysFchmod: {"fchmod", 2}, sysFchown: {"fchown", 3},
	sysFchownat: {"fchownat", 5}, sysFchmodat: {"fchmodat", 3}, sysUtimensat: {"utimensat", 4}, sysTee: {"tee", 4}, sysFlock: {"flock", 2}, sysMemfdCreate: {"memfd_create", 2},
	sysSocket: {"socket", 3}, sysConnect: {"connect", 3}, sysSendto: {"sendto", 4}, sysShutdown: {"shutdown", 2},
	sysBind: {"bind", 3}, sysListen: {"listen", 2}, sysSetsockopt: {"setsockopt", 5}, sysChdir: {"chdir", 1},
	sysSendmsg: {"sendmsg", 3}, sysMkdir: {"mkdir", 2}, sysFsopen: {"fsopen", 2}, sysFsconfig: {"fsconfig", 5},
	sysFsmount: {"fsmount", 3}, sysUnlink: {"unlink", 1}, sysChmod: {"chmod", 2}, sysLchown: {"lchown", 3}, sysAccept4: {"accept4", 4},
}

// mmap(2) and friends.
const (
	protRead  = 1
	protWrite = 2
	protExec  = 4

	mapShared          = 0x01
	mapPrivate         = 0x02
	mapAnonymous       = 0x20
	mapGrowsdown       = 0x100
	mapLocked          = 0x2000
	mapNoreserve       = 0x4000
	mapStack           = 0x20000
	mapHugetlb         = 0x40000
	mapFixedNoreplace  = 0x100000
	mapDroppable       = 0x8
	mremapMaymoveFixed = 3
	msAsync            = 1
)

// fcntl(2) and openat(2).
const (
	atFdcwd    = ^uint64(99) // -100
	oAccmode   = 3
	oRdonly    = 0
	oWronly    = 1
	oRdwr      = 2
	oCreat     = 0o100
	oExcl      = 0o200
	oNoctty    = 0o400
	oTrunc     = 0o1000
	oNonblock  = 0o4000
	oAsync     = 0o20000
	oLargefile = 0o100000
	oDirectory = 0o200000
	oNofollow  = 0o400000
	oCloexec   = 0o2000000
	oPath      = 0o10000000
	oTmpfile   = 0o20200000
	fSetfl     = 4
	fSetown    = 8
	fSetsig    = 10
	fSetownEx  = 15
	fSetpipeSz = 1031
	fdCloexec  = 1
)

// inotifyIocSetnextwd chooses the number of the next watch, Linux 4.16; linux/inotify.h.
const inotifyIocSetnextwd = 0x40044900

// tfdIocSetTicks sets how often a timer has expired, Linux 3.17; linux/timerfd.h.
const tfdIocSetTicks = 0x40085400

// ioctl_tty(2), asm-generic/ioctls.h.
const (
	tcsets         = 0x5402
	tiocexcl       = 0x540c
	tiocsctty      = 0x540e
	tiocspgrp      = 0x5410
	tiocswinsz     = 0x5414
	tiocpkt        = 0x5420
	tiocvhangup    = 0x5437
	tiocgptpeer    = 0x5441 // Linux 4.13
	tiocslcktrmios = 0x5457
	tiocsptlck     = 0x40045431
)

// prctl(2) and arch_prctl(2).
const (
	prSetPdeathsig      = 1
	prSetDumpable       = 4
	prSetName           = 15
	prSetSecurebits     = 28
	prCapbsetDrop       = 24
	prSetMM             = 35
	prSetMMMap          = 14
	prSetChildSubreaper = 36
	prSetNoNewPrivs     = 38
	prSetThpDisable     = 41
	prCapAmbient        = 47
	prCapAmbientRaise   = 2
	prTimerRestoreIDs   = 77
	archSetGS           = 0x1001
	archSetFS           = 0x1002
	archMapVDSO64       = 0x2003
)

// clone(2), seccomp(2), setpriority(2), signals.
const (
	cloneParent       = 0x8000
	cloneFiles        = 0x400
	pPid              = 1 // waitid(2)
	wExited           = 4
	wNowait           = 0x01000000
	cloneNewtime      = 0x80
	cloneNewipc       = 0x08000000
	seccompModeStrict = 0
	seccompModeFilter = 1
	prioProcess       = 0
	sigSetmask        = 2
	sigKill           = 9
	sigStop           = 19
	sigTstp           = 20
	nrSignals         = 64
)
