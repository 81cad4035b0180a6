package sys

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Tun is a network interface that a program is at the other end of, Documentation/networking/tuntap.rst.
type Tun struct {
	Name         string
	Index        uint32
	Flags        uint16 // IFF_TUN or IFF_TAP, and more
	Owner, Group int32  // -1: nobody in particular
	HeaderSize   uint32 // of struct virtio_net_hdr
	SendBuffer   uint32
}

// Make makes the interface, which stays when nobody has it open.
func (t *Tun) Make() error {
	if err := fault("tun"); err != nil {
		return fmt.Errorf("tun: %w", err)
	}
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var request struct { // struct ifreq
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:unix.IFNAMSIZ-1], t.Name)
	const persist = 0x800 // shown, but not taken: IFF_PERSIST
	request.flags = t.Flags &^ persist
	if err := t.attach(f, unsafe.Pointer(&request)); err != nil {
		return err
	}
	return t.keep(f)
}

// attach makes the interface that the descriptor is the other end of, under its number.
func (t *Tun) attach(f *os.File, ifreq unsafe.Pointer) error {
	index, header, buffer := t.Index, t.HeaderSize, t.SendBuffer
	if err := tunGive(f, "TUNSETIFINDEX", unix.TUNSETIFINDEX, unsafe.Pointer(&index)); err != nil {
		return err
	}
	if err := tunGive(f, "TUNSETIFF", unix.TUNSETIFF, ifreq); err != nil {
		return err
	}
	if err := tunGive(f, "TUNSETVNETHDRSZ", unix.TUNSETVNETHDRSZ, unsafe.Pointer(&header)); err != nil {
		return err
	}
	return tunGive(f, "TUNSETSNDBUF", unix.TUNSETSNDBUF, unsafe.Pointer(&buffer))
}

// keep sets who may open the interface, and that it stays.
func (t *Tun) keep(f *os.File) error {
	if t.Owner >= 0 {
		if err := tunSet(f, "TUNSETOWNER", unix.TUNSETOWNER, uintptr(t.Owner)); err != nil {
			return err
		}
	}
	if t.Group >= 0 {
		if err := tunSet(f, "TUNSETGROUP", unix.TUNSETGROUP, uintptr(t.Group)); err != nil {
			return err
		}
	}
	return tunSet(f, "TUNSETPERSIST", unix.TUNSETPERSIST, 1)
}

func tunGive(f *os.File, name string, request uintptr, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg))
	return tunError(name, errno)
}

func tunSet(f *os.File, name string, request, arg uintptr) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, arg)
	return tunError(name, errno)
}

func tunError(name string, errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w", name, errno)
}
