package planner

import (
	"encoding/binary"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/internal/uapi"
)

// signals restores dispositions, queued signals and posix timers. Every signal is blocked until ptrace sets the mask.
func (t *taskPlanner) signals() {
	p, tc := t.Prog, t.Img.Core.GetTc()
	actions := tc.GetSigactions()
	if len(actions) == 0 {
		t.Refuse(t.Where(), "", "core image without signal actions: dumps by CRIU 3.13 or older are not supported")
	}
	sig := 0
	for _, sa := range actions { // in order of signal numbers, those that cannot be caught left out
		sig++
		for sig == uapi.SigKill || sig == uapi.SigStop {
			sig++
		}
		if sig > uapi.NrSignals {
			t.Refuse(t.Where(), "", "%d signal actions: there are only %d signals", len(actions),
				uapi.NrSignals)
			break
		}
		act := p.Arena.Words(sa.GetSigaction(), sa.GetFlags(), sa.GetRestorer(), sa.GetMask())
		p.Sys("signal action", uapi.SysRtSigaction, uint64(sig), act, 0, 8)
	}
	leader := &threadPlanner{taskPlanner: t, thread: t.Task.Threads[0]}
	for _, s := range tc.GetSignalsS().GetSignals() {
		if sig, ok := leader.siginfo(s.GetSiginfo()); ok && !t.sentByTimer(s.GetSiginfo()) {
			t.queued(s.GetSiginfo())
			p.Sys("pending signal", uapi.SysRtSigqueueinfo, uint64(t.Task.Pid), sig,
				p.Arena.Bytes(s.GetSiginfo()))
		}
	}
	t.timersCreate()
}

// stopSignal gives the signal that stops the task again, which its parent learns from wait(2); CRIU knows two. SIGTSTP
// would not stop a task that catches it, blocks it or is in an orphaned process group (POSIX 2.4.4).
func (t *taskPlanner) stopSignal() int {
	tc := t.Img.Core.GetTc()
	if tc.GetTaskState() != images.StateStopped {
		return 0
	}
	index := images.SigactionIndex(uapi.SigTstp)
	if tc.GetStopSigno() != uapi.SigTstp || t.orphaned() || len(tc.GetSigactions()) <= index ||
		tc.GetSigactions()[index].GetSigaction() != 0 {
		return uapi.SigStop
	}
	for _, th := range t.Img.Threads {
		if th.Core.GetThreadCore().GetBlkSigset()&(1<<(uapi.SigTstp-1)) != 0 {
			return uapi.SigStop
		}
	}
	return uapi.SigTstp
}

// orphaned reports whether no task in the task's process group has a parent in another group of the session.
func (t *taskPlanner) orphaned() bool {
	for _, m := range t.Dir.Tasks {
		if m.Pgid == t.Img.Pgid && m.Parent != nil && m.Parent.Pgid != m.Pgid && m.Parent.Sid == m.Sid {
			return false
		}
	}
	return true
}

// queued remembers a pending signal, whose number siginfo_t begins with.
func (t *taskPlanner) queued(siginfo []byte) {
	if sig := binary.LittleEndian.Uint32(siginfo); sig >= 1 && sig <= uapi.NrSignals {
		t.Task.Queued |= 1 << (sig - 1)
	}
}
