//go:build linux && amd64

package inject

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/crpie/crpie/internal/abi"
)

// parseTimers lists the timers that a process may have: those of setitimer(2), and the posix timers that
// /proc/PID/timers lists, proc_pid_timers(5).
func parseTimers(text string) []abi.Timer {
	all := []abi.Timer{{Kind: abi.TimerReal}, {Kind: abi.TimerVirtual}, {Kind: abi.TimerProf}}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		number, err := strconv.ParseInt(value, 10, 32)
		switch {
		case err != nil:
		case key == "ID":
			all = append(all, abi.Timer{Kind: abi.TimerPosix, ID: int32(number)})
		case key == "ClockID":
			all[len(all)-1].Clock = int32(number)
		}
	}
	return all
}

// perSecond is the unit of the times that the kernel takes and gives: microseconds for setitimer(2).
func perSecond(t *abi.Timer) int64 {
	if t.Kind == abi.TimerPosix {
		return 1e9
	}
	return 1e6
}

// setTimes takes struct itimerval or struct itimerspec: the interval, and what remains.
func setTimes(t *abi.Timer, spec []uint64) {
	unit := perSecond(t)
	time := func(at int) int64 { return int64(spec[at])*1e9 + int64(spec[at+1])*(1e9/unit) }
	t.IntervalNs, t.RemainingNs = time(0), time(2)
}

// timerSpec lays the times out for the kernel. What remains is rounded up: 0 would stop the timer.
func timerSpec(t *abi.Timer) (spec []byte) {
	unit := perSecond(t)
	for _, ns := range []int64{t.IntervalNs, t.RemainingNs} {
		units := ns / (1e9 / unit)
		if ns%(1e9/unit) != 0 {
			units++
		}
		spec = binary.LittleEndian.AppendUint64(spec, uint64(units/unit))
		spec = binary.LittleEndian.AppendUint64(spec, uint64(units%unit))
	}
	return spec
}
