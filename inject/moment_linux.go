//go:build amd64

package inject

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/changes"
	"github.com/crpie/crpie/internal/elffile"
	"github.com/crpie/crpie/internal/sys"
)

// breakpoints is the one breakpoint that is set at a time.
type breakpoints struct {
	at     uint64
	byte   [1]byte // of the program
	placed bool
}

// errExecuted says that the process has become another program on the way to its moment.
var errExecuted = errors.New("executed")

// runTo lets the program run until its moment, also by way of other programs.
func (p *target) runTo(at Moment) error {
	for {
		err := p.tryTo(at)
		var ended *EndedError
		if errors.As(err, &ended) {
			ended.At = at
		}
		if err != errExecuted {
			return err
		}
	}
}

// tryTo runs a program that crpie has started to the moment of --at.
func (p *target) tryTo(at Moment) error {
	switch at.Kind {
	case AtTime:
		return p.runUntil(false, time.Now().Add(at.After), func(*thread, unix.WaitStatus) (bool, error) {
			return false, nil
		})
	case AtSignal:
		return p.runUntil(false, time.Time{}, func(t *thread, ws unix.WaitStatus) (bool, error) {
			if kindOf(ws) != stopSignal || ws.StopSignal() != at.Signal {
				return false, nil
			}
			return true, p.keepSignal(t)
		})
	case AtOutput:
		return p.runUntil(true, time.Time{}, (&output{target: p, text: []byte(at.Name)}).reached)
	case AtEntry:
		return p.toEntry()
	case AtFunction:
		return p.toFunction(at.Name)
	}
	return p.toMain()
}

func (p *target) toEntry() error {
	_, err := p.runToAddress(elffile.EntryOf(int(p.pid)))
	return err
}

// own opens the program's executable.
func (p *target) own() (*elffile.Program, error) {
	own, err := elffile.OpenOf(int(p.pid))
	if err != nil {
		return nil, fmt.Errorf("try: %w", err)
	}
	return own, nil
}

// toMain lets it run to main: Go's, its own by its symbol, or else what it hands to libc's __libc_start_main.
func (p *target) toMain() error {
	own, err := p.own()
	if err != nil {
		return err
	}
	defer own.Close()
	for _, name := range []string{"main.main", "main"} {
		if addr, found, _ := own.Function(name); found {
			_, err := p.runToAddress(addr)
			return err
		}
	}
	if err := p.toEntry(); err != nil {
		return err
	}
	start, found, err := elffile.InLibraries(int(p.pid), named("__libc_start_main"))
	if err != nil {
		return err
	}
	if !found {
		return errors.New("try: the program is stripped and has no libc that calls its main function; give --at entry")
	}
	t, err := p.runToAddress(start)
	if err != nil {
		return err
	}
	regs, err := sys.GetRegs(t.tid)
	if err != nil {
		return fmt.Errorf("try: %w", err)
	}
	_, err = p.runToAddress(regs.Di)
	return err
}

// toFunction lets it run to a function of its own, or else of a library that it is linked with.
func (p *target) toFunction(name string) error {
	own, err := p.own()
	if err != nil {
		return err
	}
	addr, found, err := own.Function(name)
	own.Close()
	if err == nil && !found {
		if err := p.toEntry(); err != nil {
			return err
		}
		addr, found, err = elffile.InLibraries(int(p.pid), named(name))
	}
	switch {
	case err != nil:
		return fmt.Errorf("try: %w", err)
	case !found:
		return fmt.Errorf("try: neither the program nor a library that it is linked with has a symbol of function %q", name)
	}
	_, err = p.runToAddress(addr)
	return err
}

// named finds a function.
func named(function string) func(*elffile.Program) (uint64, bool, error) {
	return func(p *elffile.Program) (uint64, bool, error) { return p.Function(function) }
}

// runToAddress lets the program run until a thread is at an address, and tells which.
func (p *target) runToAddress(addr uint64) (at *thread, err error) {
	p.resident = breakpoints{at: addr}
	if err := p.place(); err != nil {
		return nil, err
	}
	err = p.runUntil(true, time.Time{}, func(t *thread, ws unix.WaitStatus) (bool, error) {
		if kindOf(ws) != stopSignal {
			return false, nil
		}
		hit, err := p.stepBack(t, ws.StopSignal())
		if hit {
			at = t
		}
		return hit, err
	})
	if err != nil {
		return nil, err
	}
	return at, p.lift()
}

// place puts the breakpoint into the code, lift takes it away.
func (p *target) place() error {
	b := &p.resident
	err := p.mem.Read(b.at, b.byte[:])
	if err == nil {
		const int3 = 0xcc
		err = p.mem.Write(b.at, []byte{int3})
	}
	if err != nil {
		return fmt.Errorf("try: %w", err)
	}
	b.placed = true
	return nil
}

// lift takes the breakpoint out, so that nobody else meets it.
func (p *target) lift() error {
	b := &p.resident
	if !b.placed {
		return nil
	}
	b.placed = false
	if err := p.mem.Write(b.at, b.byte[:]); err != nil {
		return fmt.Errorf("try: %w", err)
	}
	return nil
}

