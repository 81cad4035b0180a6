package graft

import (
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/seccomp"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/internal/uapi"
)

// coreCall is a system call of graft/core/src. Arguments that depend on the task are left open.
type coreCall struct {
	name    string
	nr      uint32
	args    []seccomp.Arg
	leader  bool   // only the leader makes it, or the watchdog, which has the leader's filters
	without string // what is missing if it returns an error; empty: the core needs it
	when    func(g *grafter, t *images.Task) bool
}

var some = seccomp.Arg{} // an argument that can be anything

func is(v uint64) seccomp.Arg { return seccomp.Is(v) }

const minusOne = ^uint64(0)

const (
	noLines  = "lines of plugins and of the core are missing"
	noTimers = "a hook that changes a timer fails"
	noName   = "the pages that stay have no name in /proc/PID/maps"
)

// openLog are the flags with which a log is opened.
const openLog = uapi.OWronly | uapi.OAppend | uapi.OCloexec | uapi.ONonblock | uapi.ONoctty

// cloneWatchdog are the flags of a thread, clone(2); the last two are CLONE_PARENT_SETTID and CLONE_CHILD_CLEARTID.
const cloneWatchdog = uapi.CloneVM | uapi.CloneFS | uapi.CloneFiles | uapi.CloneSighand | uapi.CloneThread |
	uapi.CloneSysvsem | 0x100000 | 0x200000

const readWrite, readExec = uapi.ProtRead | uapi.ProtWrite, uapi.ProtRead | uapi.ProtExec

// coreCalls lists every call of the core; a test compares it with the sources.
func coreCalls() []coreCall {
	return slices.Concat([]coreCall{
		{name: "sigaltstack", nr: uapi.SysSigaltstack},
		{name: "futex", nr: uapi.SysFutex, args: []seccomp.Arg{some, is(0x80)}}, // FUTEX_WAIT_PRIVATE
		{name: "futex", nr: uapi.SysFutex, args: []seccomp.Arg{some, is(0x81)}}, // FUTEX_WAKE_PRIVATE
		{name: "rt_sigprocmask", nr: uapi.SysRtSigprocmask, args: []seccomp.Arg{is(1), some, is(0), is(8)}},
		{name: "rt_sigprocmask", nr: uapi.SysRtSigprocmask, args: []seccomp.Arg{is(2), some, is(0), is(8)}},
		{name: "rt_sigreturn", nr: uapi.SysRtSigreturn},
		{name: "clock_gettime", nr: uapi.SysClockGettime, args: []seccomp.Arg{is(0)}},
		{name: "clock_gettime", nr: uapi.SysClockGettime, args: []seccomp.Arg{is(1)}},
		{name: "munmap", nr: uapi.SysMunmap},
		{name: "gettid", nr: uapi.SysGettid},
		{name: "getpid", nr: uapi.SysGetpid},
		{name: "rt_tgsigqueueinfo", nr: uapi.SysRtTgsigqueueinfo},
		{name: "exit_group", nr: uapi.SysExitGroup, args: []seccomp.Arg{is(70)}},

		{name: "rt_sigaction", nr: uapi.SysRtSigaction, args: []seccomp.Arg{some, some, some, is(8)}, leader: true},
		{name: "clone", nr: uapi.SysClone, args: []seccomp.Arg{is(cloneWatchdog)}, leader: true, when: watched},
		{name: "futex", nr: uapi.SysFutex, args: []seccomp.Arg{some, is(0)}, leader: true, when: watched}, // FUTEX_WAIT
		{name: "tgkill", nr: uapi.SysTgkill, args: []seccomp.Arg{some, some, is(7)}, leader: true, when: watched},
		{name: "exit", nr: uapi.SysExit, args: []seccomp.Arg{is(0)}, leader: true, when: watched},

		{name: "setitimer", nr: uapi.SysSetitimer, leader: true, without: noTimers, when: timed},
		{name: "timer_settime", nr: uapi.SysTimerSettime, leader: true, without: noTimers, when: timed},
	}, renewalCalls(), namingCalls(), logCalls())
}

// renewalCalls are made for memory that must not be the same in two copies of a program.
func renewalCalls() []coreCall {
	calls := []coreCall{}
	for _, advice := range []uint64{uapi.MadvDontneed, uapi.MadvDontdump, uapi.MadvWipeonfork} {
		args := []seccomp.Arg{some, some, is(advice)}
		calls = append(calls, coreCall{name: "madvise", nr: uapi.SysMadvise, args: args, leader: true, when: renews})
	}
	for _, kind := range []uint64{uapi.MapDroppable, uapi.MapPrivate | uapi.MapNoreserve} {
		flags := kind | uapi.MapFixed | uapi.MapAnonymous
		args := []seccomp.Arg{some, some, is(readWrite), is(flags), is(minusOne), is(0)}
		calls = append(calls, coreCall{name: "mmap", nr: uapi.SysMmap, args: args, leader: true, when: renews})
	}
	return calls
}

// namingCalls come one after the other until the name is there.
func namingCalls() []coreCall {
	text := []seccomp.Arg{some, some, is(readExec), is(uapi.MapPrivate | uapi.MapFixed), some, is(0)}
	frames := []seccomp.Arg{some, some, is(readWrite), is(uapi.MapPrivate | uapi.MapFixed), some, is(pageSize)}
	return []coreCall{
		// PR_SET_VMA
		{name: "prctl", nr: uapi.SysPrctl, args: []seccomp.Arg{is(0x53564d41), is(0)}, leader: true, without: noName},
		{name: "memfd_create", nr: uapi.SysMemfdCreate, args: []seccomp.Arg{some, is(1)}, leader: true, without: noName},
		{name: "write", nr: uapi.SysWrite, leader: true, without: noName},
		{name: "mmap", nr: uapi.SysMmap, args: text, leader: true, without: noName},
		{name: "mmap", nr: uapi.SysMmap, args: frames, leader: true, without: noName},
		{name: "close", nr: uapi.SysClose, leader: true},
	}
}

// logCalls write lines of plugins to standard error or to a file.
func logCalls() []coreCall {
	end := []seccomp.Arg{is(2), some, is(1), is(minusOne), is(minusOne), is(0x10)} // RWF_APPEND
	calls := []coreCall{
		{name: "ppoll", nr: uapi.SysPpoll, args: []seccomp.Arg{some, is(1), some, is(0)}, without: noLines},
		{name: "pwritev2", nr: uapi.SysPwritev2, args: end, without: noLines},
		{name: "write", nr: uapi.SysWrite, without: noLines},
		{name: "close", nr: uapi.SysClose, when: logs},
		{name: "fchmod", nr: uapi.SysFchmod, args: []seccomp.Arg{some, is(0o600)}, without: noLines, when: logs},
	}
	for _, creates := range []uint64{0, uapi.OCreat | uapi.OExcl, uapi.OCreat} {
		args := []seccomp.Arg{is(uapi.AtFdcwd), some, is(openLog | creates), is(0o600)}
		calls = append(calls, coreCall{name: "openat", nr: uapi.SysOpenat, args: args, without: noLines, when: logs})
	}
	return calls
}

func watched(g *grafter, _ *images.Task) bool { return g.opts.HookTimeout != 0 }
func logs(g *grafter, _ *images.Task) bool    { return g.opts.LogFile != "" }
func timed(_ *grafter, t *images.Task) bool {
	return len(taskview.TimersOf(t.Core.GetTc().GetTimers())) > 0
}
func renews(g *grafter, t *images.Task) bool { return len(g.renewed(t)) > 0 }
