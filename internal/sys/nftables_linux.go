package sys

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Connection is a TCP connection by its two ends.
type Connection struct{ Here, There netip.AddrPort }

// criuMark is on the packets that a lock lets pass, SOCCR_MARK of CRIU's soccr/soccr.h.
const criuMark = 0xc114

// NetworkLock keeps packets away until it is closed, also by the end of the process.
type NetworkLock struct{ fd int }

// Close lets packets pass. The kernel removes a table together with the socket that owns it.
func (l *NetworkLock) Close() {
	if l.fd >= 0 {
		unix.Close(l.fd)
	}
	l.fd = -1
}

// LockNetwork makes an nftables table of the family inet that drops packets without the mark: all of them, or those of
// some connections. unix.EOPNOTSUPP within means that the kernel has no such tables (Linux 5.12).
func LockNetwork(name string, all bool, connections []Connection) (l *NetworkLock, err error) {
	if err := fault("nftables"); err != nil {
		return nil, fmt.Errorf("nftables table %s: %w", name, err)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err == unix.EPROTONOSUPPORT {
		err = unix.EOPNOTSUPP
	}
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	l = &NetworkLock{fd}
	batch := lockBatch(name, all, connections)
	if err = unix.Sendto(fd, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err == nil {
		err = netlinkAnswer(fd)
	}
	if err == unix.EINVAL || err == unix.ENOENT { // neither such a flag nor such a subsystem
		err = fmt.Errorf("%w: %w", unix.EOPNOTSUPP, err)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("nftables table %s: %w", name, err)
	}
	return l, nil
}

// Numbers of include/uapi/linux/netfilter/nf_tables.h.
const (
	nftNewtable, nftNewchain, nftNewrule = nfSubsysNftables << 8, nfSubsysNftables<<8 | 3, nfSubsysNftables<<8 | 6

	nftaTableFlags, nftTableOwner = 2, 2

	nftaChainTable, nftaChainName, nftaChainHook, nftaChainPolicy, nftaChainType = 1, 3, 4, 5, 7
	nftaHookNum, nftaHookPriority                                                = 1, 2
	nftaRuleTable, nftaRuleChain, nftaRuleExpressions                            = 1, 2, 4
	nftaListElem, nftaExprName, nftaExprData                                     = 1, 1, 2

	nfInetLocalIn, nfInetLocalOut = 1, 3
	nfDrop, nfAccept              = 0, 1
	lockPriority                  = -400 // before connection tracking, NF_IP_PRI_CONNTRACK_DEFRAG
)

// lockBatch is everything in one transaction: table, chains, rules. The kernel acknowledges the last rule, after the
// first error.
func lockBatch(name string, all bool, connections []Connection) []byte {
	policy := uint32(nfAccept)
	if all {
		policy, connections = nfDrop, nil
	}
	seq := uint32(0)
	var batch []byte
	add := func(kind, flags uint16, family byte, resource uint16, attrs []byte) {
		seq++
		batch = append(batch, nfMessage(kind, flags, seq, family, resource, attrs)...)
	}
	create := func(kind, flags uint16, attrs func(a *netlink.AttributeEncoder)) {
		add(kind, unix.NLM_F_CREATE|flags, nfprotoInet, 0, encoded(attrs))
	}
	add(nfBatchBegin, 0, unix.AF_UNSPEC, nfSubsysNftables, nil)
	create(nftNewtable, unix.NLM_F_EXCL, func(a *netlink.AttributeEncoder) {
		a.String(nftaTableName, name)
		a.Uint32(nftaTableFlags, nftTableOwner)
	})
	create(nftNewchain, 0, lockChain(name, "input", nfInetLocalIn, policy))
	create(nftNewchain, 0, lockChain(name, "output", nfInetLocalOut, policy))
	for _, c := range connections {
		create(nftNewrule, unix.NLM_F_APPEND, lockRule(name, "input", segmentOf(c.There, c.Here), nfDrop))
		create(nftNewrule, unix.NLM_F_APPEND, lockRule(name, "output", segmentOf(c.Here, c.There), nfDrop))
	}
	create(nftNewrule, 0, lockRule(name, "input", markIs(criuMark), nfAccept)) // without NLM_F_APPEND: the first
	create(nftNewrule, unix.NLM_F_ACK, lockRule(name, "output", markIs(criuMark), nfAccept))
	add(nfBatchEnd, 0, unix.AF_UNSPEC, nfSubsysNftables, nil)
	return batch
}

func encoded(attrs func(a *netlink.AttributeEncoder)) []byte {
	a := netlink.NewAttributeEncoder()
	a.ByteOrder = binary.BigEndian // nftables has numbers in network order
	attrs(a)
	b, err := a.Encode()
	if err != nil {
		panic(err) // nothing here is as long as 64 KiB
	}
	return b
}

func nestedAttr(a *netlink.AttributeEncoder, kind uint16, attrs func(a *netlink.AttributeEncoder)) {
	a.Nested(kind, func(inner *netlink.AttributeEncoder) error {
		attrs(inner)
		return nil
	})
}

// lockChain describes a base chain: it is attached to a hook, and its policy decides on packets that no rule decides
// on, nft(8).
func lockChain(table, chain string, hook, policy uint32) func(a *netlink.AttributeEncoder) {
	return func(a *netlink.AttributeEncoder) {
		a.String(nftaChainTable, table)
		a.String(nftaChainName, chain)
		nestedAttr(a, nftaChainHook, func(a *netlink.AttributeEncoder) {
			a.Uint32(nftaHookNum, hook)
			a.Int32(nftaHookPriority, lockPriority)
		})
		a.Uint32(nftaChainPolicy, policy)
		a.String(nftaChainType, "filter")
	}
}

// An expression of a rule: its name and its attributes.
type expression struct {
	name  string
	attrs func(a *netlink.AttributeEncoder)
}

// lockRule describes a rule. The kernel evaluates its expressions in their order and stops at the first that does not
// match, so the verdict comes last.
func lockRule(table, chain string, matches []expression, verdict uint32) func(a *netlink.AttributeEncoder) {
	return func(a *netlink.AttributeEncoder) {
		a.String(nftaRuleTable, table)
		a.String(nftaRuleChain, chain)
		nestedAttr(a, nftaRuleExpressions, func(a *netlink.AttributeEncoder) {
			for _, e := range append(matches, decide(verdict)) {
				nestedAttr(a, nftaListElem, func(a *netlink.AttributeEncoder) {
					a.String(nftaExprName, e.name)
					nestedAttr(a, nftaExprData, e.attrs)
				})
			}
		})
	}
}

const register = 1 // NFT_REG_1, 16 bytes

// decide ends a rule: NFTA_IMMEDIATE_DREG, _DATA, NFTA_DATA_VERDICT, NFTA_VERDICT_CODE.
func decide(verdict uint32) expression {
	return expression{"immediate", func(a *netlink.AttributeEncoder) {
		a.Uint32(1, 0) // NFT_REG_VERDICT
		nestedAttr(a, 2, func(a *netlink.AttributeEncoder) {
			nestedAttr(a, 2, func(a *netlink.AttributeEncoder) { a.Uint32(1, verdict) })
		})
	}}
}

// meta loads a value that belongs to a packet: NFTA_META_DREG, _KEY.
func meta(key uint32) expression {
	return expression{"meta", func(a *netlink.AttributeEncoder) {
		a.Uint32(1, register)
		a.Uint32(2, key)
	}}
}

// payload loads bytes of a header: NFTA_PAYLOAD_DREG, _BASE, _OFFSET, _LEN.
func payload(base, offset, length uint32) expression {
	return expression{"payload", func(a *netlink.AttributeEncoder) {
		a.Uint32(1, register)
		a.Uint32(2, base)
		a.Uint32(3, offset)
		a.Uint32(4, length)
	}}
}

// equal compares what was loaded: NFTA_CMP_SREG, _OP, _DATA, NFTA_DATA_VALUE.
func equal(value []byte) expression {
	return expression{"cmp", func(a *netlink.AttributeEncoder) {
		a.Uint32(1, register)
		a.Uint32(2, 0) // NFT_CMP_EQ
		nestedAttr(a, 3, func(a *netlink.AttributeEncoder) { a.Bytes(1, value) })
	}}
}

// markIs matches packets with a mark, which has this machine's order.
func markIs(mark uint32) []expression {
	const key = 3 // NFT_META_MARK
	return []expression{meta(key), equal(binary.NativeEndian.AppendUint32(nil, mark))}
}

// segmentOf matches TCP segments of one direction of a connection.
func segmentOf(from, to netip.AddrPort) []expression {
	const family, protocol = 15, 16 // NFT_META_NFPROTO, NFT_META_L4PROTO
	const network, transport = 1, 2 // NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER
	source, target, number := from.Addr().Unmap().AsSlice(), to.Addr().Unmap().AsSlice(), byte(unix.AF_INET)
	offset := uint32(12) // of the source in an IPv4 header
	if len(source) == 16 {
		offset, number = 8, unix.AF_INET6
	}
	ports := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from.Port()), to.Port())
	size := uint32(len(source))
	return []expression{
		meta(family), equal([]byte{number}), meta(protocol), equal([]byte{unix.IPPROTO_TCP}),
		payload(network, offset, size), equal(source), payload(network, offset+size, size), equal(target),
		payload(transport, 0, 4), equal(ports),
	}
}