// stepBack sets a thread that has hit the breakpoint back to its address. The kernel has unblocked SIGTRAP for it.
func (p *target) stepBack(t *thread, sig unix.Signal) (hit bool, err error) {
	if sig != unix.SIGTRAP || p.resident.at == 0 {
		return false, nil
	}
	regs, err := sys.GetRegs(t.tid)
	if err != nil || regs.Ip != p.resident.at+1 {
		return false, err
	}
	p.trapped = true
	regs.Ip--
	if err := sys.SetRegs(t.tid, &regs); err != nil {
		return false, err
	}
	mask, err := sys.GetSigmask(t.tid)
	if err == nil {
		err = sys.SetSigmask(t.tid, mask|t.trapBlocked)
	}
	return true, err
}

// noteTrapMask remembers whether a thread blocks SIGTRAP.
func (p *target) noteTrapMask(t *thread) error {
	mask, err := sys.GetSigmask(t.tid)
	if err != nil {
		return fmt.Errorf("try: %w", err)
	}
	t.trapBlocked = mask & bit(unix.SIGTRAP)
	return nil
}

// runUntil lets all threads run until one of them stops where the moment is, or until the end.
func (p *target) runUntil(calls bool, end time.Time, reached func(*thread, unix.WaitStatus) (bool, error)) error {
	for _, t := range p.threads {
		if err := p.resume(t, calls, 0); err != nil {
			return err
		}
	}
	for {
		tid, ws, err := sys.WaitAny(end)
		switch {
		case err != nil:
			return fmt.Errorf("try: %w", err)
		case tid == 0:
			return nil
		}
		t := p.thread(tid)
		if t == nil {
			if t, err = p.welcome(tid, ws); err != nil {
				return err
			}
			if t == nil {
				continue
			}
		}
		if kindOf(ws) == stopGone {
			if p.forget(t); tid == p.pid {
				return &EndedError{Status: ws}
			}
			continue
		}
		t.stopped = true
		done, err := reached(t, ws)
		if done || err != nil {
			return err
		}
		if err := p.goOn(t, calls, ws); err != nil {
			return err
		}
	}
}

// goOn lets a thread go on from a stop that is not the moment's.
func (p *target) goOn(t *thread, calls bool, ws unix.WaitStatus) error {
	switch kindOf(ws) {
	case stopGroup:
		t.stopped = false
		return sys.Listen(t.tid)
	case stopSignal:
		return p.resume(t, calls, ws.StopSignal())
	case stopSyscall:
		if err := p.watch(t); err != nil {
			return err
		}
	case stopEvent:
		if err := p.event(t, ws); err != nil {
			return err
		}
	}
	return p.resume(t, calls, 0)
}

func (p *target) resume(t *thread, calls bool, sig unix.Signal) error {
	if err := sys.ContinueWith(t.tid, calls, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("try: %w", err)
	}
	t.stopped = false
	return nil
}

// welcome takes in a thread that is born, and lets a child process go, without the breakpoint.
func (p *target) welcome(tid sys.PID, ws unix.WaitStatus) (*thread, error) {
	p.noteBirth(tid, true)
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d", p.pid, tid)); err == nil {
		t := &thread{tid: tid}
		p.adopt(t)
		if kindOf(ws) == stopGone {
			return t, nil
		}
		return t, p.noteTrapMask(t)
	}
	if kindOf(ws) == stopGone {
		return nil, nil
	}
	return nil, p.letChildGo(tid)
}

// isBirth reports whether a thread has stopped because it has made another one or a process. PTRACE_EVENT_CLONE tells
// of both: of processes whose end is not told by SIGCHLD, clone(2).
func isBirth(ws unix.WaitStatus) bool {
	switch sys.Event(ws) {
	case unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_VFORK, unix.PTRACE_EVENT_CLONE:
		return true
	}
	return false
}

// noteBirth remembers a thread or a child process until both have come, in either order: its own first stop, with which
// a process is let go, and its parent's that tells of it. The number may be another one's then.
func (p *target) noteBirth(tid sys.PID, came bool) {
	if other, known := p.born[tid]; known && other != came {
		delete(p.born, tid)
		return
	}
	if p.born == nil {
		p.born = map[sys.PID]bool{}
	}
	p.born[tid] = came
}

// bears notes what a thread's stop tells of.
func (p *target) bears(t *thread) error {
	tid, err := sys.EventMessage(t.tid)
	if err != nil {
		return fmt.Errorf("try: %w", err)
	}
	p.noteBirth(sys.PID(tid), false)
	return nil
}

// letChildrenGo waits for the children that have not had their first stop yet. Threads have had it, or were killed.
func (p *target) letChildrenGo() error {
	for pid, came := range p.born {
		if came {
			continue
		}
		ws, err := sys.Wait(pid)
		if err != nil && !errors.Is(err, unix.ECHILD) {
			return fmt.Errorf("try: %w", err)
		}
		if err != nil || kindOf(ws) == stopGone {
			continue
		}
		if err := p.letChildGo(pid); err != nil {
			return err
		}
	}
	p.born = nil
	return nil
}

