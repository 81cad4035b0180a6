package file

import (
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// timerfd makes a timer, which starts after the last hook.
func (f *Descriptors) timerfd(fd *pb.FdinfoEntry, file *pb.FileEntry) {
	e := file.GetTfd()
	f.Create(fd, "timerfd", uapi.SysTimerfdCreate, uint64(e.GetClockid()), uint64(e.GetFlags()&uapi.ONonblock))
	f.Owner(fd, e.GetFown())
	f.afterHooks(fd, func(prog *plan.Program, number uint64) { f.startTimerfd(prog, number, e) })
}

// startTimerfd sets a timer to the time that was left. One that has expired stands still until that is read, and the
// images do not say since when, so that it goes on one interval later.
func (f *Room) startTimerfd(prog *plan.Program, number uint64, e *pb.TimerfdEntry) {
	left := [2]uint64{e.GetVsec(), e.GetVnsec()}
	if left == [2]uint64{} && e.GetTicks() != 0 {
		left = [2]uint64{e.GetIsec(), e.GetInsec()}
	}
	if left != [2]uint64{} {
		flags := uint64(e.GetSettimeFlags() & (uapi.TfdTimerAbstime | uapi.TfdTimerCancelOnSet))
		if flags&uapi.TfdTimerAbstime == 0 || prog == f.Shared { // the zygote is not in the time namespace
			flags = 0
		} else {
			sum := uint64(f.Clock(e.GetClockid())) + left[0]*1e9 + left[1]
			left = [2]uint64{sum / 1e9, sum % 1e9}
		}
		spec := prog.Arena.Words(e.GetIsec(), e.GetInsec(), left[0], left[1])
		prog.Sys("timerfd", uapi.SysTimerfdSettime, number, flags, spec, 0)
	}
	if e.GetTicks() != 0 {
		prog.Sys("expirations of the timerfd", uapi.SysIoctl, number, uapi.TfdIocSetTicks,
			prog.Arena.Words(e.GetTicks()))
	}
}
