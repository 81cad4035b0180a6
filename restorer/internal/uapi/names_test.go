package uapi

import (
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
#include <linux/capability.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_packet.h>
#include <linux/mman.h>
#include <linux/membarrier.h>
#include <linux/memfd.h>
#include <linux/mount.h>
#include <linux/rseq.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <linux/close_range.h>
`

// missing are names that the headers of Debian 12, Linux 6.1 and glibc 2.36, lack or hide; glibc says that O_LARGEFILE
// is 0.
var missing = strings.Fields("MAP_DROPPABLE MADV_GUARD_INSTALL MADV_GUARD_REMOVE PR_TIMER_CREATE_RESTORE_IDS MFD_NOEXEC_SEAL MFD_EXEC " +
	"F_SEAL_EXEC INOTIFY_IOC_SETNEXTWD TFD_IOC_SET_TICKS O_LARGEFILE")

// A constant prints by the name that it has in C: the headers have the same value.
func TestNamesAgreeWithTheHeaders(t *testing.T) {
	all := map[string]uint64{}
	for _, call := range Syscalls {
		collect(all, call.Args)
	}
	collect(all, []Arg{words(&Clocks), words(&CloneFlags)})
	for i, name := range signals[1:] {
		all[name] = uint64(i + 1)
	}
	for i, name := range CapNames {
		all[name] = uint64(i)
	}
	source := headers
	for name, value := range all {
		if !slices.Contains(missing, name) {
			source += fmt.Sprintf("_Static_assert((unsigned int)(%s) == %#xu, \"%s\");\n", name,
				uint32(value), name)
		}
	}
	cmd := exec.Command(loadertest.Tool(t, "gcc"), "-fsyntax-only", "-xc", "-")
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil || len(all) < 300 {
		t.Errorf("%d names: %v\n%s", len(all), err, out)
	}
}

// collect finds the names of all values that arguments take.
func collect(all map[string]uint64, args []Arg) {
	for _, a := range args {
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

func TestFormatCall(t *testing.T) {
	mem := fakeMemory{
		1: []byte("/x\x00rest"), 2: []byte("ab\x01"), 3: {1, 0, 0, 0}, 4: {2, 0, 0, 80, 127, 0, 0, 1},
		5: []byte("\x01\x00/run/s\x00"),
		6: []byte("\x01\x00\x00abstract"), 7: append([]byte{10, 0, 1, 187, 0, 0, 0, 0},
			append(make([]byte, 15), 1)...), 8: []byte("eth0\x00"),
	}
	for want, call := range map[string][]uint64{
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
		`setsockopt(5, SOL_SOCKET, SO_BINDTODEVICE, 5 bytes, 5)`: {SysSetsockopt, 5, SolSocket,
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
