//go:build linux && amd64

package inject

import (
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/changes"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/internal/testenv"
)

// A hook ends a sleep and slows timers down; the report says what it changed. The victim looks at what it has.
func TestLentToHooks(t *testing.T) {
	p := testenv.Start(t, "lent", "2")
	wake := testenv.Plugin(t, "plugin-sdk/examples/wake.c")
	if got := (order{Pid: p.Pid, Plugin: wake, Rehearse: true, Diff: true}).carryOut(t); got.Error != "" {
		t.Fatal(got.Error)
	}
	got := order{Pid: p.Pid, Plugin: wake, Diff: true}.carryOut(t)
	if got.Error != "" || len(got.Report.Processes[0].Diff.Registers) != 2 {
		t.Fatalf("%s, %+v", got.Error, got.Report)
	}
	slow := testenv.Plugin(t, "plugin-sdk/examples/stretch.c") + ",factor=2"
	rehearsed := order{Pid: p.Pid, Plugin: slow, Rehearse: true, Diff: true}.carryOut(t)
	if rehearsed.Error != "" || len(rehearsed.Report.Processes[0].Diff.Timers) != 0 {
		t.Fatalf("%s, %+v", rehearsed.Error, rehearsed.Report)
	}
	got = order{Pid: p.Pid, Plugin: slow, Diff: true}.carryOut(t)
	if got.Error != "" || len(got.Report.Processes[0].Diff.Timers) != 2 {
		t.Fatalf("%s, %+v", got.Error, got.Report)
	}
	p.MustPass(t)
}

// What cannot be is refused with the hook's name, and the process goes on with what it had.
func TestSpoiled(t *testing.T) {
	p := testenv.Start(t, "lent")
	plugin := testenv.Plugin(t, "testdata/plugins/spoil.c")
	for parameters, want := range map[string]string{
		"reg=ip,value=0xffffffff81000000": "ip: 0xffffffff81000000 instead of",
		"reg=flags,value=0x4100":          "only CF, PF, AF, ZF, SF, DF and OF may be others",
		"reg=ss,value=0x10":               "ss: 0x10 instead of 0x2b, which a hook must not change",
		"timer=clock":                     "which a hook must not change",
		"timer=remaining":                 "remaining_ns of a timer: -1: it is negative",
		"timer=remaining,notsup=yes":      "remaining_ns of a timer: -1: it is negative",
	} {
		got := order{Pid: p.Pid, Plugin: plugin + "," + parameters}.carryOut(t)
		if !strings.Contains(got.Error, want) || got.Hook.Plugin != "spoil" {
			t.Errorf("%s: %q", parameters, got.Error)
		}
	}
	p.MustPass(t)
}

// Each register can be changed by itself, or is refused.
func TestCheckRegs(t *testing.T) {
	was := abi.Regs{Ip: 0x1000, Sp: ^uint64(0), Flags: 0x202, Syscall: -1}
	kept := map[string]bool{
		"FsBase":  true,
		"GsBase":  true,
		"Cs":      true,
		"Ss":      true,
		"Ds":      true,
		"Es":      true,
		"Fs":      true,
		"Gs":      true,
		"Syscall": true,
	}
	for i := range reflect.TypeOf(was).NumField() {
		is := was
		field, name := reflect.ValueOf(&is).Elem().Field(i), reflect.TypeOf(was).Field(i).Name
		if field.CanInt() {
			field.SetInt(3)
		} else {
			field.SetUint(field.Uint() ^ 1)
		}
		if is.Sp != was.Sp {
			is.Sp = 0x2000
		}
		if why := taskview.CheckRegs(&was, &is); (why != "") != kept[name] {
			t.Errorf("%s: %q", name, why)
		}
	}
	for _, ip := range []uint64{0x7ffffffff000, 1 << 47, 1 << 63, ^uint64(0)} {
		is := was
		if is.Ip = ip; taskview.CheckRegs(&was, &is) == "" {
			t.Errorf("ip %#x is taken", ip)
		}
	}
	for bit := range 64 {
		is := was
		is.Flags ^= 1 << bit
		if taken := taskview.CheckRegs(&was, &is) == ""; taken != (0xcd5>>bit&1 == 1) {
			t.Errorf("bit %d of flags: %v", bit, taken)
		}
	}
}

// Times are read and written in the units of their calls.
func TestTimers(t *testing.T) {
	all := parseTimers("ID: 3\nsignal: 14/0000000000000000\nnotify: signal/pid.7\nClockID: 1\nID: 9\nClockID: -6\n")
	want := []abi.Timer{
		{},
		{Kind: abi.TimerVirtual},
		{Kind: abi.TimerProf},
		{Kind: abi.TimerPosix, ID: 3, Clock: 1},
		{Kind: abi.TimerPosix, ID: 9, Clock: -6},
	}
	if !reflect.DeepEqual(all, want) || len(parseTimers("")) != 3 {
		t.Errorf("%+v", all)
	}
	for kind, want := range map[uint32][]uint64{abi.TimerReal: {1, 500000, 0, 1},
		abi.TimerPosix: {1, 499999001, 0, 1}} {
		timer := abi.Timer{Kind: kind, IntervalNs: 1499999001, RemainingNs: 1}
		spec := timerSpec(&timer)
		if !reflect.DeepEqual(changes.Words(spec), want) {
			t.Errorf("kind %d: %v", kind, changes.Words(spec))
		}
		setTimes(&timer, changes.Words(spec))
		if again := timerSpec(&timer); binary.LittleEndian.Uint64(again[8:]) != want[1] {
			t.Errorf("kind %d: %v", kind, changes.Words(again))
		}
	}
}
