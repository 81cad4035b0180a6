//go:build linux && amd64

package inject

import (
	"encoding/binary"
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/arch/x86/x86asm"
	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/procmaps"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/stage"
)

// A moment is spelled as it is read.
func TestParseMoment(t *testing.T) {
	for _, text := range []string{"main", "entry", "500ms", "0s", "signal:SIGUSR1", "function:f", "output:a:b"} {
		if m, err := ParseMoment(text); err != nil || m.String() != text {
			t.Errorf("%s: %v, %v", text, m, err)
		}
	}
	for text, want := range map[string]string{
		"signal:usr1": "signal:SIGUSR1", "signal:10": "signal:SIGUSR1", "signal:40": "signal:40",
	} {
		if m, err := ParseMoment(text); err != nil || m.String() != want {
			t.Errorf("%s: %v, %v", text, m, err)
		}
	}
	for _, text := range []string{"", "later", "-1s", "function:", "output:", "signal:", "signal:KILL", "signal:9",
		"signal:65", "signal:0", "signal:NOSUCH"} {
		if m, err := ParseMoment(text); err == nil {
			t.Errorf("%q is %v", text, m)
		}
	}
}

func registers(orig uint64, result int64) sys.Regs {
	return sys.Regs{Ip: 0x1000, OrigAx: orig, Ax: uint64(result)}
}

// A program does not see that a system call was interrupted.
func TestInterruptedCalls(t *testing.T) {
	none := ^uint64(0)
	for name, tc := range map[string]struct {
		orig             uint64
		result           int64
		slept, signalled bool
		resumed          int64 // rax
		restarts         bool  // where the kernel does not look
	}{
		"no call":           {none, -restartSys, false, false, -restartSys, false},
		"restarted":         {unix.SYS_READ, -restartSys, false, false, -restartSys, true},
		"finished":          {unix.SYS_READ, 5, false, false, 5, false},
		"failed":            {unix.SYS_READ, -int64(unix.EBADF), false, false, -int64(unix.EBADF), false},
		"epoll":             {unix.SYS_EPOLL_WAIT, -int64(unix.EINTR), false, false, -restartSys, true},
		"epoll, a signal":   {unix.SYS_EPOLL_WAIT, -int64(unix.EINTR), false, true, -int64(unix.EINTR), true},
		"close":             {unix.SYS_CLOSE, -int64(unix.EINTR), false, false, -int64(unix.EINTR), false},
		"sleep":             {unix.SYS_NANOSLEEP, -restartRestBlock, false, false, -restartRestBlock, true},
		"sleep, hook slept": {unix.SYS_NANOSLEEP, -restartRestBlock, true, false, -restartSys, true},
	} {
		regs := registers(tc.orig, tc.result)
		if got := resumed(regs, tc.slept, tc.signalled); int64(got.Ax) != tc.resumed || got.Ip != regs.Ip {
			t.Errorf("%s: resumed with %d at %#x", name, int64(got.Ax), got.Ip)
		}
		want := regs
		if tc.restarts {
			want.Ip, want.Ax = regs.Ip-2, tc.orig
		}
		if got := restarted(regs); got != want {
			t.Errorf("%s: restarted with %d at %#x", name, int64(got.Ax), got.Ip)
		}
	}
}

// The trampoline's parts lie where its code looks for them, and its jumps lead to instructions.
func TestTrampoline(t *testing.T) {
	regs := sys.Regs{Ip: 0x1122334455667788, Ax: 1, OrigAx: ^uint64(0)}
	for _, clone := range []bool{false, true} {
		code := trampoline(&regs, 0x99, clone)
		word := func(at int) uint64 { return binary.LittleEndian.Uint64(code[at:]) }
		if len(code) != trampolineSize || word(144) != regs.Ip || word(152) != 0x99 || word(130) != 1 {
			t.Errorf("%d bytes: % x", len(code), code)
		}
		const lea = 28 // lea mask(%rip), %rsi
		if offset := int32(binary.LittleEndian.Uint32(code[lea+3:])); lea+7+int(offset) != 152 {
			t.Errorf("the mask is looked for at %d", lea+7+int(offset))
		}
		want := map[int]int{7: 18}
		if clone {
			want[5] = 9
		}
		begins, jumps := decoded(t, code[:144])
		if !maps.Equal(jumps, want) {
			t.Errorf("jumps %v", jumps)
		}
		for at, to := range jumps {
			if !begins[to] {
				t.Errorf("the jump at %d goes to %d, where no instruction begins", at, to)
			}
		}
	}
}

// decoded tells where instructions begin and where relative jumps lead.
func decoded(t *testing.T, code []byte) (begins map[int]bool, jumps map[int]int) {
	t.Helper()
	begins, jumps = map[int]bool{}, map[int]int{}
	for at := 0; at < len(code); {
		inst, err := x86asm.Decode(code[at:], 64)
		if err != nil {
			t.Fatalf("at %d: %v", at, err)
		}
		begins[at] = true
		if offset, ok := inst.Args[0].(x86asm.Rel); ok {
			jumps[at] = at + inst.Len + int(offset)
		}
		at += inst.Len
	}
	return begins, jumps
}

