package restorer

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// Connection is a TCP connection that its task has made but that sleeps, and what the controller does to wake it. Each
// phase is over for all connections before the next one begins: the other end of one may be another of them.
type Connection struct {
	What    string
	Pid, Fd int
	At      netip.AddrPort // this end

	Settle []Step // asleep and deaf: state that the kernel would act upon if time passed
	Hear   []Step // the network is open
	Wake   []Step
	Rest   []Step // what the connection sends itself
}

// Step is one thing that the controller does to a socket.
type Step struct {
	Do            StepKind
	Level, Option uint64 // StepOption
	Data          []byte // StepOption, StepSend, StepFilter (struct sock_filter[]; none: detach), StepSegment (an IP packet)
	At            netip.AddrPort
	Flags         uint32 // StepFlags: of fcntl(2) F_SETFL
	State         uint32 // StepSegment: the connection gets into it, 0: whatever
}

// StepKind says what a Step does.
type StepKind int

// The kinds of steps.
const (
	StepOption StepKind = iota
	StepSend
	StepShutdown // for writing
	StepConnect
	StepFlags
	StepFilter
	StepSegment // a packet as from the other end
)

func (s Step) String() string {
	switch s.Do {
	case StepOption:
		if len(s.Data) == 4 {
			return formatCall("setsockopt", []uint64{s.Level, s.Option, uint64(binary.LittleEndian.Uint32(s.Data))})
		}
		return fmt.Sprintf("setsockopt(%d, %#x, %d bytes)", s.Level, s.Option, len(s.Data))
	case StepSend:
		return fmt.Sprintf("send %d bytes", len(s.Data))
	case StepShutdown:
		return "shutdown(1)"
	case StepConnect:
		return fmt.Sprintf("connect(%v)", s.At)
	case StepFlags:
		return fmt.Sprintf("fcntl(F_SETFL, %#x)", s.Flags)
	case StepFilter:
		if len(s.Data) == 0 {
			return "detach filter"
		}
		return fmt.Sprintf("attach filter of %d instructions", len(s.Data)/8)
	}
	return fmt.Sprintf("packet to %v, state %d", s.At, s.State)
}

func optionStep(level, option uint64, value uint32) Step {
	return Step{Do: StepOption, Level: level, Option: option, Data: binary.LittleEndian.AppendUint32(nil, value)}
}

// roomStep: what is sent must not wait for room.
var roomStep = optionStep(solSocket, soSndbufforce, roomForQueues)

func (p *Plan) printConnections(w io.Writer) {
	for _, c := range p.Connections {
		fmt.Fprintf(w, "%s, task %d fd %d:\n", c.What, c.Pid, c.Fd)
		for _, phase := range []struct {
			name  string
			steps []Step
		}{{"settle", c.Settle}, {"hear", c.Hear}, {"wake", c.Wake}, {"rest", c.Rest}} {
			for _, s := range phase.steps {
				fmt.Fprintf(w, "%9s  %v\n", phase.name, s)
			}
		}
	}
	for _, table := range p.Unlock.Tables {
		fmt.Fprintf(w, "delete nftables table inet %s if it is there\n", table)
	}
	for _, rule := range p.Unlock.Rules {
		fmt.Fprintf(w, "delete %s if it is there\n", rule)
	}
}

// NetworkLock is what criu dump has left behind so that nobody answers for connections that nobody has.
type NetworkLock struct {
	Tables []string // of nftables, family inet
	Rules  []LockRule
}

// LockRule is a rule of iptables(8).
type LockRule struct {
	Chain    string
	From, To netip.AddrPort
}

// Tool is the program that has the rule.
func (r LockRule) Tool() string {
	if r.From.Addr().Is4() {
		return "iptables"
	}
	return "ip6tables"
}

// Args are the arguments of Tool; verb is -D to delete the rule, -C to look for it.
func (r LockRule) Args(verb string) []string {
	return []string{"-w", "-t", "filter", verb, r.Chain, "--protocol", "tcp", "-m", "mark", "!", "--mark", fmt.Sprintf("%#x", criuMark),
		"--source", r.From.Addr().String(), "--sport", fmt.Sprint(r.From.Port()),
		"--destination", r.To.Addr().String(), "--dport", fmt.Sprint(r.To.Port()), "-j", "DROP"}
}

func (r LockRule) String() string { return r.Tool() + " rule " + strings.Join(r.Args("-D")[4:], " ") }

// Values of inventory_entry.network_lock_method; an image without it is from a CRIU that knew only the first.
const (
	lockIptables = 0
	lockNftables = 1
)

// unlock plans to undo the lock on one connection.
func (p *sockRoom) unlock(source, dest netip.AddrPort) {
	if p.dir.Inventory.GetTcpClose() { // such a dump locks nothing
		return
	}
	lock := &p.plan.Unlock
	switch p.dir.Inventory.GetNetworkLockMethod() {
	case lockIptables:
		source, dest := unmapped(source), unmapped(dest)
		lock.Rules = append(lock.Rules, LockRule{"INPUT", dest, source}, LockRule{"OUTPUT", source, dest})
	case lockNftables:
		lock.Tables = p.lockTables()
	}
}

// lockTables: the table is named after the run of the dump, by CRIU 4.1 cut to what fits into 31 characters with the family,
// or, by an older CRIU, after the root task.
func (p *sockRoom) lockTables() []string {
	const family, room = "inet ", 31
	run := p.dir.Inventory.GetDumpCriuRunId()
	if run == "" {
		return []string{fmt.Sprintf("CRIU-%d", p.dir.Tasks[0].Pid)}
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
	flagFin = 0x01
	flagAck = 0x10
)

// segment is a packet without data, as the other end would send it.
func (s *tcpStream) segment(seq, ack uint32, flags byte, state uint32) Step {
	from, to := unmapped(s.dest), unmapped(s.source)
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
	return Step{Do: StepSegment, Data: append(ipHeader(from.Addr(), to.Addr(), len(tcp)), tcp...), At: to, State: state}
}

// ipHeader: the kernel fills in an IPv4 header's checksum, raw(7).
func ipHeader(from, to netip.Addr, payload int) []byte {
	const hops = 64
	var h []byte
	if from.Is4() {
		h = append(h, 0x45, 0)
		h = binary.BigEndian.AppendUint16(h, uint16(20+payload))
		h = append(h, 0, 0, 0, 0, hops, ipprotoTCP, 0, 0)
	} else {
		h = append(h, 0x60, 0, 0, 0)
		h = binary.BigEndian.AppendUint16(h, uint16(payload))
		h = append(h, ipprotoTCP, hops)
	}
	return append(append(h, from.AsSlice()...), to.AsSlice()...)
}

// checksum is TCP's, over the addresses, protocol and length as well, RFC 9293, 3.1.
func checksum(from, to netip.Addr, tcp []byte) uint16 {
	b := append(from.AsSlice(), to.AsSlice()...)
	b = append(b, 0, ipprotoTCP)
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
