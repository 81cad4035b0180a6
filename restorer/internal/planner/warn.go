package planner

import (
	"strconv"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
)

// warnOfParentsDeath: the root task's parent is crpie, which ends with -d, and prctl(2) PR_SET_PDEATHSIG counts.
func (t *taskPlanner) warnOfParentsDeath() {
	if t.Img.Parent != nil || !t.Opts.Detached || t.Opts.Sibling {
		return
	}
	for _, th := range t.Img.Threads {
		if sig := th.Core.GetThreadCore().GetPdeathSig(); defaultEnds(t.Img.Core.GetTc(), int(sig)) {
			t.Warn(t.Where(), "its parent-death signal (%d) will end it as soon as crpie ends: "+
				"restore it without -d, or with -S", sig)
			return
		}
	}
}

// defaultEnds reports whether a signal ends a task because nothing else was said, signal(7).
func defaultEnds(tc *pb.TaskCoreEntry, sig int) bool {
	switch sig {
	case 0, uapi.SigChld, uapi.SigCont, uapi.SigUrg, uapi.SigWinch, uapi.SigStop, uapi.SigTstp, uapi.SigTtin,
		uapi.SigTtou:
		return false
	case uapi.SigKill:
		return true
	}
	actions, index := tc.GetSigactions(), images.SigactionIndex(sig)
	return index < len(actions) && actions[index].GetSigaction() == 0
}

// Parts of a personality, personality(2): the flags, and the execution domains that x86-64 has.
const (
	personalityFlags = 0x0ffe0000
)

// personality gives what the images mean: CRIU takes the hexadecimal number in /proc/PID/personality for a decimal one,
// and stops at the first letter.
func personality(dumped uint32) (value uint32, ok bool) {
	meant, err := strconv.ParseUint(strconv.FormatUint(uint64(dumped), 10), 16, 32)
	for _, value := range []uint32{uint32(meant), dumped} {
		if domain := value &^ personalityFlags; err == nil &&
			(domain == uapi.PerLinux || domain == uapi.PerLinux32) {
			return value, true
		}
	}
	return 0, false
}

// personality restores the personality of a thread: each has its own, but CRIU dumps the leader's. A letter
// that was dropped leaves a number that none has.
func (t *threadPlanner) personality() {
	dumped := t.Img.Core.GetTc().GetPersonality()
	value, ok := personality(dumped)
	if !ok && t.thread.Tid == t.Task.Pid {
		t.Warn(t.where(), "its personality was dumped as %d, which is none: it gets the usual one", dumped)
	}
	if value != t.Host.Personality {
		t.prog.Sys("personality", uapi.SysPersonality, uint64(value))
	}
}
