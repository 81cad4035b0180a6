package planner

import (
	"encoding/binary"
	"fmt"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// A timer whose signal waits to be taken is in a state that no system call sets, but that every timer reaches by
// expiring. So it is armed for the past, and what the images have of its signal is left out: the kernel's own belongs
// to the timer. It goes with it when the timer is set anew or deleted (Linux 6.13), counts overruns, and taking it
// starts the next interval.

// timersCreate makes the posix timers. Every thread exists, and nothing is armed.
func (t *taskPlanner) timersCreate() {
	p := t.Prog
	timers := t.Img.Core.GetTc().GetTimers().GetPosix()
	if len(timers) > 0 {
		p.Try("choose timer ids", uapi.SysPrctl, uapi.PrTimerRestoreIDs, 1) // Linux 6.16
	}
	for _, tm := range timers {
		const sigeventSize = 64
		b := make([]byte, sigeventSize)
		copy(b, plan.Words64([]uint64{tm.GetSivalPtr()}))
		copy(b[8:], plan.Words32([]uint32{tm.GetSiSigno(), tm.GetItSigevNotify(),
			uint32(tm.GetNotifyThreadId())}))
		if tm.GetItSigevNotify()&uapi.SigevThreadID != 0 && tm.NotifyThreadId == nil {
			t.Refuse(t.Where(), "", "posix timer %d notifies a thread that the image does not name",
				tm.GetItId())
		}
		p.Core(fmt.Sprintf("posix timer %d", tm.GetItId()),
			abi.CreateTimer{Clock: timerClock(tm), Sigevent: p.Arena.Bytes(b), ID: uint64(tm.GetItId())})
	}
	if len(timers) > 0 {
		p.Try("timer ids", uapi.SysPrctl, uapi.PrTimerRestoreIDs, 0)
	}
}

// timerClock gives the clock of a posix timer. CPU time of "the thread" is of the one that has made the timer, and the
// images do not say which that was: the one that it notifies, or the leader, who makes it here.
func timerClock(tm *pb.PosixTimerEntry) uint64 {
	// CPU time (2) of a thread (4), the complement of its number above: the kernel's linux/posix-timers_types.h
	const threadCPU, ofThread = -2, 6
	if tm.NotifyThreadId == nil || tm.GetItSigevNotify()&uapi.SigevThreadID == 0 ||
		int32(tm.GetClockId()) != threadCPU {
		return uint64(tm.GetClockId())
	}
	return uint64(uint32(^tm.GetNotifyThreadId()<<3 | ofThread))
}

// timersStart arms everything that ticks, after the last hook.
func (t *taskPlanner) timersStart() {
	timers := t.Img.Core.GetTc().GetTimers()
	seen := 0 // by hooks: taskview.TimersOf has the same order
	for which, it := range []*pb.ItimerEntry{timers.GetReal(), timers.GetVirt(), timers.GetProf()} {
		if it.GetVsec()|it.GetVusec()|it.GetIsec()|it.GetIusec() != 0 {
			t.unlessChanged(seen, func() { t.startItimer(which, it) })
			seen++
		}
	}
	for i, tm := range timers.GetPosix() {
		t.unlessChanged(seen+i, func() { t.startPosixTimer(tm) })
	}
	t.Enter(job.PhaseTimers)
}

// unlessChanged plans the start of a timer that hooks may have changed: what they want comes in the place of what start
// plans.
func (t *taskPlanner) unlessChanged(timer int, start func()) {
	if t.Task.Lent.NrTimers == 0 {
		start()
		return
	}
	at := len(t.Prog.Ops)
	t.Prog.Core("as a hook wants it", abi.StartTimer{Timer: uint64(timer)})
	start()
	_, t.Prog.Ops[at].Args = abi.StartTimer{Timer: uint64(timer), Skip: uint64(len(t.Prog.Ops) - at - 1)}.Encode()
}

// startItimer: ITIMER_REAL stands still from its expiration to the moment when a thread takes the signal, and says 0
// meanwhile. It expires at once; a signal that is pending is so only once. If the signal is ignored, it comes here
// because everything is blocked, and is taken when the task goes on: the timer runs for one more interval.
func (t *taskPlanner) startItimer(which int, it *pb.ItimerEntry) {
	value := [2]uint64{it.GetVsec(), it.GetVusec()}
	interval := [2]uint64{it.GetIsec(), it.GetIusec()}
	if value == [2]uint64{} && interval != [2]uint64{} {
		value[1] = 1
	}
	if value != [2]uint64{} {
		spec := t.Prog.Arena.Words(interval[0], interval[1], value[0], value[1])
		t.Prog.Sys([...]string{"ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"}[which], uapi.SysSetitimer,
			uint64(which),
			spec, 0)
	}
}

// startPosixTimer starts a timer at what was left of it. One that has expired and whose signal waits must not expire a
// second time.
func (t *taskPlanner) startPosixTimer(tm *pb.PosixTimerEntry) {
	p, id := t.Prog, uint64(tm.GetItId())
	spec := []uint64{tm.GetIsec(), tm.GetInsec(), tm.GetVsec(), tm.GetVnsec()}
	running := tm.GetVsec() != 0 || tm.GetVnsec() != 0
	periodic := tm.GetIsec() != 0 || tm.GetInsec() != 0
	switch what := fmt.Sprintf("posix timer %d", id); {
	case t.signalWaits(tm) || periodic && !running:
		p.Core(what+" has expired", abi.ExpireTimer{ID: id, Spec: p.Arena.Words(spec...),
			Clock: timerClock(tm)})
	case running:
		p.Sys(what, uapi.SysTimerSettime, id, 0, p.Arena.Words(spec...), 0)
	}
}

// signalWaits reports whether a timer's signal is pending.
func (t *taskPlanner) signalWaits(tm *pb.PosixTimerEntry) bool {
	queues := []*pb.SignalQueueEntry{t.Img.Core.GetTc().GetSignalsS()}
	for _, th := range t.Img.Threads {
		queues = append(queues, th.Core.GetThreadCore().GetSignalsP())
	}
	for _, q := range queues {
		for _, s := range q.GetSignals() {
			if id, ok := timerOf(s.GetSiginfo()); ok && id == tm.GetItId() {
				return true
			}
		}
	}
	return false
}

// sentByTimer reports whether a pending signal comes from a timer that there is.
func (t *taskPlanner) sentByTimer(info []byte) bool {
	id, ok := timerOf(info)
	for _, tm := range t.Img.Core.GetTc().GetTimers().GetPosix() {
		if ok && tm.GetItId() == id {
			return true
		}
	}
	return false
}

// timerOf gives the timer that has sent a signal, sigaction(2).
func timerOf(info []byte) (id uint32, ok bool) {
	const siCode, siTimerID = 8, 16
	if len(info) < siTimerID+4 || int32(binary.LittleEndian.Uint32(info[siCode:])) != uapi.SiTimer {
		return 0, false
	}
	return binary.LittleEndian.Uint32(info[siTimerID:]), true
}
