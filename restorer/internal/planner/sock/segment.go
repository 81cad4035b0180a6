package sock

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// Values of inventory_entry.network_lock_method; an image without it is from a CRIU that knew only the first.
const (
	LockIptables = 0
	LockNftables = 1
)

// unlock plans to undo the lock on one connection.
func (p *Room) unlock(source, dest netip.AddrPort) {
	if p.Dir.Inventory.GetTcpClose() { // such a dump locks nothing
		return
	}
	lock := &p.Plan.Unlock
	switch p.Dir.Inventory.GetNetworkLockMethod() {
	case LockIptables:
		source, dest := unmapped(source), unmapped(dest)
		lock.Rules = append(lock.Rules, plan.LockRule{Chain: "INPUT", From: dest, To: source},
			plan.LockRule{Chain: "OUTPUT", From: source, To: dest})
	case LockNftables:
		lock.Tables = p.lockTables()
	}
}

// lockTables: the table is named after the run of the dump, by CRIU 4.1 cut to what fits into 31 characters with the
// family, or, by an older CRIU, after the root task.
func (p *Room) lockTables() []string {
	const family, room = "inet ", 31
	run := p.Dir.Inventory.GetDumpCriuRunId()
	if run == "" {
		return []string{fmt.Sprintf("CRIU-%d", p.Dir.Tasks[0].Pid)}
	}
	full := "CRIU-" + run
	if len(family+full) <= room {
		return []string{full}
	}
	return []string{full[:room-len(family)], full}
}

func unmapped(at netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// TCP flags, RFC 9293.
const (
	FlagFin = 0x01
	FlagAck = 0x10
)

// Segment is a packet without data, as the other end would send it.
func (s *TcpStream) Segment(seq, ack uint32, flags byte, state uint32) plan.Step {
	from, to := unmapped(s.Dest), unmapped(s.Source)
	window := min(s.GetSndWnd()>>s.GetSndWscale(), 0xffff)
	be := binary.BigEndian
	tcp := be.AppendUint16(nil, from.Port())
	tcp = be.AppendUint16(tcp, to.Port())
	tcp = be.AppendUint32(tcp, seq)
	tcp = be.AppendUint32(tcp, ack)
	tcp = append(tcp, 5<<4, flags) // five words of header
	tcp = be.AppendUint16(tcp, uint16(window))
	tcp = append(tcp, 0, 0, 0, 0) // checksum, urgent pointer
	be.PutUint16(tcp[16:], checksum(from.Addr(), to.Addr(), tcp))
	return plan.Step{Do: plan.StepSegment, Data: append(ipHeader(from.Addr(), to.Addr(), len(tcp)), tcp...), At: to,
		State: state}
}

// ipHeader: the kernel fills in an IPv4 header's checksum, raw(7).
func ipHeader(from, to netip.Addr, payload int) []byte {
	const hops = 64
	var h []byte
	if from.Is4() {
		h = append(h, 0x45, 0)
		h = binary.BigEndian.AppendUint16(h, uint16(20+payload))
		h = append(h, 0, 0, 0, 0, hops, uapi.IpprotoTCP, 0, 0)
	} else {
		h = append(h, 0x60, 0, 0, 0)
		h = binary.BigEndian.AppendUint16(h, uint16(payload))
		h = append(h, uapi.IpprotoTCP, hops)
	}
	return append(append(h, from.AsSlice()...), to.AsSlice()...)
}

// checksum is TCP's, over the addresses, protocol and length as well, RFC 9293, 3.1.
func checksum(from, to netip.Addr, tcp []byte) uint16 {
	b := append(from.AsSlice(), to.AsSlice()...)
	b = append(b, 0, uapi.IpprotoTCP)
	b = binary.BigEndian.AppendUint16(b, uint16(len(tcp)))
	b = append(b, tcp...)
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
