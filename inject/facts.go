//go:build linux && amd64

package inject

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/procmaps"
	"github.com/crpie/crpie/internal/taskview"
)

// parseStat reads the addresses in /proc/PID/stat, proc_pid_stat(5).
func parseStat(text string) (taskview.MM, error) {
	fields := statFields(text)
	const last = 51
	if len(fields) <= last {
		return taskview.MM{}, fmt.Errorf("stat %q has too few fields", text)
	}
	number := func(i int) uint64 {
		n, _ := strconv.ParseUint(fields[i], 10, 64)
		return n
	}
	return taskview.MM{
		StartCode: number(26), EndCode: number(27), StartStack: number(28), StartData: number(45),
		EndData:  number(46),
		StartBrk: number(47), ArgStart: number(48), ArgEnd: number(49), EnvStart: number(50),
		EnvEnd: number(last),
	}, nil
}

// statFields gives the fields of a stat file by their numbers, which count from 1. The name may have blanks and
// parentheses.
func statFields(text string) []string {
	end := strings.LastIndexByte(text, ')')
	if end < 0 {
		return nil
	}
	return append([]string{"", "", ""}, strings.Fields(text[end+1:])...)
}

// status is what /proc/TID/status says, proc_pid_status(5).
type status map[string]string

// parseStatus reads /proc/PID/status; a field that a kernel does not have is empty.
func parseStatus(text string) status { return procmaps.Fields(text) }

// number reads a decimal value, 0 if there is none.
func (s status) number(key string) int {
	n, _ := strconv.Atoi(s[key])
	return n
}

// set reads a set of signals.
func (s status) set(key string) uint64 {
	n, _ := strconv.ParseUint(s[key], 16, 64)
	return n
}

// inner is the number of a process or thread in its own pid namespace: NSpid or NStgid.
func (s status) inner(key string) int {
	fields := strings.Fields(s[key])
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(fields[len(fields)-1])
	return n
}

// signalled reports whether a signal waits that the program handles: then a call that it interrupted returns EINTR.
func (s status) signalled() bool {
	return (s.set("SigPnd")|s.set("ShdPnd"))&s.set("SigCgt")&^s.set("SigBlk") != 0
}

// faulted reports whether a fault of its own has stopped a thread, whose signal is yet to be delivered: a request to
// stop comes before it, kernel/signal.c get_signal. Runtimes have such faults all the time, the JVM at each safepoint.
// In a hook, which runs with these signals unblocked, it would look like the hook's.
func (s status) faulted() bool { return s.set("SigPnd")&^s.set("SigBlk")&^blockOthers() != 0 }

// Seccomp modes, prctl(2) PR_GET_SECCOMP.
const (
	seccompStrict = 1
	seccompFilter = 2
)

// refusal says why nothing can be run in a thread with this status, "" if something can. Filters can be suspended by a
// tracer with CAP_SYS_ADMIN.
func (s status) refusal(suspended bool) string {
	switch {
	case s.number("Seccomp") == seccompStrict:
		return "it is in strict seccomp mode: any system call but read, write and exit would kill it"
	case s.number("Seccomp") == seccompFilter && !suspended:
		return "it has seccomp filters, which judge the system calls that crpie makes in it; run crpie as root, " +
			"which suspends them, or start the program with crpie try -- PROGRAM"
	case strings.Contains(s["x86_Thread_features"], "shstk"):
		return "it has a shadow stack, onto which crpie does not push returns"
	}
	return ""
}

// used are the spans of mappings.
func used(vmas []taskview.VMA) (all []memory.Span) {
	for _, v := range vmas {
		all = append(all, memory.Span{Start: v.Start, End: v.End})
	}
	return all
}
