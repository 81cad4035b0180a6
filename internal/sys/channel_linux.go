package sys

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// Channel is one end of a connection between two processes, by which messages and descriptors pass, unix(7).
type Channel struct{ fd int }

// MaxPassed is how many descriptors one message may have; the kernel's limit is SCM_MAX_FD, 253.
const MaxPassed = 128

// channelNumber is the lowest number that a channel's end gets for another program: above those that people give
// descriptors.
const channelNumber = 64

// NewChannel makes both ends.
func NewChannel() (a, b Channel, err error) {
	if err := fault("socketpair"); err != nil {
		return a, b, fmt.Errorf("socketpair: %w", err)
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return a, b, fmt.Errorf("socketpair: %w", err)
	}
	return Channel{ends[0]}, Channel{ends[1]}, nil
}

// Bequeath leaves this end to the programs that this process executes, under the number that it gives.
func (c Channel) Bequeath() (number int, err error) {
	number, err = unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD, channelNumber)
	c.Close()
	if err != nil {
		return 0, fmt.Errorf("fcntl F_DUPFD: %w", err)
	}
	return number, nil
}

// Inherit takes an end that was bequeathed.
func Inherit(number int) (Channel, error) {
	_, err := unix.FcntlInt(uintptr(number), unix.F_SETFD, unix.FD_CLOEXEC)
	if err != nil {
		return Channel{}, fmt.Errorf("descriptor %d: fcntl F_SETFD: %w", number, err)
	}
	return Channel{number}, nil
}

// Peer gives the pid of the process that has made the channel.
func (c Channel) Peer() (int, error) {
	who, err := unix.GetsockoptUcred(c.fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, fmt.Errorf("getsockopt SO_PEERCRED: %w", err)
	}
	return int(who.Pid), nil
}

// Send sends one message. Without a reader it returns an error; there is no SIGPIPE.
func (c Channel) Send(data []byte, fds ...int) error {
	err := fault("sendmsg")
	if err == nil {
		err = unix.Sendmsg(c.fd, data, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
	}
	for errors.Is(err, unix.EINTR) {
		err = unix.Sendmsg(c.fd, data, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
	}
	if err != nil {
		return fmt.Errorf("sendmsg: %w", err)
	}
	return nil
}

// Receive waits for a message; io.EOF: the other end is closed.
func (c Channel) Receive(data []byte) (n int, fds []int, err error) {
	control := make([]byte, unix.CmsgSpace(4*MaxPassed))
	for {
		n, controls, _, _, err := unix.Recvmsg(c.fd, data, control, unix.MSG_CMSG_CLOEXEC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECONNRESET), err == nil && n == 0:
			return 0, nil, io.EOF
		case err != nil:
			return 0, nil, fmt.Errorf("recvmsg: %w", err)
		}
		fds, err := passed(control[:controls])
		return n, fds, err
	}
}

// passed returns the descriptors in control messages, cmsg(3).
func passed(control []byte) (fds []int, err error) {
	messages, err := unix.ParseSocketControlMessage(control)
	for _, m := range messages {
		some, err := unix.ParseUnixRights(&m)
		if err != nil {
			return nil, fmt.Errorf("recvmsg: %w", err)
		}
		fds = append(fds, some...)
	}
	return fds, err
}

// Close closes this end.
func (c Channel) Close() { unix.Close(c.fd) }

// Peek waits for a message and leaves it there: n is its whole length, and data gets as much of it as there is room.
// io.EOF: the other end is closed.
func (c Channel) Peek(data []byte) (n int, err error) {
	for {
		n, _, err := unix.Recvfrom(c.fd, data, unix.MSG_PEEK|unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECONNRESET), err == nil && n == 0:
			return 0, io.EOF
		case err != nil:
			return 0, fmt.Errorf("recv: %w", err)
		}
		return n, nil
	}
}

// Borrow gives the channel's end that another program left under a number, and leaves it to the next program as well.
func Borrow(number int) Channel { return Channel{number} }

// CloseWrite tells the other end that no more messages come, shutdown(2).
func (c Channel) CloseWrite() { _ = unix.Shutdown(c.fd, unix.SHUT_WR) }
