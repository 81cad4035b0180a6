package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// SetsMaps reports whether the kernel lets a process say where its memory begins and ends: PR_SET_MM_MAP of prctl(2),
// which comes with CONFIG_CHECKPOINT_RESTORE.
func SetsMaps() bool {
	size := uint32(0) // of struct prctl_mm_map
	_, _, e := unix.Syscall6(unix.SYS_PRCTL, unix.PR_SET_MM, unix.PR_SET_MM_MAP_SIZE,
		uintptr(unsafe.Pointer(&size)), 0, 0, 0)
	return e == 0 && size > 0
}
