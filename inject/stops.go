//go:build linux && amd64

package inject

import (
	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
)

// stopKind says what a state change of a thread means, ptrace(2).
type stopKind int

const (
	stopGone    stopKind = iota // it has ended
	stopAsked                   // PTRACE_INTERRUPT has stopped it, or it is new
	stopGroup                   // its process is stopped by a signal
	stopSyscall                 // a system call begins or ends
	stopEvent                   // another PTRACE_EVENT
	stopSignal                  // a signal is about to be delivered
)

const (
	syscallStop = unix.SIGTRAP | 0x80 // PTRACE_O_TRACESYSGOOD
	eventStop   = 128                 // PTRACE_EVENT_STOP
)

// kindOf tells apart the stops of a thread that was seized, ptrace(2).
func kindOf(ws unix.WaitStatus) stopKind {
	switch event := sys.Event(ws); {
	case !ws.Stopped():
		return stopGone
	case event == eventStop && ws.StopSignal() == unix.SIGTRAP:
		return stopAsked
	case event == eventStop:
		return stopGroup
	case event != 0:
		return stopEvent
	case ws.StopSignal() == syscallStop:
		return stopSyscall
	}
	return stopSignal
}

// crashes are the signals of a fault. They stay unblocked while a hook runs: a fault whose signal is blocked or ignored
// sets its action to SIG_DFL for good, kernel/signal.c force_sig_info_to_task.
var crashes = []unix.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGILL, unix.SIGFPE, unix.SIGTRAP, unix.SIGSYS}

// bit is a signal's in a signal set.
func bit(sig unix.Signal) uint64 { return 1 << (sig - 1) }

// blockAll is the mask of a thread while it makes a system call for the tracer, blockOthers while it runs a hook.
const blockAll = ^uint64(0)

func blockOthers() uint64 {
	mask := blockAll
	for _, sig := range crashes {
		mask &^= bit(sig)
	}
	return mask
}

// signalMeans says what a signal that comes while a hook runs means.
type signalMeans int

const (
	signalCrash signalMeans = iota // the hook has made a fault
	signalStop                     // somebody stops the process: afterwards
	signalKeep                     // for the program: afterwards
)

// meaningOf judges a signal by where it comes from: a fault has a code above 0, sigaction(2); SI_KERNEL, 0x80, is
// one, too.
func meaningOf(sig unix.Signal, code int32) signalMeans {
	switch {
	case sig == unix.SIGSTOP:
		return signalStop
	case blockOthers()&bit(sig) == 0 && code > 0:
		return signalCrash
	}
	return signalKeep
}

// callMeans says what a system call that begins while a hook runs means.
type callMeans int

const (
	callMade   callMeans = iota // the hook's
	callReturn                  // the hook has returned
	callLog                     // the hook has logged a line
	callLeaves                  // it would end or replace the process: not made
)

// leaving names a call that a hook must not make; others have no name here.
func leaving(nr uint64) string {
	switch nr {
	case unix.SYS_EXIT:
		return "exit"
	case unix.SYS_EXIT_GROUP:
		return "exit_group"
	case unix.SYS_EXECVE:
		return "execve"
	case unix.SYS_EXECVEAT:
		return "execveat"
	case unix.SYS_RT_SIGRETURN:
		return "rt_sigreturn"
	}
	return ""
}

// entries are the addresses behind the system calls of the core.
type entries struct{ returned, logged uint64 }

// meaningOf judges a system call that begins.
func (e *entries) meaningOf(call *sys.SyscallInfo) callMeans {
	switch {
	case call.Ip == e.returned:
		return callReturn
	case call.Ip == e.logged:
		return callLog
	case leaving(call.Nr) != "":
		return callLeaves
	}
	return callMade
}
