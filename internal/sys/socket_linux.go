package sys

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// CanBind tries to bind a UDP socket to an address, with a port of the kernel's choice, ip(7). scope is the interface
// that an address of a link belongs to, or 0.
func CanBind(at netip.Addr, scope uint32) bool {
	family := unix.AF_INET6
	if at.Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Bind(fd, sockaddr(netip.AddrPortFrom(at, 0), scope)) == nil
}

// Socket is a socket that another process has, too.
type Socket struct{ fd int }

// Pidfd refers to a process for as long as it is open, also when the number is used again, pidfd_open(2), Linux 5.3.
type Pidfd struct{ fd int }

// OpenPidfd is pidfd_open(2).
func OpenPidfd(pid PID) (Pidfd, error) {
	if err := fault("pidfd_open"); err != nil {
		return Pidfd{}, fmt.Errorf("pidfd_open of %d: %w", pid, err)
	}
	fd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		return Pidfd{}, fmt.Errorf("pidfd_open of %d: %w", pid, err)
	}
	return Pidfd{fd}, nil
}

// Kill kills the process; a process that has ended is not an error.
func (p Pidfd) Kill() error {
	if err := unix.PidfdSendSignal(p.fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("pidfd_send_signal: %w", err)
	}
	return nil
}

// AwaitEnd waits until the process has ended, pidfd_open(2).
func (p Pidfd) AwaitEnd() error {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, -1)
		if err != unix.EINTR {
			return err
		}
	}
}

// Close gives the reference up.
func (p Pidfd) Close() { unix.Close(p.fd) }

// Socket takes a descriptor of a process that the caller may ptrace, pidfd_getfd(2), Linux 5.6.
func (p Pidfd) Socket(fd int) (Socket, error) {
	if err := fault("pidfd_getfd"); err != nil {
		return Socket{}, fmt.Errorf("pidfd_getfd of %d: %w", fd, err)
	}
	own, err := unix.PidfdGetfd(p.fd, fd, 0)
	if err != nil {
		return Socket{}, fmt.Errorf("pidfd_getfd of %d: %w", fd, err)
	}
	return Socket{own}, nil
}

// Close gives the descriptor up; the other process keeps its own.
func (s Socket) Close() { unix.Close(s.fd) }

// SetOption is setsockopt(2).
func (s Socket) SetOption(level, option int, value []byte) error {
	if err := fault("setsockopt"); err != nil {
		return err
	}
	return unix.SetsockoptString(s.fd, level, option, string(value))
}

// SetFilter attaches a program of struct sock_filter[], or detaches the one that there is, socket(7).
func (s Socket) SetFilter(program []byte) error {
	if err := fault("setsockopt"); err != nil {
		return err
	}
	if len(program) == 0 {
		return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
	}
	filter := make([]unix.SockFilter, len(program)/8)
	for i := range filter {
		b := program[8*i:]
		filter[i] = unix.SockFilter{Code: binary.LittleEndian.Uint16(b), Jt: b[2], Jf: b[3],
			K: binary.LittleEndian.Uint32(b[4:])}
	}
	return unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// sendChunk bounds one send(2).
const sendChunk = 64 << 10

// SendAll sends without waiting: there must be room for everything.
func (s Socket) SendAll(data []byte) error {
	for len(data) > 0 {
		if err := fault("sendmsg"); err != nil {
			return err
		}
		n, err := unix.SendmsgN(s.fd, data[:min(len(data), sendChunk)], nil, nil,
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// ShutdownWrite is shutdown(2) with SHUT_WR.
func (s Socket) ShutdownWrite() error {
	if err := fault("shutdown"); err != nil {
		return err
	}
	return unix.Shutdown(s.fd, unix.SHUT_WR)
}

// Connect begins to connect a socket that does not block.
func (s Socket) Connect(at netip.AddrPort) error {
	if err := fault("connect"); err != nil {
		return err
	}
	err := unix.Connect(s.fd, sockaddr(at, 0))
	if err == unix.EINPROGRESS {
		return nil
	}
	return err
}

// SetFlags is fcntl(2) F_SETFL.
func (s Socket) SetFlags(flags uint32) error {
	if err := fault("fcntl"); err != nil {
		return err
	}
	_, err := unix.FcntlInt(uintptr(s.fd), unix.F_SETFL, int(flags))
	return err
}

// TCPState is the state that TCP_INFO gives, tcp(7).
func (s Socket) TCPState() (uint8, error) {
	if err := fault("getsockopt"); err != nil {
		return 0, err
	}
	info, err := unix.GetsockoptTCPInfo(s.fd, unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, err
	}
	return info.State, nil
}

// Repaired reports whether it is a TCP socket in repair mode that is bound to at.
func (s Socket) Repaired(at netip.AddrPort) bool {
	on, err := unix.GetsockoptInt(s.fd, unix.SOL_TCP, unix.TCP_REPAIR)
	if err != nil || on != 1 {
		return false
	}
	name, err := unix.Getsockname(s.fd)
	if err != nil {
		return false
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return at == netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port))
	case *unix.SockaddrInet6:
		return at == netip.AddrPortFrom(netip.AddrFrom16(name.Addr), uint16(name.Port))
	}
	return false
}

// SendPacket sends an IP packet, header and all, with a mark for netfilter, raw(7).
func SendPacket(to netip.Addr, packet []byte, mark int) error {
	if err := fault("sendto"); err != nil {
		return err
	}
	family := unix.AF_INET6
	if to.Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return fmt.Errorf("raw socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark); err != nil {
		return fmt.Errorf("mark %#x: %w", mark, err)
	}
	return unix.Sendto(fd, packet, 0, sockaddr(netip.AddrPortFrom(to, 0), 0))
}

func sockaddr(at netip.AddrPort, scope uint32) unix.Sockaddr {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}
	}
	return &unix.SockaddrInet6{Addr: at.Addr().As16(), Port: int(at.Port()), ZoneId: scope}
}

