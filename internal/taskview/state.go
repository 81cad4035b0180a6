package taskview

import (
	"fmt"
	"math"
	"strings"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/sys"
)

// RegsOf takes the registers of a thread out of an image.
func RegsOf(core *pb.CoreEntry) abi.Regs {
	r := core.GetThreadInfo().GetGpregs()
	return abi.Regs{
		Ax: r.GetAx(), Bx: r.GetBx(), Cx: r.GetCx(), Dx: r.GetDx(), Si: r.GetSi(), Di: r.GetDi(), Bp: r.GetBp(),
		Sp: r.GetSp(), R8: r.GetR8(), R9: r.GetR9(), R10: r.GetR10(), R11: r.GetR11(), R12: r.GetR12(),
		R13: r.GetR13(), R14: r.GetR14(), R15: r.GetR15(), Ip: r.GetIp(), Flags: r.GetFlags(),
		FsBase: r.GetFsBase(), GsBase: r.GetGsBase(), Cs: r.GetCs(), Ss: r.GetSs(), Ds: r.GetDs(),
		Es: r.GetEs(), Fs: r.GetFs(), Gs: r.GetGs(), Syscall: int64(r.GetOrigAx()),
	}
}

// FromRegs takes the registers of a stopped thread. restarted are those with which it would go on by itself.
func FromRegs(restarted *sys.Regs, syscall uint64) abi.Regs {
	r := restarted
	return abi.Regs{
		Ax: r.Ax, Bx: r.Bx, Cx: r.Cx, Dx: r.Dx, Si: r.Si, Di: r.Di, Bp: r.Bp, Sp: r.Sp, R8: r.R8, R9: r.R9,
		R10: r.R10, R11: r.R11, R12: r.R12, R13: r.R13, R14: r.R14, R15: r.R15, Ip: r.Ip, Flags: r.Flags,
		FsBase: r.FsBase, GsBase: r.GsBase, Cs: r.Cs, Ss: r.Ss, Ds: r.Ds, Es: r.Es, Fs: r.Fs, Gs: r.Gs,
		Syscall: int64(syscall),
	}
}

// SetRegs changes what hooks may change. The kernel does not make a system call again afterwards.
func SetRegs(to *sys.Regs, r *abi.Regs) {
	to.Ax, to.Bx, to.Cx, to.Dx, to.Si, to.Di, to.Bp, to.Sp = r.Ax, r.Bx, r.Cx, r.Dx, r.Si, r.Di, r.Bp, r.Sp
	to.R8, to.R9, to.R10, to.R11 = r.R8, r.R9, r.R10, r.R11
	to.R12, to.R13, to.R14, to.R15 = r.R12, r.R13, r.R14, r.R15
	to.Ip, to.Flags, to.OrigAx = r.Ip, r.Flags, ^uint64(0)
}

// What a hook may change, as restorer/core/src/checks.c has it.
const (
	taskSizeMax     = 0x7ffffffff000 // Documentation/arch/x86/x86_64/mm.rst
	changeableFlags = 0xcd5          // CF, PF, AF, ZF, SF, DF, OF; Intel SDM volume 1, 3.4.3
)

// CheckRegs says what is wrong with registers that a hook has changed, "" if nothing is.
func CheckRegs(was, is *abi.Regs) string {
	refused := func(name string, was, is uint64, why string) string {
		return fmt.Sprintf("%s: %#x instead of %#x%s", name, is, was, why)
	}
	for _, r := range []struct {
		name    string
		was, is uint64
	}{{"ip", was.Ip, is.Ip}, {"sp", was.Sp, is.Sp}} {
		if r.is != r.was && r.is >= taskSizeMax {
			return refused(r.name, r.was, r.is, ", no address of a program")
		}
	}
	if (was.Flags^is.Flags)&^changeableFlags != 0 {
		return refused("flags", was.Flags, is.Flags, ": only CF, PF, AF, ZF, SF, DF and OF may be others")
	}
	before, after := regWords(was), regWords(is)
	for i, r := range after {
		if r.kept && r.value != before[i].value {
			return refused(r.name, before[i].value, r.value, ", which a hook must not change")
		}
	}
	return ""
}

// regWord is one register by its name.
type regWord struct {
	name  string
	value uint64
	kept  bool // hooks must not change it
}

