package planner

import (
	"fmt"
	"slices"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/stage"
)

// threadPlanner plans what one thread does for itself.
type threadPlanner struct {
	*taskPlanner
	thread *plan.Thread
	prog   *plan.Program
	core   *pb.CoreEntry
}

func (t *threadPlanner) where() string {
	return fmt.Sprintf("task %d thread %d", t.Task.Pid, t.thread.Tid)
}

// state takes what ptrace will set: registers and the signal mask.
func (t *threadPlanner) state() {
	info := t.core.GetThreadInfo()
	if !t.Thread(t.where(), t.core) {
		return
	}
	t.checkRegisters()
	t.thread.Regs = regs(info.GetGpregs())
	t.thread.Xstate = xstate(info.GetFpregs())
	t.thread.Sigmask = t.core.GetThreadCore().GetBlkSigset()
	if t.core.GetThreadCore().BlkSigset == nil {
		t.thread.Sigmask = t.core.GetTc().GetBlkSigset()
	}
	if rseq := t.core.GetThreadCore().GetRseqEntry(); rseq.GetRseqCsPointer() != 0 {
		const rseqCSOffset = 8 // struct rseq.rseq_cs, linux/rseq.h
		t.thread.RseqCSAddr, t.thread.RseqCS = rseq.GetRseqAbiPointer()+rseqCSOffset, rseq.GetRseqCsPointer()
	}
}

// checkRegisters refuses segments of 32-bit programs and registers that this CPU lacks.
func (t *threadPlanner) checkRegisters() {
	info := t.core.GetThreadInfo()
	for _, d := range info.GetTls() {
		if d.GetUsable() || !d.GetSegNotPresent() {
			t.Refuse(t.where(), "", "GDT entry %d set with set_thread_area(2): not supported",
				d.GetEntryNumber())
		}
	}
	missing := xstate(info.GetFpregs()).Features &^ (t.Host.Xsave.Features | 1<<xfeatX87 | 1<<xfeatSSE)
	for bit, name := range xfeatNames {
		if name != "" && missing&(1<<bit) != 0 {
			t.Refuse(t.where(), "restore on a CPU with "+name,
				"%s registers are in use (XSAVE component %d), which this CPU lacks", name, bit)
		}
	}
}

// own plans what a thread sets up for itself while it still has the restorer's privileges.
func (t *threadPlanner) own() {
	p, tc, info := t.prog, t.core.GetThreadCore(), t.core.GetThreadInfo()
	t.joinCgroups()
	p.Sys("FS base", uapi.SysArchPrctl, uapi.ArchSetFS, info.GetGpregs().GetFsBase())
	p.Sys("GS base", uapi.SysArchPrctl, uapi.ArchSetGS, info.GetGpregs().GetGsBase())
	p.Sys("clear_child_tid", uapi.SysSetTidAddress, info.GetClearTidAddr())
	if tc.GetFutexRlaLen() != 0 {
		p.Sys("robust futex list", uapi.SysSetRobustList, tc.GetFutexRla(), uint64(tc.GetFutexRlaLen()))
	}
	if r := tc.GetRseqEntry(); r.GetRseqAbiPointer() != 0 {
		p.Sys("rseq area", uapi.SysRseq, r.GetRseqAbiPointer(), uint64(r.GetRseqAbiSize()), 0,
			uint64(r.GetSignature()))
	}
	if sas := tc.GetSas(); sas != nil && sas.GetSsFlags()&uapi.SsDisable == 0 {
		p.Sys("alternate signal stack", uapi.SysSigaltstack,
			p.Arena.Words(sas.GetSsSp(), uint64(sas.GetSsFlags()), sas.GetSsSize()))
	}
	p.Sys("name", uapi.SysPrctl, uapi.PrSetName, p.Arena.String(t.comm()))
	t.personality()
	t.scheduling()
	for _, s := range tc.GetSignalsP().GetSignals() {
		if sig, ok := t.siginfo(s.GetSiginfo()); ok && !t.sentByTimer(s.GetSiginfo()) {
			t.queued(s.GetSiginfo())
			p.Sys("pending signal of the thread", uapi.SysRtTgsigqueueinfo, uint64(t.Task.Pid),
				uint64(t.thread.Tid),
				sig,
				p.Arena.Bytes(s.GetSiginfo()))
		}
	}
}

func (t *threadPlanner) comm() string {
	if tc := t.core.GetThreadCore(); tc.Comm != nil {
		return tc.GetComm()
	}
	return t.Task.Comm
}