// Messages of nftables, include/uapi/linux/netfilter/nf_tables.h and nfnetlink.h.
const (
	nfSubsysNftables = 10
	nfBatchBegin     = 0x10
	nfBatchEnd       = 0x11
	nftDeltable      = nfSubsysNftables<<8 | 2
	nftaTableName    = 1
	nfprotoInet      = 1
)

// DeleteTable deletes an nftables table of the family inet with all that is in it. One that does not exist is deleted.
func DeleteTable(name string) error {
	if err := fault("nftables"); err != nil {
		return fmt.Errorf("nftables table %s: %w", name, err)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	defer unix.Close(fd)
	attr := append([]byte(name), 0)
	length := 4 + len(attr)
	attr = append(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, uint16(length)),
		nftaTableName), attr...)
	batch := nfMessage(nfBatchBegin, 0, 1, unix.AF_UNSPEC, nfSubsysNftables, nil)
	batch = append(batch, nfMessage(nftDeltable, unix.NLM_F_ACK, 2, nfprotoInet, 0, attr)...)
	batch = append(batch, nfMessage(nfBatchEnd, 0, 3, unix.AF_UNSPEC, nfSubsysNftables, nil)...)
	if err := unix.Sendto(fd, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("nftables table %s: %w", name, err)
	}
	if err := netlinkAnswer(fd); err != nil && err != unix.ENOENT {
		return fmt.Errorf("nftables table %s: %w", name, err)
	}
	return nil
}

// nfMessage is one netlink message to netfilter, netlink(7): header, struct nfgenmsg, attributes.
func nfMessage(kind, flags uint16, seq uint32, family byte, resource uint16, attrs []byte) []byte {
	for len(attrs)%4 != 0 {
		attrs = append(attrs, 0)
	}
	le := binary.LittleEndian
	b := le.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+4+len(attrs)))
	b = le.AppendUint16(b, kind)
	b = le.AppendUint16(b, unix.NLM_F_REQUEST|flags)
	b = le.AppendUint32(b, seq)
	b = le.AppendUint32(b, 0)
	b = append(b, family, 0)
	b = binary.BigEndian.AppendUint16(b, resource)
	return append(b, attrs...)
}

// netlinkAnswer waits for the error or acknowledgement, which is an error of 0.
func netlinkAnswer(fd int) error {
	b := make([]byte, 8<<10)
	for {
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n < unix.NLMSG_HDRLEN+4 || binary.LittleEndian.Uint16(b[4:]) != unix.NLMSG_ERROR {
			return unix.EBADMSG
		}
		if errno := -int32(binary.LittleEndian.Uint32(b[unix.NLMSG_HDRLEN:])); errno != 0 {
			return unix.Errno(errno)
		}
		return nil
	}
}

// Ended waits for at most the given time, and reports whether the process has ended.
func (p Pidfd) Ended(within time.Duration) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, int(within.Milliseconds()))
	return err == nil && n == 1
}

// Descriptor gives a copy of a descriptor that the process has, pidfd_getfd(2), Linux 5.6.
func (p Pidfd) Descriptor(fd int) (*os.File, error) {
	copied, err := unix.PidfdGetfd(p.fd, fd, 0)
	if err != nil {
		return nil, fmt.Errorf("pidfd_getfd of %d: %w", fd, err)
	}
	return os.NewFile(uintptr(copied), fmt.Sprintf("descriptor %d of another process", fd)), nil
}
