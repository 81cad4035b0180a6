package graft

import (
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/seccomp"
)

// coreCall is a system call of graft/core/src. Arguments that depend on the task are left open.
type coreCall struct {
	name    string
	nr      uint32 // arch/x86/entry/syscalls/syscall_64.tbl
	args    []seccomp.Arg
	leader  bool   // only the leader makes it, or the watchdog, which has the leader's filters
	without string // what is missing if it returns an error; empty: the core needs it
	when    func(g *grafter, t *images.Task) bool
}

var some = seccomp.Arg{} // an argument that can be anything

func is(v uint64) seccomp.Arg { return seccomp.Is(v) }

const minusOne = ^uint64(0)

const (
	noLines = "lines of plugins and of the core are missing"
	noName  = "the pages that stay have no name in /proc/PID/maps"
)

// Flags of open(2): O_WRONLY|O_APPEND|O_CLOEXEC|O_NONBLOCK|O_NOCTTY, O_CREAT, O_EXCL; and of clone(2) for a thread.
const (
	openLog, openCreat, openExcl = 0x1 | 0x400 | 0x80000 | 0x800 | 0x100, 0x40, 0x80
	cloneWatchdog                = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x100000 | 0x200000
)

// coreCalls lists every call of the core; a test compares it with the sources.
func coreCalls() []coreCall {
	return slices.Concat([]coreCall{
		{name: "sigaltstack", nr: 131},
		{name: "futex", nr: 202, args: []seccomp.Arg{some, is(0x80)}}, // FUTEX_WAIT_PRIVATE
		{name: "futex", nr: 202, args: []seccomp.Arg{some, is(0x81)}}, // FUTEX_WAKE_PRIVATE
		{name: "rt_sigprocmask", nr: 14, args: []seccomp.Arg{is(1), some, is(0), is(8)}},
		{name: "rt_sigprocmask", nr: 14, args: []seccomp.Arg{is(2), some, is(0), is(8)}},
		{name: "rt_sigreturn", nr: 15},
		{name: "clock_gettime", nr: 228, args: []seccomp.Arg{is(0)}},
		{name: "clock_gettime", nr: 228, args: []seccomp.Arg{is(1)}},
		{name: "munmap", nr: 11},
		{name: "gettid", nr: 186},
		{name: "getpid", nr: 39},
		{name: "rt_tgsigqueueinfo", nr: 297},
		{name: "exit_group", nr: 231, args: []seccomp.Arg{is(70)}},

		{name: "rt_sigaction", nr: 13, args: []seccomp.Arg{some, some, some, is(8)}, leader: true},
		{name: "clone", nr: 56, args: []seccomp.Arg{is(cloneWatchdog)}, leader: true, when: watched},
		{name: "futex", nr: 202, args: []seccomp.Arg{some, is(0)}, leader: true, when: watched}, // FUTEX_WAIT
		{name: "tgkill", nr: 234, args: []seccomp.Arg{some, some, is(7)}, leader: true, when: watched},
		{name: "exit", nr: 60, args: []seccomp.Arg{is(0)}, leader: true, when: watched},
	}, renewalCalls(), namingCalls(), logCalls())
}

func renewalCalls() []coreCall {
	calls := []coreCall{}
	for _, advice := range []uint64{4, 16, 18} { // MADV_DONTNEED, MADV_DONTDUMP, MADV_WIPEONFORK
		args := []seccomp.Arg{some, some, is(advice)}
		calls = append(calls, coreCall{name: "madvise", nr: 28, args: args, leader: true, when: renews})
	}
	// MAP_DROPPABLE, or MAP_PRIVATE|MAP_NORESERVE; MAP_FIXED|MAP_ANONYMOUS
	for _, flags := range []uint64{0x8 | 0x30, 0x4002 | 0x30} {
		args := []seccomp.Arg{some, some, is(3), is(flags), is(minusOne), is(0)}
		calls = append(calls, coreCall{name: "mmap", nr: 9, args: args, leader: true, when: renews})
	}
	return calls
}

// namingCalls come one after the other until the name is there.
func namingCalls() []coreCall {
	text := []seccomp.Arg{some, some, is(5), is(0x12), some, is(0)} // MAP_PRIVATE|MAP_FIXED
	frames := []seccomp.Arg{some, some, is(3), is(0x12), some, is(pageSize)}
	return []coreCall{
		// PR_SET_VMA
		{name: "prctl", nr: 157, args: []seccomp.Arg{is(0x53564d41), is(0)}, leader: true, without: noName},
		{name: "memfd_create", nr: 319, args: []seccomp.Arg{some, is(1)}, leader: true, without: noName},
		{name: "write", nr: 1, leader: true, without: noName},
		{name: "mmap", nr: 9, args: text, leader: true, without: noName},
		{name: "mmap", nr: 9, args: frames, leader: true, without: noName},
		{name: "close", nr: 3, leader: true},
	}
}

func logCalls() []coreCall {
	end := []seccomp.Arg{is(2), some, is(1), is(minusOne), is(minusOne), is(0x10)} // RWF_APPEND
	calls := []coreCall{
		{name: "ppoll", nr: 271, args: []seccomp.Arg{some, is(1), some, is(0)}, without: noLines},
		{name: "pwritev2", nr: 328, args: end, without: noLines},
		{name: "write", nr: 1, without: noLines},
		{name: "close", nr: 3, when: logs},
		{name: "fchmod", nr: 91, args: []seccomp.Arg{some, is(0o600)}, without: noLines, when: logs},
	}
	for _, creates := range []uint64{0, openCreat | openExcl, openCreat} {
		args := []seccomp.Arg{is(minusOne - 99), some, is(openLog | creates), is(0o600)} // AT_FDCWD
		calls = append(calls, coreCall{name: "openat", nr: 257, args: args, without: noLines, when: logs})
	}
	return calls
}

func watched(g *grafter, _ *images.Task) bool { return g.opts.HookTimeout != 0 }
func logs(g *grafter, _ *images.Task) bool    { return g.opts.LogFile != "" }
func renews(g *grafter, t *images.Task) bool  { return len(g.renewed(t)) > 0 }
