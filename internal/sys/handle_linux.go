package sys

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// HasHandle reports whether the file system of a mount point has a file of a handle, given as struct file_handle;
// open_by_handle_at(2).
func HasHandle(mount string, handle []byte) bool {
	const header = 8
	root, err := unix.Open(mount, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil || len(handle) < header {
		return false
	}
	defer unix.Close(root)
	kind := int32(binary.LittleEndian.Uint32(handle[4:]))
	fd, err := unix.OpenByHandleAt(root, unix.NewFileHandle(kind, handle[header:]), unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}
