package uapi

import (
	"encoding/binary"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
)

const headers = `#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <asm/prctl.h>
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_packet.h>
#include <linux/mman.h>
#include <linux/membarrier.h>
#include <linux/memfd.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/rseq.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <linux/close_range.h>
#include <sys/personality.h>
#include <asm/termbits.h>
#include <sys/msg.h>
`

// missing are names that the headers of Debian 12, Linux 6.1 and glibc 2.36, lack or hide; glibc says that O_LARGEFILE
// is 0.
var missing = strings.Fields("MAP_DROPPABLE MADV_GUARD_INSTALL MADV_GUARD_REMOVE PR_TIMER_CREATE_RESTORE_IDS MFD_NOEXEC_SEAL MFD_EXEC " +
	"F_SEAL_EXEC SS_AUTODISARM SA_UNSUPPORTED SA_RESTORER SA_EXPOSE_TAGBITS INOTIFY_IOC_SETNEXTWD TFD_IOC_SET_TICKS O_LARGEFILE")

// allNames finds the constants that have names.
func allNames() map[string]uint64 {
	all := map[string]uint64{}
	for _, call := range Syscalls {
		collect(all, call.Args)
	}
	collect(all, []Arg{words(&Clocks), words(&CloneFlags), one(&Sigevent), inline(&siginfo), inline(&cmsghdr)})
	for i, name := range signals[1:] {
		all[name] = uint64(i + 1)
	}
	for i, name := range CapNames {
		all[name] = uint64(i)
	}
	return all
}

// A constant prints by the name that it has in C: the headers have the same value.
func TestNamesAgreeWithTheHeaders(t *testing.T) {
	all, source := allNames(), headers
	for name, value := range all {
		if !slices.Contains(missing, name) {
			source += fmt.Sprintf("_Static_assert((unsigned int)(unsigned long)(%s) == %#xu, \"%s\");\n",
				name,
				uint32(value), name)
		}
	}
	for nr, call := range Syscalls {
		if call.Name != "" {
			source += fmt.Sprintf("_Static_assert(__NR_%s == %d, \"\");\n", call.Name, nr)
		}
	}
	compile(t, source)
	if len(all) < 450 {
		t.Errorf("%d names", len(all))
	}
}

// Structs are laid out as the headers say.
func TestStructsAgreeWithTheHeaders(t *testing.T) {
	seen := map[*Struct]bool{}
	for _, call := range Syscalls {
		structs(seen, call.Args)
	}
	structs(seen, []Arg{one(&Sigevent), inline(&siginfoSent), inline(&siginfoQueued), inline(&cmsghdr)})
	compared := 0
	for s := range seen {
		if s.C == "" {
			continue
		}
		compared++
		source := fmt.Sprintf("#include <stddef.h>\n#include <linux/types.h>\n#include <%s>\n", s.Header)
		for _, m := range s.Members {
			source += fmt.Sprintf("_Static_assert(offsetof(%s, %s) == %d && sizeof(((%s *)0)->%s) == %d, \"%s %s\");\n",
				s.C, m.Name, m.Off, s.C, m.Name, m.Size, s.C, m.Name)
		}
		source += fmt.Sprintf("_Static_assert(sizeof(%s) >= %d, \"%s\");\n", s.C, s.Size, s.C)
		compile(t, source)
	}
	if compared < 25 {
		t.Errorf("compared %d structs", compared)
	}
}

