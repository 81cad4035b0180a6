//go:build amd64

package gdbserver

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
)

// Tracee is a Thread by ptrace(2): the caller's OS thread traces it.
type Tracee struct {
	Pid, Tid sys.PID
	Memory   *sys.Memory
	Mapped   bool // the program's own memory is there
}

// Registers reads what gdb wants.
func (t *Tracee) Registers() ([]byte, error) {
	r, err := sys.GetRegs(t.Tid)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, RegistersSize)
	for _, word := range []uint64{r.Ax, r.Bx, r.Cx, r.Dx, r.Si, r.Di, r.Bp, r.Sp, r.R8, r.R9, r.R10, r.R11,
		r.R12, r.R13, r.R14, r.R15, r.Ip} {
		b = binary.LittleEndian.AppendUint64(b, word)
	}
	for _, word := range []uint64{r.Flags, r.Cs, r.Ss, r.Ds, r.Es, r.Fs, r.Gs} {
		b = binary.LittleEndian.AppendUint32(b, uint32(word))
	}
	return b, nil
}

// SetRegisters writes the general registers. Segments stay as they are, and a system call that was interrupted is not
// made again.
func (t *Tracee) SetRegisters(b []byte) error {
	r, err := sys.GetRegs(t.Tid)
	if err != nil {
		return err
	}
	was := r.Ip
	for i, word := range []*uint64{&r.Ax, &r.Bx, &r.Cx, &r.Dx, &r.Si, &r.Di, &r.Bp, &r.Sp, &r.R8, &r.R9, &r.R10,
		&r.R11, &r.R12, &r.R13, &r.R14, &r.R15, &r.Ip} {
		*word = binary.LittleEndian.Uint64(b[8*i:])
	}
	r.Flags = uint64(binary.LittleEndian.Uint32(b[17*8:]))
	if r.Ip != was {
		r.OrigAx = ^uint64(0)
	}
	return sys.SetRegs(t.Tid, &r)
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

// Stands reports whether the thread is still where it was stopped: not killed, whose stop at its end would be news.
func (t *Tracee) Stands() bool {
	if _, err := sys.GetRegs(t.Tid); err != nil {
		return false
	}
	var news unix.Siginfo
	const look = unix.WEXITED | unix.WSTOPPED | unix.WNOHANG | unix.WNOWAIT | unix.WALL
	err := unix.Waitid(unix.P_PID, int(t.Tid), &news, look, nil)
	return err == nil && news.Signo == 0
}

// AtSystemCall reports whether the next instruction makes a system call.
func (t *Tracee) AtSystemCall() bool {
	r, err := sys.GetRegs(t.Tid)
	b := make([]byte, 2)
	return err == nil && t.Read(r.Ip, b) == 2 && b[0] == 0x0f && b[1] == 0x05
}

// AtTrap puts a thread that has run into a breakpoint back onto it, if nobody else does because gdb has gone.
func (s *Server) AtTrap(t *Tracee) error {
	r, err := sys.GetRegs(t.Tid)
	if err != nil {
		return err
	}
	if _, there := s.code[r.Ip-1]; !there {
		return nil
	}
	r.Ip--
	return sys.SetRegs(t.Tid, &r)
}

// IsTrap reports whether a stop is that of a breakpoint or a step.
func IsTrap(ws unix.WaitStatus) bool {
	return ws.Stopped() && ws.StopSignal() == unix.SIGTRAP && sys.Event(ws) == 0
}
