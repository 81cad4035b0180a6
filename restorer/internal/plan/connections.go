package plan

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/crpie/crpie/internal/uapi"
)

// Connection is a TCP connection that its task has made but that sleeps, and what the controller does to wake it. Each
// phase is over for all connections before the next one begins: the other end of one may be another of them.
type Connection struct {
	What    string
	Pid, Fd int
	At      netip.AddrPort // this end

	Settle []Step // sends and hears nothing: state that the kernel would act upon if time passed
	Hear   []Step // the network is open
	Wake   []Step
	Rest   []Step // what the connection sends itself
}

// Step is one thing that the controller does to a socket.
type Step struct {
	Do            StepKind
	Level, Option uint64 // StepOption
	// StepOption, StepSend, StepFilter (struct sock_filter[]; none: detach), StepSegment (an IP packet)
	Data  []byte
	At    netip.AddrPort
	Flags uint32 // StepFlags: of fcntl(2) F_SETFL
	State uint32 // StepSegment: the connection gets into it, 0: whatever
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

// String reads like a line of strace(1) without the descriptor.
func (s Step) String() string {
	switch s.Do {
	case StepOption:
		args := uapi.Format([]uapi.Arg{{Kind: uapi.Words, Set: &uapi.SockLevels}},
			[]uint64{s.Level, s.Option, 1, uint64(len(s.Data))}, stepData(s.Data))
		return "setsockopt(" + strings.Join(args, ", ") + ")"
	case StepSend:
		return fmt.Sprintf("send %d bytes", len(s.Data))
	case StepShutdown:
		return "shutdown(SHUT_WR)"
	case StepConnect:
		return fmt.Sprintf("connect(%v)", s.At)
	case StepFlags:
		return "fcntl(F_SETFL, " + uapi.OpenFlags.String(uint64(s.Flags)) + ")"
	case StepFilter:
		if len(s.Data) == 0 {
			return "detach filter"
		}
		return fmt.Sprintf("attach filter of %d instructions", len(s.Data)/8)
	}
	return fmt.Sprintf("packet to %v, state %d", s.At, s.State)
}

// stepData is the memory of a step, which has one argument that is a pointer.
type stepData []byte

func (d stepData) Lookup(uint64) []byte { return d }

// OptionStep sets a socket option that is an int.
func OptionStep(level, option uint64, value uint32) Step {
	return Step{Do: StepOption, Level: level, Option: option, Data: binary.LittleEndian.AppendUint32(nil, value)}
}

// RoomStep keeps what is sent from waiting for room.
func RoomStep() Step { return OptionStep(uapi.SolSocket, uapi.SoSndbufforce, RoomForQueues) }

// NetworkLock is what criu dump has left behind so that the kernel answers no packet of dumped connections.
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
	return []string{"-w", "-t", "filter", verb, r.Chain, "--protocol", "tcp", "-m", "mark", "!", "--mark",
		fmt.Sprintf("%#x", CriuMark),
		"--source", r.From.Addr().String(), "--sport", fmt.Sprint(r.From.Port()),
		"--destination", r.To.Addr().String(), "--dport", fmt.Sprint(r.To.Port()), "-j", "DROP"}
}

func (r LockRule) String() string { return r.Tool() + " rule " + strings.Join(r.Args("-D")[4:], " ") }

const (
	RoomForQueues = 1 << 29  // bytes: as good as no limit, SO_SNDBUFFORCE
	QueueChunk    = 32 << 10 // the kernel makes one buffer of a piece of the receive queue
)

const CriuMark = 0xc114

// SOCCR_MARK, CRIU's soccr/soccr.h
