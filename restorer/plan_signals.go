package restorer

import "github.com/crpie/crpie/images"

// signals restores dispositions, queued signals and posix timers. Every signal is blocked until ptrace sets the mask.
func (t *taskPlanner) signals() {
	p, tc := t.prog, t.img.Core.GetTc()
	actions := tc.GetSigactions()
	if len(actions) == 0 {
		t.refuse(t.where(), "", "core image without signal actions: dumps by CRIU 3.13 or older are not supported")
	}
	sig := 0
	for _, sa := range actions { // in order of signal numbers, those that cannot be caught left out
		sig++
		for sig == sigKill || sig == sigStop {
			sig++
		}
		if sig > nrSignals {
			t.refuse(t.where(), "", "%d signal actions: there are only %d signals", len(actions), nrSignals)
			break
		}
		act := p.arena.words(sa.GetSigaction(), sa.GetFlags(), sa.GetRestorer(), sa.GetMask())
		p.sys("signal action", sysRtSigaction, uint64(sig), act, 0, 8)
	}
	leader := &threadPlanner{taskPlanner: t, thread: t.task.Threads[0]}
	for _, s := range tc.GetSignalsS().GetSignals() {
		if sig, ok := leader.siginfo(s.GetSiginfo()); ok && !t.sentByTimer(s.GetSiginfo()) {
			p.sys("pending signal", sysRtSigqueueinfo, uint64(t.task.Pid), sig, p.arena.bytes(s.GetSiginfo()))
		}
	}
	t.timersCreate()
}

// stopSignal gives the signal that stops the task again, which its parent learns from wait(2); CRIU knows two. SIGTSTP
// would not stop a task that catches it, blocks it or is in an orphaned process group (POSIX 2.4.4).
func (t *taskPlanner) stopSignal() int {
	tc := t.img.Core.GetTc()
	if tc.GetTaskState() != images.StateStopped {
		return 0
	}
	index := placeOf(sigTstp)
	if tc.GetStopSigno() != sigTstp || t.orphaned() || len(tc.GetSigactions()) <= index || tc.GetSigactions()[index].GetSigaction() != 0 {
		return sigStop
	}
	for _, th := range t.img.Threads {
		if th.Core.GetThreadCore().GetBlkSigset()&(1<<(sigTstp-1)) != 0 {
			return sigStop
		}
	}
	return sigTstp
}

// orphaned reports whether nobody in the task's process group has a parent in another group of the session.
func (t *taskPlanner) orphaned() bool {
	for _, m := range t.dir.Tasks {
		if m.Pgid == t.img.Pgid && m.Parent != nil && m.Parent.Pgid != m.Pgid && m.Parent.Sid == m.Sid {
			return false
		}
	}
	return true
}
