//go:build amd64

package changes

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/report"
)

// Touched is what hooks have asked the kernel to do that nothing in /proc tells.
type Touched struct {
	actions   map[uint64]bool // signals
	kept      map[keptBy]uint64
	pending   *keptAddress // of the call that runs
	Unsettled bool         // see unsettles
}

// keptAddress is an address that the kernel keeps for a thread.
type keptAddress struct {
	keptBy
	addr uint64
}

type keptBy struct {
	tid  sys.PID
	what string
}

// Begins notes a system call of a hook whose effect cannot be read back: addresses that the kernel keeps. before has
// the mappings before the hooks.
func (t *Touched) Begins(tid sys.PID, info *sys.SyscallInfo, mem *sys.Memory, before []taskview.VMA) {
	t.Unsettled = t.Unsettled || unsettles(info, before)
	t.pending = nil
	keep := func(what string, addr uint64) { t.pending = &keptAddress{keptBy{tid, what}, addr} }
	switch info.Nr {
	case unix.SYS_RT_SIGACTION:
		if t.actions == nil {
			t.actions = map[uint64]bool{}
		}
		if info.Args[1] != 0 {
			t.actions[info.Args[0]] = true
		}
	case unix.SYS_SIGALTSTACK:
		stack := make([]byte, 8)
		if mem.ReadSome(info.Args[0], stack) == len(stack) {
			keep("the alternate signal stack", binary.LittleEndian.Uint64(stack))
		}
	case unix.SYS_SET_ROBUST_LIST:
		keep("the list of robust futexes", info.Args[0])
	case unix.SYS_SET_TID_ADDRESS:
		keep("the address of set_tid_address(2)", info.Args[0])
	case unix.SYS_RSEQ:
		keep("the area of rseq(2)", info.Args[0])
		const unregister = 1 // RSEQ_FLAG_UNREGISTER
		if info.Args[2]&unregister != 0 {
			t.pending.addr = 0
		}
	}
}

// Ends notes the result of a system call: one that failed has changed nothing.
func (t *Touched) Ends(result int64) {
	if t.pending == nil {
		return
	}
	if t.kept == nil {
		t.kept = map[keptBy]uint64{}
	}
	if result >= 0 {
		t.kept[t.pending.keptBy] = t.pending.addr
	}
	t.pending = nil
}

// AddTo notes the actions that hooks have changed, and what the kernel still keeps that leads into a region.
func (t *Touched) AddTo(d *Diff, region memory.Span, was, is func(unix.Signal) (Action, error)) error {
	for _, sig := range t.signals() {
		before, err := was(sig)
		if err != nil {
			return err
		}
		after, err := is(sig)
		if err != nil {
			return err
		}
		d.addAction(sig, &before, &after, region)
	}
	t.addPointers(d, region)
	return nil
}

// signals lists those for which hooks have set an action.
func (t *Touched) signals() (all []unix.Signal) {
	for _, sig := range slices.Sorted(maps.Keys(t.actions)) {
		if sig != 0 && sig <= uapi.NrSignals {
			all = append(all, unix.Signal(sig))
		}
	}
	return all
}

// addPointers notes the addresses that the kernel still keeps and that lead into a region.
func (t *Touched) addPointers(d *Diff, region memory.Span) {
	byThread := func(a, b keptBy) int { return cmp.Or(cmp.Compare(a.tid, b.tid), cmp.Compare(a.what, b.what)) }
	for _, by := range slices.SortedFunc(maps.Keys(t.kept), byThread) {
		d.addKept(region, by.what, t.kept[by])
	}
}

// unsettles reports whether a system call of a hook may put pages where others were, or share them with a process that
// it starts: afterwards it says nothing that a page is not the process's alone.
func unsettles(info *sys.SyscallInfo, before []taskview.VMA) bool {
	switch info.Nr {
	case unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_CLONE, unix.SYS_CLONE3,
		unix.SYS_MREMAP, unix.SYS_REMAP_FILE_PAGES, unix.SYS_MADVISE, unix.SYS_PROCESS_MADVISE:
		return true
	case unix.SYS_MMAP:
		return info.Args[3]&unix.MAP_FIXED != 0
	case unix.SYS_MUNMAP:
		return taskview.At(before, info.Args[0]) != nil
	case unix.SYS_BRK:
		return info.Args[0] != 0
	}
	return false
}

// Action is struct sigaction of the kernel.
type Action [32]byte

// String tells what the action is, struct kernel_sigaction: handler, flags, restorer, mask.
func (a Action) String() string {
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(a[at:]) }
	switch handler := word(0); handler {
	case 0:
		return "SIG_DFL"
	case 1:
		return "SIG_IGN"
	default:
		return fmt.Sprintf("handler %#x, flags %#x, mask %#x", handler, word(8), word(24))
	}
}

// addAction notes the action of a signal, and where it leads into a region.
func (d *Diff) addAction(sig unix.Signal, was, is *Action, region memory.Span) {
	name := SignalName(sig)
	if *was != *is {
		d.Signals = append(d.Signals, &report.Change{What: name, Before: was.String(), After: is.String()})
	}
	for _, at := range []int{0, 16} { // the handler, the restorer
		d.addKept(region, "the action of "+name, binary.LittleEndian.Uint64(is[at:]))
	}
}

// SignalName names a signal; realtime signals have numbers.
func SignalName(sig unix.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return strconv.Itoa(int(sig))
}
