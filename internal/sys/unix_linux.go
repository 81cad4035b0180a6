package sys

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// UnixAlive reports whether the file at path is that of a living unix socket. A datagram socket that connects does nothing
// to it: the kernel says ECONNREFUSED if nobody has it open, and EPROTOTYPE if it is no datagram socket, unix(7).
func UnixAlive(path string) bool {
	file, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0) // the path may be too long for an address
	if err != nil {
		return false
	}
	defer unix.Close(file)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d", file)})
	return err == nil || err == unix.EPROTOTYPE || err == unix.EPERM
}
