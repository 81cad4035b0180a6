package sys

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Span is memory of a process: Data is what ReadProcess fills and WriteProcess writes.
type Span struct {
	Addr uint64
	Data []byte
}

// ReadProcess fills all spans from a process's memory, in order, process_vm_readv(2).
func ReadProcess(pid PID, spans ...Span) error {
	return transfer("process_vm_readv", unix.ProcessVMReadv, pid, spans)
}

// WriteProcess writes all spans to a process's memory, in order, process_vm_writev(2).
func WriteProcess(pid PID, spans ...Span) error {
	return transfer("process_vm_writev", unix.ProcessVMWritev, pid, spans)
}

type vmCall func(pid int, local []unix.Iovec, remote []unix.RemoteIovec, flags uint) (int, error)

// transfer copies spans by one of the process_vm calls; a short copy is an error.
func transfer(name string, call vmCall, pid PID, spans []Span) error {
	if err := fault(name); err != nil {
		return fmt.Errorf("%s of process %d: %w", name, pid, err)
	}
	var local []unix.Iovec
	var remote []unix.RemoteIovec
	want := 0
	for _, s := range spans {
		if len(s.Data) == 0 {
			continue
		}
		v := unix.Iovec{Base: &s.Data[0]}
		v.SetLen(len(s.Data))
		local = append(local, v)
		remote = append(remote, unix.RemoteIovec{Base: uintptr(s.Addr), Len: len(s.Data)})
		want += len(s.Data)
	}
	n, err := call(int(pid), local, remote, 0)
	if err == nil && n != want {
		err = unix.EFAULT // process_vm_readv(2) stops before the first page that is not there
	}
	if err != nil {
		return fmt.Errorf("%s of process %d at %#x: %w", name, pid, spans[0].Addr, err)
	}
	return nil
}
