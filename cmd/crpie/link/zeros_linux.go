package link

import "syscall"

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
