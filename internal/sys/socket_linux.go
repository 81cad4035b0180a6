package sys

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// CanBind tries to bind a UDP socket to an address, with a port of the kernel's choice, ip(7). scope is the interface
// that an address of a link belongs to, or 0.
func CanBind(at netip.Addr, scope uint32) bool {
	family, addr := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: at.As16(), ZoneId: scope})
	if at.Is4() {
		family, addr = unix.AF_INET, &unix.SockaddrInet4{Addr: at.As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Bind(fd, addr) == nil
}
