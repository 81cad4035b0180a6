package net

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
)

// maker carries a plan out. Its thread is in the namespace.
type maker struct {
	*Plan
	hostLinks, links *sys.Netlink
}

// doer is a step that can be carried out, which all are here.
type doer interface{ do(m *maker) error }

var _ = []doer{sysctl{}, ownID{}, &creation{}, &loopback{}, &tun{}, &port{}, &flags{}, &addresses{}, &routes{},
	&rules{},
	&conntrack{}, &script{}}

// Enter makes the namespace, or opens it, and leaves the calling thread in it for good, if it can be had at all:
// inside. What cannot be done in it is listed. Close undoes what has been done.
func (p *Plan) Enter() (inside bool, failed []error) {
	m := &maker{Plan: p}
	defer m.close()
	for _, do := range []func() error{m.openHost, m.enterNamespace, m.lock} {
		if err := do(); err != nil {
			return p.made.own != nil, []error{err}
		}
	}
	return true, m.carryOut()
}

// carryOut takes all steps, but behind one that links have failed in, none that would fail for want of these.
func (m *maker) carryOut() (failed []error) {
	incomplete := false
	for _, s := range m.steps {
		if incomplete && needsLinks(s) {
			continue
		}
		if errs := several.Join(s.(doer).do(m)); errs != nil {
			for _, err := range errs.(*multierror.Error).Errors {
				failed = append(failed, fmt.Errorf("%v: %w", s, err))
			}
			incomplete = incomplete || makesLinks(s) || needsLinks(s)
		}
	}
	return failed
}

// makesLinks reports whether a step makes links.
func makesLinks(s step) bool {
	switch s.(type) {
	case *creation, *loopback, *tun:
		return true
	}
	return false
}

// needsLinks reports whether a step may fail only because one before it has: a macvlan lies on another link, a gateway
// is reached by an address.
func needsLinks(s step) bool {
	switch s := s.(type) {
	case *creation:
		return layer(s.link) > 0 && s.lower == ""
	case sysctl:
		return strings.Contains(s.path, "/conf/")
	case *port, *flags, *addresses, *routes:
		return true
	}
	return false
}

// openHost keeps a hold of where the thread comes from.
func (m *maker) openHost() (err error) {
	if m.made.host, err = sys.ThreadNamespace(unix.CLONE_NEWNET); err != nil {
		return err
	}
	if m.hostLinks, err = sys.OpenNetlink(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	m.hostLinks.Explain()
	return nil
}

// enterNamespace moves the thread.
func (m *maker) enterNamespace() (err error) {
	if m.open == nil {
		err = sys.Unshare(unix.CLONE_NEWNET)
	} else {
		err = m.enterGiven()
	}
	if err != nil {
		return err
	}
	if m.made.own, err = sys.ThreadNamespace(unix.CLONE_NEWNET); err != nil {
		return err
	}
	if m.links, err = sys.OpenNetlink(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	m.links.Explain()
	return nil
}

// enterGiven joins a namespace that the user has named.
func (m *maker) enterGiven() error {
	f, err := m.open()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := sys.Setns(f, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("%s: %w", m.source, err)
	}
	return nil
}

// lockTable is a table of nftables, family inet, that keeps packets from sockets that are not there yet.
const lockTable = "crpie"

// lock keeps packets out of a namespace of its own, and those of the connections out of one that others may be in.
// Without nftables in the kernel, which has no other way to do it by itself, connections cannot be restored.
func (m *maker) lock() error {
	if m.open != nil && len(m.locked) == 0 {
		return nil
	}
	var tuples []sys.Connection
	for _, c := range m.locked {
		tuples = append(tuples, sys.Connection{Here: c.here, There: c.there})
	}
	lock, err := sys.LockNetwork(lockTable, m.open == nil, tuples)
	switch {
	case err == nil:
		m.made.lock = lock
	case len(m.locked) == 0 && errors.Is(err, unix.EOPNOTSUPP):
		err = nil
	}
	return err
}

func (m *maker) close() {
	for _, n := range []*sys.Netlink{m.hostLinks, m.links} {
		if n != nil {
			n.Close()
		}
	}
}

// Open lets packets pass: every socket is there.
func (p *Plan) Open() {
	if p.made.lock != nil {
		p.made.lock.Close()
	}
}

// Close undoes what was done outside of the namespace, which is gone with its last thread, unless Keep was called.
func (p *Plan) Close() error {
	p.Open()
	var errs []error
	for _, undo := range slices.Backward(p.made.undo) {
		errs = append(errs, undo())
	}
	p.made.undo = nil
	for _, f := range []**os.File{&p.made.own, &p.made.host} {
		if *f != nil {
			(*f).Close()
			*f = nil
		}
	}
	return several.Join(errs...)
}

// Keep says that the namespace has become that of the restored tasks.
func (p *Plan) Keep() { p.made.undo = nil }

func (m *maker) inside() uint32  { return uint32(m.made.own.Fd()) }
func (m *maker) outside() uint32 { return uint32(m.made.host.Fd()) }

// request asks for a change of the namespace.
func (m *maker) request(message netlink.Message) error {
	_, err := m.links.Request(message)
	return err
}

// hostLink finds a link of the host's by its name.
func (m *maker) hostLink(name string) (index uint32, err error) {
	answers, err := m.hostLinks.Request(get(rtmGetlink, ifinfomsg(0, 0, 0),
		func(a *netlink.AttributeEncoder) { a.String(iflaIfname, name) }))
	if err != nil {
		return 0, fmt.Errorf("the host's link %s: %w", name, err)
	}
	for _, a := range answers {
		if len(a.Data) >= sizeIfinfomsg {
			return number(a.Data[4:]), nil
		}
	}
	return 0, fmt.Errorf("the host's link %s: the kernel gave no answer", name)
}

// makeOnHost makes a link that lies on one of the host's.
func (m *maker) makeOnHost(lower, name string, message func(lower uint32) netlink.Message) error {
	index, err := m.hostLink(lower)
	if err != nil {
		return err
	}
	_, err = m.hostLinks.Request(message(index))
	return err
}

// adopt takes care of the other end of a veth pair, which is in the host's namespace: it goes when this one is undone.
// As a port of a bridge it is up, as with criu; otherwise whoever has asked for it sees to that.
func (m *maker) adopt(name, bridge string) error {
	host := m.made.host
	m.made.undo = append(m.made.undo, func() error { return removeLink(host, name) })
	if bridge == "" {
		return nil
	}
	index, err := m.hostLink(name)
	if err != nil {
		return err
	}
	over, err := m.hostLink(bridge)
	if err != nil {
		return err
	}
	_, err = m.hostLinks.Request(ask(rtmNewlink, 0, ifinfomsg(index, iffUp, iffUp),
		func(a *netlink.AttributeEncoder) { a.Uint32(iflaMaster, over) }))
	if err != nil {
		return fmt.Errorf("the host's link %s, bridge %s: %w", name, bridge, err)
	}
	return nil
}

// removeLink removes a link of the host's, if it is still there: it goes by itself with the other end.
func removeLink(host *os.File, name string) error {
	links, err := sys.NetlinkIn(host, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("remove the host's link %s: %w", name, err)
	}
	defer links.Close()
	err = links.Undo(ask(rtmDellink, 0, ifinfomsg(0, 0, 0),
		func(a *netlink.AttributeEncoder) { a.String(iflaIfname, name) }))
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove the host's link %s: %w", name, err)
	}
	return nil
}
