package sys

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Prefault has the kernel map the next pages of the heap, size bytes, all at once, madvise(2) MADV_POPULATE_WRITE
// (Linux 5.14): a fault for each of them takes several times as long. The runtime extends its heap upwards, and so
// these pages are those above what it hands out now. Where they are not, or the kernel refuses, nothing changes.
func Prefault(size uintptr) {
	page := uintptr(os.Getpagesize())
	newest := make([]byte, 64<<10) // large enough for a span of its own, package runtime
	from := uintptr(unsafe.Pointer(unsafe.SliceData(newest)))
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, from&^(page-1), size, unix.MADV_POPULATE_WRITE)
}
