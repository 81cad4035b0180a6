//go:build amd64

package inject

import (
	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
)

// maxTraced bounds the system calls of one call into a plugin that are noted.
const maxTraced = 10000

// trace notes the system calls that one call into a plugin makes; nil: none.
type trace struct {
	format  *uapi.CallFormatter
	mem     processMemory
	call    *Call
	pending *Syscall // that has begun
}

// startTrace returns nil if calls are not traced; the methods of a nil trace do nothing.
func (p *target) startTrace(call *Call) *trace {
	if !p.opts.Trace {
		return nil
	}
	if p.formatter == nil {
		p.formatter = uapi.NewCallFormatter()
	}
	return &trace{format: p.formatter, mem: processMemory{p.mem}, call: call}
}

// begins notes a call with its arguments as they are now.
func (t *trace) begins(info *sys.SyscallInfo) {
	if t == nil {
		return
	}
	if len(t.call.Syscalls) == maxTraced {
		t.pending = nil
		t.call.Untraced++
		return
	}
	name, words := t.format.Format(info.Nr, info.Args[:], t.mem)
	t.pending = &Syscall{Name: name, Args: append([]string{}, words...), Unfinished: true}
	t.call.Syscalls = append(t.call.Syscalls, t.pending)
}

// ends notes its result.
func (t *trace) ends(result int64) {
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