// A frame has what rt_sigreturn(2) reads, without tiles.
func TestFrame(t *testing.T) {
	layout := sys.Xsave{Features: 7 | tileFeatures}
	layout.Components[2] = sys.XsaveComponent{Offset: 576, Size: 256}
	layout.Components[18] = sys.XsaveComponent{Offset: 2816, Size: 8192}
	regs := sys.Regs{Ip: 1, Sp: 2, R8: 3, OrigAx: ^uint64(0)}
	b := frame(0x1008, 0x77, &regs, 0x99, make([]byte, 11<<10), &layout)
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	if word(0) != 0x77 || word(frameRegs) != 3 || word(frameRegs+8*15) != 2 || word(frameRegs+8*16) != 1 ||
		word(frameMask) != 0x99 || word(frameRegs+8*23)%64 != 0 {
		t.Errorf("% x", b[:frameExtended])
	}
	area := b[frameExtended:]
	if len(area) != 832+4 || binary.LittleEndian.Uint64(area[softwareOff+8:]) != 7 ||
		binary.LittleEndian.Uint32(area[832:]) != magic2 {
		t.Errorf("%d bytes of extended state", len(area))
	}
}

// What /proc says is read as proc(5) has it, and anything else is an error.
func TestFacts(t *testing.T) {
	vmas, err := procmaps.Parse("00400000-00401000 r-xp 00001000 08:01 42      /a b (deleted)\n" +
		"7ffc0000-7ffd0000 rw-p 00000000 00:00 0       [stack]\n7fff0000-7fff1000 rw-s 00000000 00:05 0 \n")
	want := []taskview.VMA{
		{Start: 0x400000, End: 0x401000, Prot: 5, Flags: unix.MAP_PRIVATE, Pgoff: 0x1000,
			Name: "/a b (deleted)"},
		{Start: 0x7ffc0000, End: 0x7ffd0000, Prot: 3, Name: "[stack]",
			Flags: unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_GROWSDOWN},
		{Start: 0x7fff0000, End: 0x7fff1000, Prot: 3, Flags: unix.MAP_SHARED | unix.MAP_ANONYMOUS},
	}
	if err != nil || !reflect.DeepEqual(vmas, want) {
		t.Errorf("%+v, %v", vmas, err)
	}
	if _, err := procmaps.Parse("nonsense\n"); err == nil {
		t.Error("nonsense is a mapping")
	}
	if f := statFields("7 (a) b) S 1"); len(f) != 5 || f[3] != "S" {
		t.Errorf("%q", f)
	}
	if _, err := parseStat("7 (a) S 1"); err == nil {
		t.Error("a short stat has addresses")
	}
	s := parseStatus("NSpid:\t10\t2\nSigPnd:\t0200\nSigCgt:\t0200\nSigBlk:\t0\nSeccomp:\t2\n")
	if s.inner("NSpid") != 2 || !s.signalled() || s.refusal(true) != "" || s.refusal(false) == "" {
		t.Errorf("%v", s)
	}
	for _, text := range []string{"Seccomp:\t1\n", "x86_Thread_features:\tshstk \n"} {
		if parseStatus(text).refusal(true) == "" {
			t.Errorf("%s is not refused", text)
		}
	}
}

// Faults end a hook; everything else waits for the program.
func TestSignals(t *testing.T) {
	for _, tc := range []struct {
		sig  unix.Signal
		code int32
		want signalMeans
	}{
		{unix.SIGSEGV, 1, signalCrash}, {unix.SIGSEGV, 0, signalKeep}, {unix.SIGSEGV, -6, signalKeep},
		{unix.SIGSEGV, 0x80, signalCrash}, {unix.SIGSTOP, 0, signalStop}, {unix.SIGUSR1, 0, signalKeep},
		{unix.SIGCHLD, 1, signalKeep},
	} {
		if got := meaningOf(tc.sig, tc.code); got != tc.want {
			t.Errorf("%v with code %d means %d", tc.sig, tc.code, got)
		}
	}
}

// Calls are made in the order of a restore; who sits out is left alone, and an error ends it.
func TestSchedule(t *testing.T) {
	hook := func(at stage.Stage, plugin uint32) abi.TableHook {
		return abi.TableHook{Hook: uint32(at), Plugin: plugin, Fn: 1}
	}
	s := schedule{threads: 2, runs: func(plugin int) bool { return plugin != 2 }, table: hookTable{
		plugins: []abi.TablePlugin{{Init: 1, Exit: 1}, {Init: 1, Exit: 1}, {Init: 1, Exit: 1}},
		hooks: []abi.TableHook{hook(stage.PostMemory, 0), hook(stage.PostMemory, 1),
			hook(stage.PreSigreturnThread, 0), hook(stage.PreSigreturn, 0), hook(stage.PreSigreturn, 2)},
	}}
	var order []functionCall
	enter := func(c functionCall) (int32, error) {
		order = append(order, c)
		if c.plugin == 1 {
			return -int32(unix.ENOTSUP), nil
		}
		return 0, nil
	}
	want := []functionCall{{stage.Init, 0, 1, 0}, {stage.Init, 1, 1, 0}, {stage.PostMemory, 0, 1, 0},
		{stage.PreSigreturnThread, 0, 1, 0}, {stage.PreSigreturnThread, 0, 1, 1}, {stage.PreSigreturn, 0, 1, 0},
		{stage.Exit, 0, 1, 0}}
	if err := s.run(enter); err != nil || !slices.Equal(order, want) {
		t.Errorf("%v, %+v", err, order)
	}
	order, s.stages = nil, []stage.Stage{stage.PreSigreturn}
	want = []functionCall{want[0], want[1], want[5], want[6]}
	if err := s.run(enter); err != nil || !slices.Equal(order, want) {
		t.Errorf("%v, %+v", err, order)
	}
	broken := errors.New("broken")
	if err := s.run(func(functionCall) (int32, error) { return 0, broken }); err != broken {
		t.Errorf("%v", err)
	}
}
