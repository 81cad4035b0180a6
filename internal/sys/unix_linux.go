package sys

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// UnixAlive reports whether a unix socket listens at path. A datagram socket that connects does
// nothing to it: the kernel says ECONNREFUSED if no process has it open, and EPROTOTYPE if it is not a datagram socket,
// unix(7).
func UnixAlive(path string) bool {
	// the path may be too long for an address
	file, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
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

// SocketKind gives a socket's family and type, socket(7); 0 for anything else.
func SocketKind(fd int) (family, kind uint32) {
	f, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return 0, 0
	}
	k, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return 0, 0
	}
	return uint32(f), uint32(k)
}
