package restorer

import (
	"fmt"
	"strconv"

	"github.com/crpie/crpie/images/pb"
)

// What a restore loses is refused where the loss would break the application, warned of where only the application knows,
// and documented where the images do not show it, docs/support.md.

// warn adds to what whoever restores should know.
func (j *job) warn(where, format string, args ...any) {
	j.plan.Warnings = append(j.plan.Warnings, where+": "+fmt.Sprintf(format, args...))
}

// warnOfParentsDeath: the root task's parent is crpie, which ends with -d, and prctl(2) PR_SET_PDEATHSIG counts.
func (t *taskPlanner) warnOfParentsDeath() {
	if t.img.Parent != nil || !t.opts.Detached || t.opts.Sibling {
		return
	}
	for _, th := range t.img.Threads {
		if sig := th.Core.GetThreadCore().GetPdeathSig(); defaultEnds(t.img.Core.GetTc(), int(sig)) {
			t.warn(t.where(), "its parent-death signal (%d) will end it as soon as crpie ends: "+
				"restore it without -d, or with -S", sig)
			return
		}
	}
}

// defaultEnds reports whether a signal ends a task because nothing else was said, signal(7).
func defaultEnds(tc *pb.TaskCoreEntry, sig int) bool {
	const sigChld, sigCont, sigTtin, sigTtou, sigUrg, sigWinch = 17, 18, 21, 22, 23, 28
	switch sig {
	case 0, sigChld, sigCont, sigUrg, sigWinch, sigStop, sigTstp, sigTtin, sigTtou:
		return false
	case sigKill:
		return true
	}
	actions, place := tc.GetSigactions(), placeOf(sig)
	return place < len(actions) && actions[place].GetSigaction() == 0
}

// placeOf is where the images have the action of a signal: they leave SIGKILL and SIGSTOP out.
func placeOf(sig int) int {
	place := sig - 1
	for _, uncatchable := range []int{sigKill, sigStop} {
		if sig > uncatchable {
			place--
		}
	}
	return place
}

// Parts of a personality, personality(2): the flags, and the execution domains that x86-64 has.
const (
	personalityFlags     = 0x0ffe0000
	perLinux, perLinux32 = 0, 8
)

// personality gives what the images mean: CRIU takes the hexadecimal number in /proc/PID/personality for a decimal one, and stops
// at the first letter.
func personality(dumped uint32) (value uint32, ok bool) {
	meant, err := strconv.ParseUint(strconv.FormatUint(uint64(dumped), 10), 16, 32)
	for _, value := range []uint32{uint32(meant), dumped} {
		if domain := value &^ personalityFlags; err == nil && (domain == perLinux || domain == perLinux32) {
			return value, true
		}
	}
	return 0, false
}

// personality restores that of a task in one of its threads: each has its own, but CRIU dumps the leader's. A letter that was
// dropped leaves a number that none has.
func (t *threadPlanner) personality() {
	dumped := t.img.Core.GetTc().GetPersonality()
	value, ok := personality(dumped)
	if !ok && t.thread.Tid == t.task.Pid {
		t.warn(t.where(), "its personality was dumped as %d, which is none: it gets the usual one", dumped)
	}
	if value != t.host.Personality {
		t.prog.sys("personality", sysPersonality, uint64(value))
	}
}
