package link

import (
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
)

// mappedFile is a file in memory that is not copied.
type mappedFile struct {
	name string
	data []byte
}

// mapFile maps a regular file read-only, all of its pages at once.
func mapFile(name string) (*mappedFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("load %s: not a regular file", name)
	}
	m := &mappedFile{name: name}
	if info.Size() > 0 {
		m.data, err = syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_PRIVATE|syscall.MAP_POPULATE)
	}
	if err != nil {
		return nil, fmt.Errorf("load %s: mmap: %w", name, err)
	}
	return m, nil
}

func (m *mappedFile) unmap() {
	if m.data != nil {
		_ = syscall.Munmap(m.data) // only fails for a range that is not mapped
	}
}

// guard runs use on the contents. If somebody truncates the file meanwhile, the kernel sends SIGBUS, mmap(2), and guard
// makes an error of it.
func (m *mappedFile) guard(use func([]byte) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if _, fault := r.(interface{ Addr() uintptr }); !fault {
				panic(r)
			}
			err = fmt.Errorf("load %s: the file became shorter while it was read", m.name)
		}
	}()
	return use(m.data)
}

// madvHugepage is MADV_HUGEPAGE, madvise(2).
const madvHugepage = 14

// zeros gives fresh memory with few page faults: from 2 MiB on in huge pages where the kernel has them, below that all
// pages at once.
func zeros(size uint64) []byte {
	const small, huge = 256 << 10, 2 << 20
	flags, length := syscall.MAP_PRIVATE|syscall.MAP_ANON, size
	switch {
	case size < small:
		return make([]byte, size)
	case size < huge:
		flags |= syscall.MAP_POPULATE
	default:
		length = (size + huge - 1) &^ (huge - 1)
	}
	b, err := syscall.Mmap(-1, 0, int(length), syscall.PROT_READ|syscall.PROT_WRITE, flags)
	if err != nil {
		return make([]byte, size)
	}
	_ = syscall.Madvise(b, madvHugepage) // small pages do as well
	return b[:size]
}
