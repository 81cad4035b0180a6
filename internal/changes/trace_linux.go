//go:build amd64

package changes

import (
	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/report"
)

// maxTraced bounds the system calls of one call into a plugin that are noted.
const maxTraced = 10000

// Trace notes the system calls that one call into a plugin makes.
type Trace struct {
	format  *uapi.CallFormatter
	mem     processMemory
	call    *report.Call
	pending *report.Syscall // that has begun
}

// NewTrace notes the calls that a call into a plugin makes. The methods of a nil Trace do nothing.
func NewTrace(format *uapi.CallFormatter, mem *sys.Memory, call *report.Call) *Trace {
	return &Trace{format: format, mem: processMemory{mem}, call: call}
}

// Begins notes a call with its arguments as they are now.
func (t *Trace) Begins(info *sys.SyscallInfo) {
	if t == nil {
		return
	}
	if len(t.call.Syscalls) == maxTraced {
		t.pending = nil
		t.call.Untraced++
		return
	}
	name, words := t.format.Format(info.Nr, info.Args[:], t.mem)
	t.pending = &report.Syscall{Name: name, Args: append([]string{}, words...), Unfinished: true}
	t.call.Syscalls = append(t.call.Syscalls, t.pending)
}

// Ends notes its result.
func (t *Trace) Ends(result int64) {
	if t == nil || t.pending == nil {
		return
	}
	t.pending.Result, t.pending.Unfinished = result, false
	if result < 0 && result > -4096 {
		t.pending.Error = unix.ErrnoName(unix.Errno(-result))
	}
	t.pending = nil
}

// processMemory is what arguments of system calls point to.
type processMemory struct{ mem *sys.Memory }

// Lookup gives the memory behind an address, as much as is printed of anything.
func (m processMemory) Lookup(addr uint64) []byte {
	b := make([]byte, 4096)
	n := m.mem.ReadSome(addr, b)
	if n == 0 {
		return nil
	}
	return b[:n]
}
