package sys

import (
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Netlink talks to the tables of one network namespace: that of the thread which has opened it, netlink(7).
type Netlink struct{ conn *netlink.Conn }

// OpenNetlink opens a socket to the routing tables (NETLINK_ROUTE) or to netfilter (NETLINK_NETFILTER).
func OpenNetlink(family int) (*Netlink, error) {
	if err := fault("netlink"); err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	conn, err := netlink.Dial(family, nil)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &Netlink{conn}, nil
}

// Request sends a message and gives the answers. An error that the kernel reports is a unix.Errno within.
func (n *Netlink) Request(m netlink.Message) ([]netlink.Message, error) {
	if err := fault("netlink"); err != nil {
		return nil, err
	}
	answers, err := n.conn.Execute(m)
	var op *netlink.OpError
	if errors.As(err, &op) && op.Message != "" {
		return nil, fmt.Errorf("%w: %s", op.Err, op.Message) // of the kernel, NETLINK_EXT_ACK
	}
	if errors.As(err, &op) {
		return nil, op.Err
	}
	return answers, err
}

// NetlinkIn opens a socket to the tables of another namespace, to undo things: it has no fault point.
func NetlinkIn(namespace *os.File, family int) (*Netlink, error) {
	conn, err := netlink.Dial(family, &netlink.Config{NetNS: int(namespace.Fd())})
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &Netlink{conn}, nil
}

// Undo is Request without a fault point.
func (n *Netlink) Undo(m netlink.Message) error {
	_, err := n.conn.Execute(m)
	return err
}

// Explain asks the kernel for words beside its error numbers, NETLINK_EXT_ACK of netlink(7), Linux 4.12.
func (n *Netlink) Explain() { _ = n.conn.SetOption(netlink.ExtendedAcknowledge, true) }

func (n *Netlink) Close() { n.conn.Close() }

// Setns moves the calling thread, which must be one apart, into a namespace, setns(2).
func Setns(f *os.File, kind int) error {
	if err := fault("setns"); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	return os.NewSyscallError("setns", unix.Setns(int(f.Fd()), kind))
}

// Sysctl sets a file below /proc/sys, unless it has that value.
func Sysctl(path, value string) error {
	if now, err := os.ReadFile(path); err == nil && string(now) == value+"\n" {
		return nil
	}
	if err := fault("sysctl"); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