// scheduling sets policy and nice value where they differ from crpie's own, which tasks are born with. A thread that
// others go before would wait for them at each of its last steps: if possible the controller sets them afterwards.
func (t *threadPlanner) scheduling() {
	tc := t.core.GetThreadCore()
	given, nice := tc.GetSchedPolicy(), int(tc.GetSchedNice())
	switch policy := given &^ uapi.SchedResetOnFork; policy {
	case uapi.SchedDeadline, uapi.SchedExt:
		t.Refuse(t.where(), "", "scheduling policy %d: CRIU does not dump its parameters", policy)
	case uapi.SchedFifo, uapi.SchedRR:
		t.needNice("scheduling policy %d", policy)
	}
	if nice < t.Host.Nice {
		t.needNice("nice value %d, below crpie's own %d", nice, t.Host.Nice)
	}
	change := &plan.Scheduling{Policy: given, Priority: tc.GetSchedPrio(), Nice: nice}
	born := plan.Scheduling{Policy: uint32(t.Host.SchedPolicy), Nice: t.Host.Nice}
	switch {
	case given == uapi.SchedOther && *change == born: // nothing to do
	case t.scheduledLast():
		t.thread.Scheduling = change
	default:
		t.scheduleItself(change, &born)
	}
}

// scheduledLast reports whether the controller may set the scheduling of others, sched(7), and nobody looks at it
// before: hooks find what the task is going to have, and may change it.
func (t *threadPlanner) scheduledLast() bool {
	late := func(h plan.StageHooks) bool { return h.Stage >= stage.PostThreads }
	return !slices.ContainsFunc(t.Task.Hooks, late) && t.Host.Has(uapi.CapSysNice) && t.Host.InitialUsers()
}

// scheduleItself has the thread make the change while it has the restorer's privileges.
func (t *threadPlanner) scheduleItself(change, born *plan.Scheduling) {
	p := t.prog
	if change.Policy != born.Policy || change.Policy != uapi.SchedOther {
		prio := p.Arena.Bytes(plan.Words32([]uint32{change.Priority}))
		p.Sys("scheduling policy", uapi.SysSchedSetsched, 0, uint64(change.Policy), prio)
	}
	if change.Nice != born.Nice {
		p.Sys("nice value", uapi.SysSetpriority, uapi.PrioProcess, 0, uint64(change.Nice))
	}
}

// needNice refuses what an ordinary process may not do to its own scheduling, sched(7).
func (t *threadPlanner) needNice(format string, args ...any) {
	if !t.Host.Has(uapi.CapSysNice) {
		t.Refuse(t.where(), "run crpie with CAP_SYS_NICE", "%s: crpie lacks CAP_SYS_NICE",
			fmt.Sprintf(format, args...))
	}
}

// siginfo gives the number of a queued signal.
func (t *threadPlanner) siginfo(info []byte) (sig uint64, ok bool) {
	const siginfoSize = 128 // sizeof(siginfo_t)
	if len(info) != siginfoSize || info[0] == 0 || info[0] > uapi.NrSignals || info[1]|info[2]|info[3] != 0 {
		t.Refuse(t.where(), "", "pending signal: %d bytes are not a siginfo of a signal from 1 to %d",
			len(info),
			uapi.NrSignals)
		return 0, false
	}
	return uint64(info[0]), true
}

// identity plans the change to the application's privileges and the thread's last hooks.
func (t *threadPlanner) identity() {
	tc := t.core.GetThreadCore()
	switch mode := tc.GetSeccompMode(); mode {
	case pb.SeccompMode_disabled:
	case pb.SeccompMode_filter:
		t.Task.Seccomp = true
		t.seccomp(tc.GetSeccompFilter())
	case pb.SeccompMode_strict:
		t.Task.Seccomp = true
		t.prog.Sys("strict seccomp", uapi.SysSeccomp, uapi.SeccompModeStrict, 0, 0)
	default:
		t.Refuse(t.where(), "", "seccomp mode %d is unknown", mode)
	}
	if c := tc.GetCreds(); c != nil {
		t.checkCreds(c)
		t.creds(c)
	} else {
		t.Refuse(t.where(), "", "core image without credentials")
	}
	t.prog.Sys("parent-death signal", uapi.SysPrctl, uapi.PrSetPdeathsig, uint64(tc.GetPdeathSig()))
	t.hook(t.prog, stage.PreSigreturnThread)
}
