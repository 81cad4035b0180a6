package restorer

import (
	"fmt"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
)

// threadPlanner plans what one thread does for itself.
type threadPlanner struct {
	*taskPlanner
	thread *Thread
	prog   *program
	core   *pb.CoreEntry
}

func (t *threadPlanner) where() string {
	return fmt.Sprintf("task %d thread %d", t.task.Pid, t.thread.Tid)
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

func (t *threadPlanner) checkRegisters() {
	info := t.core.GetThreadInfo()
	for _, d := range info.GetTls() {
		if d.GetUsable() || !d.GetSegNotPresent() {
			t.refuse(t.where(), "", "GDT entry %d set with set_thread_area(2): not supported", d.GetEntryNumber())
		}
	}
	missing := xstate(info.GetFpregs()).Features &^ (t.host.Xsave.Features | 1<<xfeatX87 | 1<<xfeatSSE)
	for bit, name := range xfeatNames {
		if name != "" && missing&(1<<bit) != 0 {
			t.refuse(t.where(), "restore on a CPU with "+name,
				"%s registers are in use (XSAVE component %d), which this CPU lacks", name, bit)
		}
	}
}

// own plans what a thread sets up for itself while it still has the restorer's privileges.
func (t *threadPlanner) own() {
	p, tc, info := t.prog, t.core.GetThreadCore(), t.core.GetThreadInfo()
	p.sys("FS base", sysArchPrctl, archSetFS, info.GetGpregs().GetFsBase())
	p.sys("GS base", sysArchPrctl, archSetGS, info.GetGpregs().GetGsBase())
	p.sys("clear_child_tid", sysSetTidAddress, info.GetClearTidAddr())
	if tc.GetFutexRlaLen() != 0 {
		p.sys("robust futex list", sysSetRobustList, tc.GetFutexRla(), uint64(tc.GetFutexRlaLen()))
	}
	if r := tc.GetRseqEntry(); r.GetRseqAbiPointer() != 0 {
		p.sys("rseq area", sysRseq, r.GetRseqAbiPointer(), uint64(r.GetRseqAbiSize()), 0, uint64(r.GetSignature()))
	}
	const ssDisable = 2
	if sas := tc.GetSas(); sas != nil && sas.GetSsFlags()&ssDisable == 0 {
		p.sys("alternate signal stack", sysSigaltstack,
			p.arena.words(sas.GetSsSp(), uint64(sas.GetSsFlags()), sas.GetSsSize()))
	}
	p.sys("name", sysPrctl, prSetName, p.arena.string(t.comm()))
	t.personality()
	t.scheduling()
	for _, s := range tc.GetSignalsP().GetSignals() {
		if sig, ok := t.siginfo(s.GetSiginfo()); ok && !t.sentByTimer(s.GetSiginfo()) {
			p.sys("pending signal of the thread", sysRtTgsigqueueinfo, uint64(t.task.Pid), uint64(t.thread.Tid), sig,
				p.arena.bytes(s.GetSiginfo()))
		}
	}
}

func (t *threadPlanner) comm() string {
	if tc := t.core.GetThreadCore(); tc.Comm != nil {
		return tc.GetComm()
	}
	return t.task.Comm
}

func (t *threadPlanner) scheduling() {
	const schedOther, schedFifo, schedRR, schedDeadline, schedExt = 0, 1, 2, 6, 7
	const schedResetOnFork = 0x40000000 // sched_getscheduler(2) gives it with the policy
	p, tc := t.prog, t.core.GetThreadCore()
	given := uint64(tc.GetSchedPolicy())
	switch policy := given &^ schedResetOnFork; policy {
	case schedOther:
		if given != uint64(t.host.SchedPolicy) {
			p.sys("scheduling policy", sysSchedSetsched, 0, given, p.arena.words(0))
		}
	case schedDeadline, schedExt:
		t.refuse(t.where(), "", "scheduling policy %d: CRIU does not dump its parameters", policy)
	default:
		if policy == schedFifo || policy == schedRR {
			t.needNice("scheduling policy %d", policy)
		}
		prio := p.arena.bytes(words32([]uint32{tc.GetSchedPrio()}))
		p.sys("scheduling policy", sysSchedSetsched, 0, given, prio)
	}
	if nice := int(tc.GetSchedNice()); nice != t.host.Nice {
		if nice < t.host.Nice {
			t.needNice("nice value %d, below crpie's own %d", nice, t.host.Nice)
		}
		p.sys("nice value", sysSetpriority, prioProcess, 0, uint64(nice))
	}
}

// needNice refuses what an ordinary process may not do to its own scheduling, sched(7).
func (t *threadPlanner) needNice(format string, args ...any) {
	if !t.host.has(capSysNice) {
		t.refuse(t.where(), "run crpie with CAP_SYS_NICE", "%s: crpie lacks CAP_SYS_NICE", fmt.Sprintf(format, args...))
	}
}

// siginfo gives the number of a queued signal.
func (t *threadPlanner) siginfo(info []byte) (sig uint64, ok bool) {
	const siginfoSize = 128 // sizeof(siginfo_t)
	if len(info) != siginfoSize || info[0] == 0 || info[0] > nrSignals || info[1]|info[2]|info[3] != 0 {
		t.refuse(t.where(), "", "pending signal: %d bytes are no siginfo of a signal from 1 to %d", len(info), nrSignals)
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
		t.task.Seccomp = true
		t.seccomp(tc.GetSeccompFilter())
	case pb.SeccompMode_strict:
		t.task.Seccomp = true
		t.prog.sys("strict seccomp", sysSeccomp, seccompModeStrict, 0, 0)
	default:
		t.refuse(t.where(), "", "seccomp mode %d is unknown", mode)
	}
	if c := tc.GetCreds(); c != nil {
		t.checkCreds(c)
		t.creds(c)
	} else {
		t.refuse(t.where(), "", "core image without credentials")
	}
	t.prog.sys("parent-death signal", sysPrctl, prSetPdeathsig, uint64(tc.GetPdeathSig()))
	t.hook(t.prog, abi.PreSigreturnThread)
}