// regWords lists them as struct crpie_regs does.
func regWords(r *abi.Regs) []regWord {
	return []regWord{
		{"ax", r.Ax, false}, {"bx", r.Bx, false}, {"cx", r.Cx, false}, {"dx", r.Dx, false}, {"si", r.Si, false},
		{"di", r.Di, false}, {"bp", r.Bp, false}, {"sp", r.Sp, false}, {"r8", r.R8, false}, {"r9", r.R9, false},
		{"r10", r.R10, false}, {"r11", r.R11, false}, {"r12", r.R12, false}, {"r13", r.R13, false},
		{"r14", r.R14, false}, {"r15", r.R15, false}, {"ip", r.Ip, false}, {"flags", r.Flags, false},
		{"fs_base", r.FsBase, true}, {"gs_base", r.GsBase, true}, {"cs", r.Cs, true}, {"ss", r.Ss, true},
		{"ds", r.Ds, true}, {"es", r.Es, true}, {"fs", r.Fs, true}, {"gs", r.Gs, true},
		{"syscall", uint64(r.Syscall), true},
	}
}

// ChangedRegs lists the registers that are others, with what they were and are.
func ChangedRegs(was, is *abi.Regs, visit func(name string, was, is uint64)) {
	before := regWords(was)
	for i, r := range regWords(is) {
		if r.value != before[i].value {
			visit(r.name, before[i].value, r.value)
		}
	}
}

// TimersOf lists the timers of a task: those of setitimer(2) that run, and all posix timers.
func TimersOf(t *pb.TaskTimersEntry) (all []abi.Timer) {
	for kind, it := range []*pb.ItimerEntry{t.GetReal(), t.GetVirt(), t.GetProf()} {
		timer := abi.Timer{Kind: uint32(kind), RemainingNs: nanoseconds(it.GetVsec(), it.GetVusec()*1000),
			IntervalNs: nanoseconds(it.GetIsec(), it.GetIusec()*1000)}
		if timer.RemainingNs == 0 && timer.IntervalNs != 0 {
			timer.RemainingNs = 1000 // it has expired, and does so at once
		}
		if timer.RemainingNs != 0 {
			all = append(all, timer)
		}
	}
	for _, tm := range t.GetPosix() {
		timer := abi.Timer{Kind: abi.TimerPosix, ID: int32(tm.GetItId()), Clock: int32(tm.GetClockId()),
			RemainingNs: nanoseconds(tm.GetVsec(), tm.GetVnsec()),
			IntervalNs:  nanoseconds(tm.GetIsec(), tm.GetInsec())}
		if timer.RemainingNs == 0 && timer.IntervalNs != 0 {
			timer.RemainingNs = 1 // it has expired; 0 would stop it
		}
		all = append(all, timer)
	}
	return all
}

// nanoseconds adds up a time; what 64 bits cannot hold is the longest.
func nanoseconds(sec, nsec uint64) int64 {
	const most = math.MaxInt64 / 1_000_000_000
	if sec >= most || nsec >= 1e9 {
		return math.MaxInt64
	}
	return int64(sec*1e9 + nsec)
}

// CheckTimer says what is wrong with a timer that a hook has changed, "" if nothing is.
func CheckTimer(was, is *abi.Timer) string {
	switch {
	case is.Kind != was.Kind, is.ID != was.ID, is.Clock != was.Clock:
		return fmt.Sprintf("kind %d, id %d, clock %d of a timer instead of %d, %d and %d, which a hook must not change",
			is.Kind, is.ID, is.Clock, was.Kind, was.ID, was.Clock)
	case is.RemainingNs < 0:
		return fmt.Sprintf("remaining_ns of a timer: %d: it is negative", is.RemainingNs)
	case is.IntervalNs < 0:
		return fmt.Sprintf("interval_ns of a timer: %d: it is negative", is.IntervalNs)
	}
	return ""
}

// TimerName names a timer for people.
func TimerName(t *abi.Timer) string {
	if t.Kind == abi.TimerPosix {
		return fmt.Sprintf("posix timer %d", t.ID)
	}
	return strings.Split("ITIMER_REAL ITIMER_VIRTUAL ITIMER_PROF", " ")[t.Kind%3]
}
