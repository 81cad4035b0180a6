package sys

import (
	"fmt"
	"os"
)

// Memory is the memory of a process by /proc/PID/mem, proc(5): unlike process_vm_writev(2) it writes what the process
// itself must not, copying the page of a private mapping.
type Memory struct {
	pid PID
	f   *os.File
}

// OpenMemory opens the memory that a process has now; execve(2) gives it another.
func OpenMemory(pid PID) (*Memory, error) {
	if err := fault("open mem"); err != nil {
		return nil, fmt.Errorf("open the memory of process %d: %w", pid, err)
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open the memory of process %d: %w", pid, err)
	}
	return &Memory{pid, f}, nil
}

// Read fills b.
func (m *Memory) Read(addr uint64, b []byte) error {
	err := fault("read mem")
	if err == nil {
		_, err = m.f.ReadAt(b, int64(addr))
	}
	if err != nil {
		return fmt.Errorf("read the memory of process %d at %#x: %w", m.pid, addr, err)
	}
	return nil
}

// ReadSome fills as much of b as there is memory.
func (m *Memory) ReadSome(addr uint64, b []byte) int {
	n, _ := m.f.ReadAt(b, int64(addr))
	return n
}

// Write writes b, also where the process may only read.
func (m *Memory) Write(addr uint64, b []byte) error {
	err := fault("write mem")
	if err == nil {
		_, err = m.f.WriteAt(b, int64(addr))
	}
	if err != nil {
		return fmt.Errorf("write the memory of process %d at %#x: %w", m.pid, addr, err)
	}
	return nil
}

// Close closes the file; the memory stays as it is.
func (m *Memory) Close() { m.f.Close() }