// letChildGo detaches from a child that has just been born. Its copy of the memory has the breakpoint too, and nobody
// would handle it there; a child of vfork(2) shares the memory, so the breakpoint is lifted until it executes or ends.
func (p *target) letChildGo(pid sys.PID) error {
	var err error
	switch {
	case !p.resident.placed:
	case sys.SharesMemory(pid, p.pid):
		err = p.lift() // until PTRACE_EVENT_VFORK_DONE
	default:
		var mem *sys.Memory
		if mem, err = sys.OpenMemory(pid); err == nil {
			err = mem.Write(p.resident.at, p.resident.byte[:])
			mem.Close()
		}
	}
	if err == nil {
		err = sys.Detach(pid)
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("try: child %d: %w", pid, err)
	}
	return nil
}

// event handles what a program does on its way to the moment: it has children and threads, and may execute another
// program, whose beginning counts anew.
func (p *target) event(t *thread, ws unix.WaitStatus) error {
	if isBirth(ws) {
		return p.bears(t)
	}
	switch sys.Event(ws) {
	case unix.PTRACE_EVENT_EXEC:
		if err := p.executed(); err != nil {
			return err
		}
		return errExecuted
	case unix.PTRACE_EVENT_VFORK_DONE:
		if p.resident.at != 0 && !p.resident.placed {
			return p.place()
		}
	}
	return nil
}

// watch follows what the program does with SIGTRAP: a breakpoint resets its action if the signal is ignored or blocked,
// kernel/signal.c force_sig_info_to_task.
func (p *target) watch(t *thread) error {
	info, err := sys.GetSyscallInfo(t.tid)
	if err != nil {
		return fmt.Errorf("try: %w", err)
	}
	if info.Op == sys.SyscallEntry {
		t.call = info
		return nil
	}
	switch {
	case info.Result != 0 && t.call.Nr != unix.SYS_RT_SIGRETURN:
	case t.call.Nr == unix.SYS_RT_SIGACTION && t.call.Args[0] == uint64(unix.SIGTRAP) && t.call.Args[1] != 0:
		var action changes.Action
		if p.mem.ReadSome(t.call.Args[1], action[:]) == len(action) {
			p.trap = &action
		}
	case t.call.Nr == unix.SYS_RT_SIGPROCMASK || t.call.Nr == unix.SYS_RT_SIGRETURN:
		return p.noteTrapMask(t)
	}
	return nil
}

// output looks for a text in what is written to descriptors 1 and 2.
type output struct {
	*target
	text    []byte
	written [3][]byte // by descriptor: the last bytes
}

// reached reports whether a write to standard output or error completes the text. Arguments are known when the call
// begins, how much was written when it returns.
func (o *output) reached(t *thread, ws unix.WaitStatus) (bool, error) {
	if kindOf(ws) != stopSyscall {
		return false, nil
	}
	info, err := sys.GetSyscallInfo(t.tid)
	if err != nil {
		return false, fmt.Errorf("try: %w", err)
	}
	if info.Op == sys.SyscallEntry {
		t.call = info
		return false, nil
	}
	fd := t.call.Args[0]
	if info.Result <= 0 || fd != 1 && fd != 2 {
		return false, nil
	}
	left := uint64(info.Result)
	for _, part := range o.parts(&t.call) {
		n := min(part.size, left)
		if o.completes(fd, part.at, n) {
			return true, nil
		}
		left -= n
	}
	return false, nil
}

// part is memory out of which a call writes.
type part struct{ at, size uint64 }

// parts are those of a call; none: it does not write what is in memory.
func (o *output) parts(call *sys.SyscallInfo) (all []part) {
	switch call.Nr {
	case unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_SENDTO:
		return []part{{call.Args[1], call.Args[2]}}
	case unix.SYS_WRITEV, unix.SYS_PWRITEV, unix.SYS_PWRITEV2:
		return o.vectors(call.Args[1], call.Args[2])
	case unix.SYS_SENDMSG:
		const vectors = 16 // struct msghdr, msg_iov and msg_iovlen
		if header := changes.Words(o.bytes(call.Args[1]+vectors, 16)); len(header) == 2 {
			return o.vectors(header[0], header[1])
		}
	}
	return nil
}

func (o *output) vectors(at, count uint64) (all []part) {
	const most, size = 1024, 16 // IOV_MAX, struct iovec
	vectors := changes.Words(o.bytes(at, min(count, most)*size))
	for ; len(vectors) >= 2; vectors = vectors[2:] {
		all = append(all, part{vectors[0], vectors[1]})
	}
	return all
}

// completes reports whether the text is complete with what is written from an address on.
func (o *output) completes(fd, at, size uint64) bool {
	const piece = 64 << 10
	for ; size > 0; at, size = at+piece, size-min(size, piece) {
		all := append(o.written[fd], o.bytes(at, min(size, piece))...)
		if bytes.Contains(all, o.text) {
			return true
		}
		o.written[fd] = bytes.Clone(all[max(0, len(all)-len(o.text)+1):])
	}
	return false
}

func (o *output) bytes(addr, n uint64) []byte {
	b := make([]byte, n)
	return b[:o.mem.ReadSome(addr, b)]
}