func compile(t *testing.T, source string) {
	t.Helper()
	cmd := exec.Command(loadertest.Tool(t, "gcc"), "-fsyntax-only", "-xc", "-")
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// structs finds the structs that arguments lead to.
func structs(all map[*Struct]bool, args []Arg) {
	for _, a := range args {
		if a.Set != nil {
			for _, n := range a.Set.Values {
				structs(all, n.Rest)
			}
		}
		if a.Of != nil && !all[a.Of] {
			all[a.Of] = true
			for _, m := range a.Of.Members {
				structs(all, []Arg{m.Arg})
			}
		}
	}
}

// collect finds the names of all values that arguments take.
func collect(all map[string]uint64, args []Arg) {
	for _, a := range args {
		if a.Of != nil {
			for _, m := range a.Of.Members {
				collect(all, []Arg{m.Arg})
			}
		}
		if a.Set == nil {
			continue
		}
		for _, n := range slices.Concat(a.Set.Values, a.Set.Flags) {
			all[n.Name] = n.Value
			collect(all, n.Rest)
		}
	}
}

type fakeMemory map[uint64][]byte

func (m fakeMemory) Lookup(addr uint64) []byte { return m[addr] }

// record lays out numbers and bytes one after the other.
func record(values ...any) (b []byte) {
	for _, v := range values {
		b, _ = binary.Append(b, binary.LittleEndian, v)
	}
	return b
}

func TestFormatCall(t *testing.T) {
	mem := fakeMemory{
		1: []byte("/x\x00rest"), 2: []byte("ab\x01"), 3: {1, 0, 0, 0}, 4: {2, 0, 0, 80, 127, 0, 0, 1},
		5: []byte("\x01\x00/run/s\x00"),
		6: []byte("\x01\x00\x00abstract"), 7: append([]byte{10, 0, 1, 187, 0, 0, 0, 0},
			append(make([]byte, 15), 1)...), 8: []byte("eth0\x00"),
	}
	structs := map[uint64][]byte{
		0x10: record(uint64(1), uint64(0x14000000), uint64(0x7000), uint64(1<<1|1<<16)),
		0x11: record(^uint64(0)), 0x12: record(uint64(1024), ^uint64(0)),
		0x13: record(uint64(1), uint64(2), uint64(3), uint64(4)),
		0x14: record(uint16(24), uint16(80), uint16(0), uint16(0)), 0x15: record(int32(-7)),
		0x16: record(uint64(0), uint64(0), uint64(0x17), uint64(1), uint64(0x18), uint64(20), uint64(0)),
		0x17: record(uint64(2), uint64(3)),
		0x18: record(uint64(20), uint32(1), uint32(1), uint32(9), uint32(0)),
		0x19: record(uint32(7), uint32(8), uint32(1009)),
		0x1a: record(uint16(1), uint16(0), uint32(0), uint64(3), uint64(4), uint64(0)),
		0x1b: record(uint32(CapVersion3), uint32(0)),
		0x24: record(uint32(1), uint32(3), uint32(0), uint32(1), uint32(1), uint32(0)),
		0x1d: record(uint32(12), int32(0), int32(-1), uint32(0), uint32(5), uint32(6), uint64(7)),
		0x1e: record(uint64(5), []byte("text")), 0x1f: record(uint32(2), uint32(1), []byte("\x01\x02")),
		0x20: record(uint32(2), uint32(1460), uint32(4), uint32(0)),
		0x21: record(uint32(0), uint32(1), uint32(2), uint32(0),
			uint32(0), uint32(0o640), make([]byte, 96)),
		0x22: record(uint32(0x500), uint32(5), uint32(0xbf), uint32(0x8a3b), byte(0), make([]byte, 19)),
	}
	for at, b := range structs {
		mem[at] = b
	}
	for want, call := range map[string][]uint64{
		`rt_sigaction(SIGINT, {sa_handler=SIG_IGN, sa_mask=[INT CHLD], sa_flags=SA_RESTORER|SA_RESTART, ` +
			`sa_restorer=0x7000}, NULL, 8)`: {SysRtSigaction, 2, 0x10, 0, 8},
		`rt_sigprocmask(SIG_SETMASK, ~[], NULL, 8)`: {SysRtSigprocmask, 2,
			0x11, 0, 8},
		`prlimit64(0, RLIMIT_NOFILE, {rlim_cur=1024, rlim_max=RLIM64_INFINITY}, NULL)`: {SysPrlimit64, 0, 7,
			0x12},
		`setitimer(ITIMER_REAL, {it_interval={tv_sec=1, tv_usec=2}, it_value={tv_sec=3, tv_usec=4}}, NULL)`: {
			SysSetitimer, 0, 0x13},
		`utimensat(AT_FDCWD, "/x", [{tv_sec=1, tv_nsec=2}, {tv_sec=3, tv_nsec=4}], 0)`: {SysUtimensat, AtFdcwd,
			1,
			0x13},
		`ioctl(4, TIOCSWINSZ, {ws_row=24, ws_col=80, ws_xpixel=0, ws_ypixel=0})`: {SysIoctl, 4, Tiocswinsz,
			0x14},
		`ioctl(4, TIOCSPGRP, [-7])`: {SysIoctl, 4, Tiocspgrp, 0x15},
		`ioctl(4, TCSETS, {c_iflag=ICRNL|IXON, c_oflag=OPOST|ONLCR, c_cflag=B38400|CS8|CREAD, ` +
			`c_lflag=ISIG|ICANON|ECHO|ECHOE|ECHOK|ECHOCTL|ECHOKE|IEXTEN, c_line=0, c_cc="` +
			strings.Repeat(`\x00`, 19) + `"})`: {SysIoctl, 4, Tcsets, 0x22},
		`sendmsg(4, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="ab\x01", iov_len=3}], msg_iovlen=1, ` +
			`msg_control=[{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[9]}], ` +
			`msg_controllen=20, msg_flags=0}, 0)`: {SysSendmsg, 4, 0x16, 0},
		`setgroups(3, [7, 8, 1009])`: {SysSetgroups, 3, 0x19},
		`setgroups(4, 0x19)`:         {SysSetgroups, 4, 0x19},
		`fcntl(4, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=3, l_len=4})`: {SysFcntl, 4, FSetlk,
			0x1a},
		`capset({version=_LINUX_CAPABILITY_VERSION_3, pid=0}, {effective=1<<CAP_CHOWN|1<<CAP_MAC_OVERRIDE, ` +
			`permitted=1<<CAP_CHOWN|1<<CAP_DAC_OVERRIDE|1<<CAP_MAC_OVERRIDE, inheritable=0})`: {SysCapset,
			0x1b, 0x24},
		`rt_sigqueueinfo(5, SIGUSR2, {si_signo=SIGUSR2, si_errno=0, si_code=SI_QUEUE, si_pid=5, si_uid=6, ` +
			`si_ptr=7})`: {SysRtSigqueueinfo, 5, 12, 0x1d},
		`msgsnd(1, {mtype=5, mtext="text"}, 4, 0)`: {SysMsgsnd, 1, 0x1e, 4, 0},
		`open_by_handle_at(3, {handle_bytes=2, handle_type=1, f_handle="\x01\x02"}, O_RDONLY|O_PATH)`: {SysOpenByHandleAt, 3,
			0x1f, OPath},
		`setsockopt(4, SOL_TCP, TCP_REPAIR_OPTIONS, [{opt_code=TCPOPT_MAXSEG, opt_val=0x5b4}, ` +
			`{opt_code=TCPOPT_SACK_PERMITTED, opt_val=0}], 16)`: {SysSetsockopt, 4, SolTCP,
			TcpRepairOptions, 0x20, 16},
		`shmctl(1, IPC_SET, {shm_perm={uid=1, gid=2, mode=0640}})`: {SysShmctl, 1, IpcSet, 0x21},
		`timer_settime(1, 0, 0x12, NULL)`:                          {SysTimerSettime, 1, 0, 0x12}, // too short
		`openat(AT_FDCWD, "/x", O_RDWR|O_CLOEXEC)`: {SysOpenat, AtFdcwd, 1,
			ORdwr | OCloexec},
		`openat(3, 0x100, O_WRONLY|O_CREAT|0x1000000)`: {SysOpenat, 3, 0x100,
			OWronly | OCreat | 0x1000000},
		`mprotect(0x7000, 4096, PROT_NONE)`: {SysMprotect, 0x7000, 4096, 0},
		`write(1, "ab\x01", 3)`:             {SysWrite, 1, 2, 3},
		`prctl(PR_SET_PDEATHSIG, SIGKILL)`:  {SysPrctl, PrSetPdeathsig, 9},
		`prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW)`: {SysPrctl, PrCapAmbient,
			PrCapAmbientRaise, CapNetRaw},
		`prctl(0x63, 1, 0, 0, 0)`:       {SysPrctl, 99, 1},
		`fcntl(5, F_SETFL, O_NONBLOCK)`: {SysFcntl, 5, FSetfl, ONonblock},
		`setsockopt(5, SOL_SOCKET, SO_KEEPALIVE, [1], 4)`: {SysSetsockopt, 5, SolSocket,
			SoKeepalive, 3, 4},
		`setsockopt(5, SOL_SOCKET, SO_BINDTODEVICE, "eth0\x00", 5)`: {SysSetsockopt, 5, SolSocket,
			SoBindtodevice, 8, 5},
		`socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, IPPROTO_TCP)`: {SysSocket, AfInet,
			SockStream | ONonblock, IpprotoTCP},
		`bind(5, {sa_family=AF_INET, 127.0.0.1:80}, 8)`:          {SysBind, 5, 4, 8},
		`bind(5, {sa_family=AF_INET6, [::1]:443}, 24)`:           {SysBind, 5, 7, 24},
		`bind(5, {sa_family=AF_UNIX, sun_path="/run/s"}, 9)`:     {SysBind, 5, 5, 9},
		`bind(5, {sa_family=AF_UNIX, sun_path=@"abstract"}, 11)`: {SysBind, 5, 6, 11},
		`setresuid(-1, 0, 1000)`:                                 {SysSetresuid, 0xffffffff, 0, 1000},
		`kill(7, SIGRT_2)`:                                       {SysKill, 7, 34},
		`sched_setscheduler(0, SCHED_FIFO|SCHED_RESET_ON_FORK, 0x8000)`: {SysSchedSetsched, 0,
			1 | 0x40000000, 0x8000},
		`seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, 0x8000)`: {SysSeccomp, 1, 1, 0x8000},
		`shmget(0x1234, 4096, 0600|IPC_CREAT|IPC_EXCL)`: {SysShmget, 0x1234, 4096,
			0o3600},
		`mmap(0x7000, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_FIXED, 3, 0x10)`: {SysMmap, 0x7000, 4096, 3,
			0x12,
			3, 0x10},
	} {
		args := make([]uint64, 6)
		copy(args, call[1:])
		name, words := FormatCall(call[0], args, mem)
		if got := name + "(" + strings.Join(words, ", ") + ")"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// everywhere is memory that has the same bytes at each address.
type everywhere []byte

func (m everywhere) Lookup(uint64) []byte { return m }

// Whatever arguments point to, they print.
func FuzzFormatCall(f *testing.F) {
	for nr := range Syscalls {
		if Syscalls[nr].Name != "" {
			f.Add(uint64(nr), uint64(1), uint64(8), uint64(16),
				record(uint64(20), uint32(1), uint32(1), uint64(1<<63)))
		}
	}
	f.Fuzz(func(t *testing.T, nr, a, b, c uint64, memory []byte) {
		if nr >= uint64(len(Syscalls)) {
			return
		}
		name, words := FormatCall(nr, []uint64{a, b, c, a, b, c}, everywhere(memory))
		if text := strings.Join(words, ", "); len(text) > 64<<10 {
			t.Errorf("%s: %d bytes", name, len(text))
		}
	})
}
