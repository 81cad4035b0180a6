package main

import "syscall"

// zeros gives fresh memory with few page faults, which cost a virtual machine some microseconds each: memory from
// half a megabyte on comes in huge pages of 2 MiB, where the kernel has them.
func zeros(size uint64) []byte {
	const small, huge = 512 << 10, 2 << 20
	if size < small {
		return make([]byte, size)
	}
	length := (size + huge - 1) &^ (huge - 1)
	b, err := syscall.Mmap(-1, 0, int(length), syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return make([]byte, size)
	}
	_ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) // small pages do as well
	return b[:size]
}
