package uapi

import "strings"

// The system calls of x86-64 by their numbers, arch/x86/entry/syscalls/syscall_64.tbl of Linux 7.0, with what their
// arguments are: f a descriptor, s a string, d bytes that are given (as many as the next argument says), A a socket
// address, O flags of open(2), m a mode, g a signal, u a user or group, i a number, x anything else, also memory that
// the call fills.
const (
	firstCalls = `read:fxi write:fdi open:sOm close:f stat:sx fstat:fx lstat:sx poll:xii lseek:fii mmap:xixxfx
mprotect:xix munmap:xi brk:x rt_sigaction:gxxi rt_sigprocmask:ixxi rt_sigreturn: ioctl:fxx pread64:fxii pwrite64:fdii
readv:fxi writev:fxi access:sm pipe:x select:ixxxx sched_yield: mremap:xiixx msync:xix mincore:xix madvise:xii
shmget:xix shmat:ixx shmctl:iix dup:f dup2:ff pause: nanosleep:xx getitimer:ix alarm:i setitimer:ixx getpid:
sendfile:ffxi socket:iii connect:fAi accept:fxx sendto:fdixAi recvfrom:fxixxx sendmsg:fxx recvmsg:fxx shutdown:fi
bind:fAi listen:fi getsockname:fxx getpeername:fxx socketpair:iiix setsockopt:fiixi getsockopt:fiixx clone:xxxxx
fork: vfork: execve:sxx exit:i wait4:ixxx kill:ig uname:x semget:xix semop:ixi semctl:iixx shmdt:x msgget:xx
msgsnd:ixix msgrcv:ixiix msgctl:iix fcntl:fix flock:fi fsync:f fdatasync:f truncate:si ftruncate:fi getdents:fxi
getcwd:xi chdir:s fchdir:f rename:ss mkdir:sm rmdir:s creat:sm link:ss unlink:s symlink:ss readlink:sxi chmod:sm
fchmod:fm chown:suu fchown:fuu lchown:suu umask:m gettimeofday:xx getrlimit:ix getrusage:ix sysinfo:x times:x
ptrace:iixx getuid: syslog:ixi getgid: setuid:u setgid:u geteuid: getegid: setpgid:ii getppid: getpgrp: setsid:
setreuid:uu setregid:uu getgroups:ix setgroups:ix setresuid:uuu getresuid:xxx setresgid:uuu getresgid:xxx getpgid:i
setfsuid:u setfsgid:u getsid:i capget:xx capset:xx rt_sigpending:xi rt_sigtimedwait:xxxi rt_sigqueueinfo:igx
rt_sigsuspend:xi sigaltstack:xx utime:sx mknod:smx uselib:s personality:x ustat:xx statfs:sx fstatfs:fx sysfs:ixx
getpriority:ii setpriority:iii sched_setparam:ix sched_getparam:ix sched_setscheduler:iix sched_getscheduler:i
sched_get_priority_max:i sched_get_priority_min:i sched_rr_get_interval:ix mlock:xi munlock:xi mlockall:x munlockall:
vhangup: modify_ldt:ixi pivot_root:ss _sysctl:x prctl:ixxxx arch_prctl:xx adjtimex:x setrlimit:ix chroot:s sync: acct:s
settimeofday:xx mount:sssxx umount2:sx swapon:sx swapoff:s reboot:xxxx sethostname:di setdomainname:di iopl:i
ioperm:iii create_module:si init_module:xis delete_module:sx get_kernel_syms:x query_module:sixix quotactl:xsix
nfsservctl:ixx getpmsg: putpmsg: afs_syscall: tuxcall: security: gettid: readahead:fii setxattr:ssxix lsetxattr:ssxix
fsetxattr:fsxix getxattr:ssxi lgetxattr:ssxi fgetxattr:fsxi listxattr:sxi llistxattr:sxi flistxattr:fxi removexattr:ss
lremovexattr:ss fremovexattr:fs tkill:ig time:x futex:xxixxx sched_setaffinity:iix sched_getaffinity:iix
set_thread_area:x io_setup:ix io_destroy:x io_getevents:xiixx io_submit:xix io_cancel:xxx get_thread_area:x
lookup_dcookie:ixi epoll_create:i epoll_ctl_old: epoll_wait_old: remap_file_pages:xixix getdents64:fxi
set_tid_address:x restart_syscall: semtimedop:ixix fadvise64:fiii timer_create:ixx timer_settime:ixxx timer_gettime:ix
timer_getoverrun:i timer_delete:i clock_settime:ix clock_gettime:ix clock_getres:ix clock_nanosleep:ixxx exit_group:i
epoll_wait:fxii epoll_ctl:fifx tgkill:iig utimes:sx vserver: mbind:xiixix set_mempolicy:ixi get_mempolicy:xxixx
mq_open:sOmx mq_unlink:s mq_timedsend:fdiix mq_timedreceive:fxixx mq_notify:fx mq_getsetattr:fxx kexec_load:xixx
waitid:iixxx add_key:ssxii request_key:sssi keyctl:ixxxx ioprio_set:iii ioprio_get:ii inotify_init:
inotify_add_watch:fsx inotify_rm_watch:fi migrate_pages:iixx openat:fsOm mkdirat:fsm mknodat:fsmx fchownat:fsuux
futimesat:fsx newfstatat:fsxx unlinkat:fsx renameat:fsfs linkat:fsfsx symlinkat:sfs readlinkat:fsxi fchmodat:fsm
faccessat:fsm pselect6:ixxxxx ppoll:xixxi unshare:x set_robust_list:xi get_robust_list:ixx splice:fxfxix tee:ffix
sync_file_range:fiix vmsplice:fxix move_pages:iixxxx utimensat:fsxx epoll_pwait:fxiixi signalfd:fxi timerfd_create:ix
eventfd:i fallocate:fxii timerfd_settime:fxxx timerfd_gettime:fx accept4:fxxx signalfd4:fxix eventfd2:ix
epoll_create1:x dup3:ffO pipe2:xO inotify_init1:x preadv:fxiii pwritev:fxiii rt_tgsigqueueinfo:iigx
perf_event_open:xiifx recvmmsg:fxixx fanotify_init:xx fanotify_mark:fxxfs prlimit64:iixx name_to_handle_at:fsxxx
open_by_handle_at:fxO clock_adjtime:ix syncfs:f sendmmsg:fxix setns:fx getcpu:xxx process_vm_readv:ixixix
process_vm_writev:ixixix kcmp:iiixx finit_module:fsx sched_setattr:ixx sched_getattr:ixix renameat2:fsfsx seccomp:ixx
getrandom:xix memfd_create:sx kexec_file_load:ffisx bpf:ixi execveat:fsxxx userfaultfd:x membarrier:ixi mlock2:xix
copy_file_range:fxfxix preadv2:fxiiix pwritev2:fxiiix pkey_mprotect:xixi pkey_alloc:xx pkey_free:i statx:fsxxx
io_pgetevents:xiixxx rseq:xixx uretprobe: uprobe:`

	// From Linux 5.1 on the numbers are those of all architectures.
	laterCalls = `pidfd_send_signal:fgxx io_uring_setup:ix io_uring_enter:fiixxi io_uring_register:fixi open_tree:fsx
move_mount:fsfsx fsopen:sx fsconfig:fisxi fsmount:fxx fspick:fsx pidfd_open:ix clone3:xi close_range:ffx openat2:fsxi
pidfd_getfd:ffx faccessat2:fsmx process_madvise:fxiix epoll_pwait2:fxixxi mount_setattr:fsxxi quotactl_fd:fxix
landlock_create_ruleset:xix landlock_add_rule:fixx landlock_restrict_self:fx memfd_secret:x process_mrelease:fx
futex_waitv:xixxi set_mempolicy_home_node:xiix cachestat:fxxx fchmodat2:fsmx map_shadow_stack:xix futex_wake:xxix
futex_wait:xxxxxi futex_requeue:xxii statmount:xxix listmount:xxix lsm_get_self_attr:ixxx lsm_set_self_attr:ixix
lsm_list_modules:xxx mseal:xix setxattrat:fsxsxi getxattrat:fsxsxi listxattrat:fsxxi removexattrat:fsxs
open_tree_attr:fsxxi file_getattr:fsxix file_setattr:fsxix listns:xxix rseq_slice_yield:`
)

