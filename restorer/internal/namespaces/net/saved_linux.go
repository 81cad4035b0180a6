package net

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/several"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/uapi"
)

// do adds the addresses. What the kernel has given by itself to links that came up, and the dump does not have, goes.
func (s *addresses) do(m *maker) error {
	var errs []error
	for i, message := range s.messages {
		message.Header.Flags = netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Replace
		if err := m.request(message); err != nil {
			errs = append(errs,
				fmt.Errorf("%v of %s: %w", s.parsed[i], s.links[s.parsed[i].index].GetName(), err))
		}
	}
	if len(errs) > 0 {
		return several.Join(errs...)
	}
	return s.settle(m)
}

// settleTimeout bounds the wait for addresses of links that carry; duplicate address detection is off meanwhile.
const settleTimeout = 2 * time.Second

// settle waits until no address is tentative that was not, and removes those that are too many.
func (s *addresses) settle(m *maker) error {
	for end := time.Now().Add(settleTimeout); ; time.Sleep(time.Millisecond) {
		have, err := m.addresses()
		if err != nil {
			return err
		}
		waits, err := s.wait(m, have)
		if err != nil {
			return err
		}
		if !waits || time.Now().After(end) {
			return s.removeOthers(m, have)
		}
	}
}

// wait reports whether the kernel has still to find out whether an address is free, and will as its link carries.
func (s *addresses) wait(m *maker, have []address) (bool, error) {
	for _, a := range have {
		i := slices.IndexFunc(s.parsed, a.same)
		if a.flags&ifaFTentative == 0 || i >= 0 && s.parsed[i].flags&ifaFTentative != 0 {
			continue
		}
		if carries, err := m.carries(a.index); carries || err != nil {
			return true, err
		}
	}
	return false, nil
}

// removeOthers removes addresses that the kernel gives by itself (link-local ones of IPv6) and the dump does not have.
func (s *addresses) removeOthers(m *maker, have []address) error {
	for _, a := range have {
		if !slices.ContainsFunc(s.parsed, a.same) {
			if err := m.removeAddress(a); err != nil {
				return err
			}
		}
	}
	return nil
}

// carries reports whether a link is up at both ends.
func (m *maker) carries(index uint32) (bool, error) {
	answers, err := m.links.Request(get(rtmGetlink, ifinfomsg(index, 0, 0), nil))
	return err == nil && len(answers) > 0 && len(answers[0].Data) >= sizeIfinfomsg &&
		number(answers[0].Data[8:])&iffRunning != 0, err
}

// addresses lists the addresses of all links of the namespace, RTM_GETADDR of rtnetlink(7).
func (m *maker) addresses() (all []address, err error) {
	answers, err := m.links.Request(dump(rtmGetaddr, make([]byte, sizeIfaddr)))
	for _, answer := range answers {
		if a, ok := readAddress(answer); ok {
			all = append(all, a)
		}
	}
	return all, err
}

// removeAddress removes an address; that it has gone meanwhile is no error.
func (m *maker) removeAddress(a address) error {
	head := binary.LittleEndian.AppendUint32([]byte{a.family, a.bits, 0, 0}, a.index)
	err := m.request(ask(rtmDeladdr, 0, head, func(e *netlink.AttributeEncoder) {
		e.Bytes(ifaLocal, a.at.AsSlice())
	}))
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("remove %v, which the dump does not have: %w", a, err)
	}
	return nil
}

// do replaces what the kernel has put into the main tables for the addresses.
func (s *routes) do(m *maker) error {
	for _, family := range []byte{uapi.AfInet, uapi.AfInet6} {
		if err := m.flush(rtmGetroute, rtmDelroute, family, isMain); err != nil {
			return err
		}
	}
	var errs []error
	for i, message := range s.messages {
		message.Header.Flags = netlink.Request | netlink.Acknowledge | netlink.Create
		if message.Data[0] == uapi.AfInet {
			message.Header.Flags |= netlink.Append // of routes alike the first counts
		}
		if err := m.request(message); err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, fmt.Errorf("route %d: %w", i, err))
		}
	}
	return several.Join(errs...)
}

// isMain: it is a route of the main table, and no copy.
func isMain(rtmsg []byte) bool {
	attrs, ok := attributes(rtmsg, sizeRtmsg)
	table := uint32(0)
	if ok {
		table = uint32(rtmsg[4])
	}
	if t := attrs[rtaTable]; t != nil {
		table = number(t)
	}
	return table == rtTableMain && wanted(rtmsg)
}

// flush deletes entries of a table of the kernel's.
func (m *maker) flush(get, remove uint16, family byte, which func(data []byte) bool) error {
	answers, err := m.links.Request(dump(get, append([]byte{family}, make([]byte, sizeRtmsg-1)...)))
	if err != nil {
		return err
	}
	for _, a := range answers {
		if len(a.Data) < sizeRtmsg || a.Data[0] != family || !which(a.Data) {
			continue
		}
		if err := m.request(netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(remove),
			Flags: netlink.Request | netlink.Acknowledge}, Data: a.Data}); err != nil &&
			!errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// do replaces the rules that every namespace begins with.
func (s *rules) do(m *maker) error {
	for _, family := range []byte{uapi.AfInet, uapi.AfInet6} {
		saved := func(r netlink.Message) bool { return r.Data[0] == family }
		if !slices.ContainsFunc(s.messages, saved) {
			continue
		}
		if err := m.flush(rtmGetrule, rtmDelrule, family, func([]byte) bool { return true }); err != nil {
			return err
		}
	}
	var errs []error
	for i, message := range s.messages {
		message.Header.Flags = netlink.Request | netlink.Acknowledge | netlink.Create
		if err := m.request(message); err != nil {
			errs = append(errs, fmt.Errorf("rule %d: %w", i, err))
		}
	}
	return several.Join(errs...)
}

// do makes entries of connection tracking. One that exists is right: packets may have made it meanwhile.
func (s *conntrack) do(m *maker) error {
	n, err := sys.OpenNetlink(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer n.Close()
	var errs []error
	for i, message := range s.messages {
		message.Header.Flags = netlink.Request | netlink.Acknowledge | netlink.Create
		if _, err := n.Request(message); err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, fmt.Errorf("entry %d: %w", i, err))
		}
	}
	return several.Join(errs...)
}
