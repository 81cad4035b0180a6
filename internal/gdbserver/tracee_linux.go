//go:build amd64

package gdbserver

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
)

// Tracee is a Thread by ptrace(2): the caller's OS thread traces it.
type Tracee struct {
	Pid, Tid sys.PID
	Memory   *sys.Memory
	Mapped   bool  // the program's own memory is there
	Beside   []int // threads of the process that the caller has stopped, too

	Meanwhile func() error // asks from time to time whether anything has made the thread's wait useless; may be nil
}

// machine is this CPU's.
func machine() Machine {
	const avx, size = 2, 16 * vectorSize // Intel SDM vol. 1, 13.1
	if c := sys.XsaveLayout().Components[avx]; c.Size == size {
		return Machine{YMM: c.Offset}
	}
	return Machine{}
}

func (t *Tracee) Machine() Machine { return machine() }

// state reads all registers of a thread.
func state(tid sys.PID) (sys.Regs, []byte, error) {
	r, err := sys.GetRegs(tid)
	if err != nil {
		return r, nil, err
	}
	area, err := sys.ReadXstate(tid)
	if least := max(sys.XsaveExtended, int(machine().YMM)+16*vectorSize); err == nil && len(area) < least {
		err = fmt.Errorf("thread %d has an XSAVE area of %d bytes", tid, len(area))
	}
	return r, area, err
}

// Registers reads those of the thread, or of one that stands beside it.
func (t *Tracee) Registers(tid int) ([]byte, error) {
	r, xstate, err := state(sys.PID(tid))
	if err != nil {
		return nil, err
	}
	return machine().pack(&r, xstate), nil
}

// SetRegisters writes the thread's. A system call that was interrupted is not made again.
func (t *Tracee) SetRegisters(b []byte) error {
	r, xstate, err := state(t.Tid)
	if err != nil {
		return err
	}
	was := r.Ip
	if machine().unpack(b, &r, xstate) {
		if err := sys.SetXstate(t.Tid, xstate); err != nil {
			return err
		}
	}
	if r.Ip != was {
		r.OrigAx = ^uint64(0)
	}
	return sys.SetRegs(t.Tid, &r)
}

// ID is the number by which crpie traces the thread.
func (t *Tracee) ID() int { return int(t.Tid) }

// Others lists the threads that stand beside it.
func (t *Tracee) Others() []int { return t.Beside }

// Name gives the name of a thread.
func (t *Tracee) Name(tid int) string {
	name, _ := sys.ReadProc(fmt.Sprintf("/proc/%d/task/%d/comm", t.Pid, tid))
	return strings.TrimSuffix(string(name), "\n")
}

func (t *Tracee) Read(addr uint64, b []byte) int    { return t.Memory.ReadSome(addr, b) }
func (t *Tracee) Write(addr uint64, b []byte) error { return t.Memory.Write(addr, b) }

// Executable gives the path that the program has for itself.
func (t *Tracee) Executable() string {
	if !t.Mapped {
		return ""
	}
	path, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", t.Pid))
	return path
}

// Auxv gives the auxiliary vector, by which gdb finds the libraries.
func (t *Tracee) Auxv() []byte {
	if !t.Mapped {
		return nil
	}
	b, _ := sys.ReadProc(fmt.Sprintf("/proc/%d/auxv", t.Pid))
	return b
}

// Stands reports that the thread is no longer where it was stopped: killed, whose stop at its end would be news. Beyond
// that it asks the caller.
func (t *Tracee) Stands() error {
	if _, err := sys.GetRegs(t.Tid); err != nil {
		return ErrKilled
	}
	var news unix.Siginfo
	const look = unix.WEXITED | unix.WSTOPPED | unix.WNOHANG | unix.WNOWAIT | unix.WALL
	if err := unix.Waitid(unix.P_PID, int(t.Tid), &news, look, nil); err != nil || news.Signo != 0 {
		return ErrKilled
	}
	if t.Meanwhile != nil {
		return t.Meanwhile()
	}
	return nil
}

// AtSystemCall reports whether the next instruction makes a system call.
func (t *Tracee) AtSystemCall() bool {
	r, err := sys.GetRegs(t.Tid)
	b := make([]byte, 2)
	return err == nil && t.Read(r.Ip, b) == 2 && b[0] == 0x0f && b[1] == 0x05
}

// AtTrap puts a thread that has run into a breakpoint back onto it, and has gdb be told that: if gdb had to do it, and
// went away before, the thread would go on in the middle of an instruction. A step ends with another code, TRAP_TRACE.
func (s *Server) AtTrap(t *Tracee) error {
	const fromInt3 = 0x80 // SI_KERNEL, arch/x86/kernel/traps.c do_int3
	info, err := sys.GetSigInfo(t.Tid)
	if err != nil || info.Code() != fromInt3 {
		return err
	}
	r, err := sys.GetRegs(t.Tid)
	if err != nil {
		return err
	}
	if _, there := s.code[r.Ip-1]; !there {
		return nil
	}
	s.atBreakpoint = true
	r.Ip--
	return sys.SetRegs(t.Tid, &r)
}

// IsTrap reports whether a stop is that of a breakpoint or a step.
func IsTrap(ws unix.WaitStatus) bool {
	return ws.Stopped() && ws.StopSignal() == unix.SIGTRAP && sys.Event(ws) == 0
}