// CommonCalls is the number from which on system calls are the same on all architectures, Linux 5.1 and later.
const CommonCalls = 424

// CallName names a system call of x86-64, or gives "" for an unknown number.
func CallName(nr uint64) string {
	from, table := uint64(0), firstCalls
	if nr >= CommonCalls {
		from, table = CommonCalls, laterCalls
	}
	words := strings.Fields(table)
	if nr-from >= uint64(len(words)) {
		return ""
	}
	name, _, _ := strings.Cut(words[nr-from], ":")
	return name
}

var letters = [...]Arg{
	'f': fd, 's': str, 'd': data, 'A': sockaddr, 'O': words(&OpenFlags), 'm': mode, 'g': signal, 'u': id, 'i': integer,
	'x': hex,
}

// describedCalls reads the tables.
func describedCalls() map[uint64]Syscall {
	calls := map[uint64]Syscall{}
	for from, table := range map[uint64]string{0: firstCalls, CommonCalls: laterCalls} {
		for i, word := range strings.Fields(table) {
			name, kinds, _ := strings.Cut(word, ":")
			call := Syscall{Name: name}
			for _, kind := range []byte(kinds) {
				call.Args = append(call.Args, letters[kind])
			}
			calls[from+uint64(i)] = call
		}
	}
	return calls
}

// CallFormatter prints any system call, also those that a restore never makes.
type CallFormatter struct{ calls map[uint64]Syscall }

// NewCallFormatter reads the names of all system calls.
func NewCallFormatter() *CallFormatter { return &CallFormatter{describedCalls()} }

// Format is FormatCall for any number. A call that is not known prints as "syscall", with its number first.
func (f *CallFormatter) Format(nr uint64, args []uint64, mem Memory) (name string, words []string) {
	if nr < uint64(len(Syscalls)) && Syscalls[nr].Name != "" {
		return FormatCall(nr, args, mem)
	}
	call, known := f.calls[nr]
	if !known {
		return "syscall", Format([]Arg{integer, hex, hex, hex, hex, hex, hex}, append([]uint64{nr}, args...), mem)
	}
	return call.Name, Format(call.Args, args, mem)
}
