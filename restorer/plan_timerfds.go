package restorer

import (
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/timerfd"
)

// Flags and clocks of timerfd_settime(2) and timerfd_create(2).
const (
	tfdAbstime     = 1
	tfdCancelOnSet = 2

	clockMonotonic = 1
	clockBoottime  = 7
	clockBootAlarm = 9
)

// timerfd makes a timer, which starts after the last hook.
func (f *filePlanner) timerfd(fd *fdinfo.FdinfoEntry, file *fdinfo.FileEntry) {
	e := file.GetTfd()
	f.create(fd, "timerfd", sysTimerfdCreate, uint64(e.GetClockid()), uint64(e.GetFlags()&oNonblock))
	f.owner(fd, e.GetFown())
	start := func(in *filePlanner, number uint64) {
		in.armLater = append(in.armLater, func() { in.startTimerfd(number, e) })
	}
	if f.prog == f.shared { // by the first task that has it
		f.armShared[fd.GetId()] = start
		return
	}
	start(f, uint64(fd.GetFd()))
}

// startTimerfd sets a timer to the time that was left. One that has expired stands still until that is read, and the images do
// not say since when, so that it goes on one interval later.
func (f *filePlanner) startTimerfd(number uint64, e *timerfd.TimerfdEntry) {
	left := [2]uint64{e.GetVsec(), e.GetVnsec()}
	if left == [2]uint64{} && e.GetTicks() != 0 {
		left = [2]uint64{e.GetIsec(), e.GetInsec()}
	}
	if left != [2]uint64{} {
		flags := uint64(e.GetSettimeFlags() & (tfdAbstime | tfdCancelOnSet))
		if flags&tfdAbstime == 0 || f.prog == f.shared { // the zygote is not in the time namespace
			flags = 0
		} else {
			sum := uint64(f.clock(e.GetClockid())) + left[0]*1e9 + left[1]
			left = [2]uint64{sum / 1e9, sum % 1e9}
		}
		spec := f.prog.arena.words(e.GetIsec(), e.GetInsec(), left[0], left[1])
		f.prog.sys("timerfd", sysTimerfdSettime, number, flags, spec, 0)
	}
	if e.GetTicks() != 0 {
		f.prog.sys("expirations of the timerfd", sysIoctl, number, tfdIocSetTicks, f.prog.arena.words(e.GetTicks()))
	}
}

// clock tells, in nanoseconds, what a clock says when the tasks go on.
func (p *fileRoom) clock(id uint32) int64 {
	te := p.dir.Timens[p.timeNamespaceID()]
	if !p.host.TimeNamespaces {
		te = nil
	}
	switch {
	case id == clockMonotonic && te != nil:
		return int64(te.GetMonotonic().GetTvSec())*1e9 + int64(te.GetMonotonic().GetTvNsec())
	case id == clockMonotonic:
		return p.host.MonotonicNs
	case (id == clockBoottime || id == clockBootAlarm) && te != nil:
		return int64(te.GetBoottime().GetTvSec())*1e9 + int64(te.GetBoottime().GetTvNsec())
	case id == clockBoottime || id == clockBootAlarm:
		return p.host.BoottimeNs
	}
	return p.opts.RestoreTimeNs
}
