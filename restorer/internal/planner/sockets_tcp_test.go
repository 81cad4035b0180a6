package planner

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/host/hosttest"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/job"
	"github.com/crpie/crpie/restorer/internal/planner/sock"
)

// withTCP is a sample whose descriptor 0 is a TCP connection from 127.0.0.1:80 to 127.0.0.1:4711 with three bytes
// received, two sent and one that was not sent yet.
func withTCP(t *testing.T) (dir *images.Dir, e *pb.InetSkEntry, s *pb.TcpStreamEntry) {
	t.Helper()
	fsys := sampleFS(t, "static")
	fsys["queues"] = &fstest.MapFile{Data: []byte("in!out")}
	dir = openSample(t, fsys)
	dir.Other = nil
	dir.Inventory.NetworkLockMethod = pb.Uint32(sock.LockNftables)
	dir.Inventory.DumpCriuRunId = pb.String("0123456789abcdef-0123456789abcdef")
	dir.Tasks[0].Fds = nil
	e = &pb.InetSkEntry{
		Type: pb.Uint32(uapi.SockStream), Proto: pb.Uint32(uapi.IpprotoTCP), SrcPort: pb.Uint32(80),
		State:   pb.Uint32(uapi.TcpEstablished),
		DstPort: pb.Uint32(4711), DstAddr: localhost,
	}
	addInet(dir, 0, e)
	s = &pb.TcpStreamEntry{
		InqLen: pb.Uint32(3), InqSeq: pb.Uint32(1003), OutqLen: pb.Uint32(3), OutqSeq: pb.Uint32(2003),
		UnsqLen:   pb.Uint32(1),
		OptMask:   pb.Uint32(uapi.TcpiOptTimestamps | uapi.TcpiOptSack | uapi.TcpiOptWscale),
		SndWscale: pb.Uint32(7), RcvWscale: pb.Uint32(5), MssClamp: pb.Uint32(1460), Timestamp: pb.Uint32(77),
		SndWl1: pb.Uint32(1000), SndWnd: pb.Uint32(1280), MaxWindow: pb.Uint32(1280), RcvWnd: pb.Uint32(900),
		RcvWup: pb.Uint32(1003),
	}
	dir.TCP = map[uint32]*images.TCPStream{e.GetIno(): {Entry: s, Data: images.Range{File: "queues", Size: 6}}}
	return dir, e, s
}

var established = job.Options{TCPEstablished: true}

func TestTCPRefusals(t *testing.T) {
	const it = "fd 0: TCP connection 127.0.0.1:80 to 127.0.0.1:4711"
	for name, tc := range map[string]struct {
		change func(dir *images.Dir, e *pb.InetSkEntry, s *pb.TcpStreamEntry, host *host.Host)
		want   string
	}{
		"dumped closed": {func(dir *images.Dir, _ *pb.InetSkEntry, _ *pb.TcpStreamEntry, _ *host.Host) {
			dir.Inventory.TcpClose = pb.Bool(true)
		}, it + " was dumped with --tcp-close: its state is lost\n  hint: use --tcp-close to restore it closed"},
		"no image": {func(dir *images.Dir, _ *pb.InetSkEntry, _ *pb.TcpStreamEntry, _ *host.Host) {
			dir.TCP = nil
		}, it + ": tcp-stream-3e8.img is missing"},
		"state": {func(_ *images.Dir, e *pb.InetSkEntry, _ *pb.TcpStreamEntry, _ *host.Host) {
			e.State = pb.Uint32(uapi.TcpTimeWait)
		}, it + " in state 6: not supported"},
		"connecting": {func(_ *images.Dir, e *pb.InetSkEntry, _ *pb.TcpStreamEntry, _ *host.Host) {
			e.State = pb.Uint32(uapi.TcpSynSent)
		}, it + " is only being made, but has data: the images contradict themselves"},
		"unsent": {func(_ *images.Dir, _ *pb.InetSkEntry, s *pb.TcpStreamEntry, _ *host.Host) {
			s.UnsqLen = pb.Uint32(4)
		}, it + ": of 3 bytes in its send queue 4 are unsent: the images contradict themselves"},
		"queues": {func(_ *images.Dir, _ *pb.InetSkEntry, s *pb.TcpStreamEntry, _ *host.Host) {
			s.InqLen = pb.Uint32(1 << 29)
		}, it + " has 536870912 and 3 bytes in its queues: more than 536870912"},
		"scale": {func(_ *images.Dir, _ *pb.InetSkEntry, s *pb.TcpStreamEntry, _ *host.Host) {
			s.RcvWscale = pb.Uint32(15)
		}, it + ": window scales 7 and 15, more than 14"},
		"segments": {func(_ *images.Dir, _ *pb.InetSkEntry, s *pb.TcpStreamEntry, _ *host.Host) {
			s.MssClamp = pb.Uint32(0)
		}, it + ": segments of 0 bytes: the images contradict themselves"},
		"port": {func(_ *images.Dir, e *pb.InetSkEntry, _ *pb.TcpStreamEntry, _ *host.Host) {
			e.SrcPort = pb.Uint32(0)
		}, "fd 0: TCP connection 127.0.0.1:0 to 127.0.0.1:4711 has no port of its own: the images contradict themselves"},
		"capability": {func(_ *images.Dir, _ *pb.InetSkEntry, _ *pb.TcpStreamEntry, host *host.Host) {
			host.Caps &^= 1 << uapi.CapNetRaw
		}, it + ": crpie lacks CAP_NET_RAW\n  hint: run crpie as root"},
		"there": {func(_ *images.Dir, _ *pb.InetSkEntry, _ *pb.TcpStreamEntry, host *host.Host) {
			host.InetSockets = sameConnection(uapi.TcpEstablished)
		}, it + ": this host has such a connection\n  hint: end the process that has it"},
		"remembered": {func(_ *images.Dir, _ *pb.InetSkEntry, _ *pb.TcpStreamEntry, host *host.Host) {
			host.InetSockets = sameConnection(uapi.TcpTimeWait)
		}, it + ": this host has such a connection\n  hint: wait a minute: the kernel remembers that it was closed (TIME_WAIT)"},
		"address": {func(_ *images.Dir, _ *pb.InetSkEntry, _ *pb.TcpStreamEntry, host *host.Host) {
			host.CanBind = func(netip.Addr, string) bool { return false }
		}, "fd 0: TCP socket 127.0.0.1:80: this host does not have the address\n  hint: give the address to one of its interfaces"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, e, s := withTCP(t)
			host := hosttest.New(dir)
			if _, err := buildSample(t, dir, host, &established); err != nil {
				t.Fatal(err)
			}
			tc.change(dir, e, s, host)
			_, err := buildSample(t, dir, host, &established)
			wantRefusal(t, err, tc.want)
		})
	}
}

func sameConnection(state uint32) func() []host.InetSocket {
	return func() []host.InetSocket {
		return []host.InetSocket{{Protocol: uapi.IpprotoTCP,
			Local:  netip.MustParseAddrPort("[::ffff:127.0.0.1]:80"),
			Remote: netip.MustParseAddrPort("127.0.0.1:4711"), State: state}}
	}
}

func TestTCPNeedsFlag(t *testing.T) {
	dir, _, _ := withTCP(t)
	_, err := buildSample(t, dir, hosttest.New(dir), &job.Options{})
	wantRefusal(t, err, "fd 0: TCP connection 127.0.0.1:80 to 127.0.0.1:4711: not without a flag\n"+
		"  hint: use --tcp-established to restore it, or --tcp-close to restore it closed")
}

// steps prints everything that the controller does.
func steps(p *plan.Plan) string {
	var out strings.Builder
	p.Document().PrintConnections(&out)
	return out.String()
}

// What a connection had been closed to decides what is done to it, and which numbers its queues begin with: a FIN
// counts.
func TestTCPStates(t *testing.T) {
	const window, hear = "   settle  setsockopt(SOL_TCP, TCP_REPAIR_WINDOW, {snd_wl1=0x3e8, snd_wnd=0x500, max_window=0x500, " +
		"RECEIVED}, 20)\n",
		"     hear  detach filter\n     wake  setsockopt(SOL_TCP, TCP_REPAIR, [0], 4)\n"
	const sent = "   settle  setsockopt(SOL_SOCKET, SO_SNDBUFFORCE, [536870912], 4)\n   settle  setsockopt(SOL_TCP, TCP_REPAIR_QUEUE, [2], 4)\n   settle  send 2 bytes\n   settle  setsockopt(SOL_TCP, TCP_REPAIR_QUEUE, [0], 4)\n"
	const unsent = "     rest  setsockopt(SOL_SOCKET, SO_SNDBUFFORCE, [536870912], 4)\n     rest  send 1 bytes\n     rest  setsockopt(SOL_SOCKET, SO_SNDBUFFORCE, [0], 4)\n"
	const fin = "   settle  packet to 127.0.0.1:80, state 8\n"
	for state, want := range map[uint32]struct {
		in, out uint32
		steps   string
	}{
		uapi.TcpEstablished: {1000, 2000, sent + window + hear + unsent},
		uapi.TcpFinWait1:    {1000, 1999, sent + window + hear + unsent + "     rest  shutdown(SHUT_WR)\n"},
		uapi.TcpFinWait2:    {1000, 1999, sent + window + hear + unsent + "     rest  shutdown(SHUT_WR)\n"},
		uapi.TcpCloseWait:   {999, 2000, sent + window + fin + hear + unsent},
		uapi.TcpLastAck: {999, 1999,
			sent + window + fin + hear + unsent + "     rest  shutdown(SHUT_WR)\n"},
		uapi.TcpClosing: {999, 1999, sent + window + hear + unsent +
			"     rest  shutdown(SHUT_WR)\n     rest  packet to 127.0.0.1:80, state 0\n"},
		uapi.TcpClose: {999, 1999, sent + window + fin +
			"   settle  setsockopt(SOL_TCP, TCP_REPAIR_QUEUE, [2], 4)\n   settle  shutdown(SHUT_WR)\n" +
			"   settle  packet to 127.0.0.1:80, state 7\n" + hear + unsent},
		uapi.TcpSynSent: {1003, 2002, hear +
			"     rest  connect(127.0.0.1:4711)\n     rest  fcntl(F_SETFL, O_RDONLY)\n"},
	} {
		dir, e, s := withTCP(t)
		if e.State = &state; state == uapi.TcpSynSent {
			s.InqLen, s.OutqLen, s.UnsqLen, dir.TCP[e.GetIno()].Data.Size = pb.Uint32(0), pb.Uint32(0),
				pb.Uint32(0), 0
		}
		plan, err := buildSample(t, dir, hosttest.New(dir), &established)
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(steps(plan), " fd 0:\n")
		// three bytes are in its queue
		received := fmt.Sprintf("rcv_wnd=%#x, rcv_wup=%#x", 1900-want.in, want.in+3)
		wantSteps := strings.ReplaceAll(want.steps, "RECEIVED", received)
		if got, _, _ := strings.Cut(after, "delete"); got != wantSteps {
			t.Errorf("state %d:\n%swant\n%s", state, got, wantSteps)
		}
		if in, out := queueStarts(plan); in != want.in || out != want.out {
			t.Errorf("state %d: queues begin at %d and %d, want %d and %d", state, in, out, want.in,
				want.out)
		}
	}
}

// queueStarts finds what the receive and the send queue begin with.
func queueStarts(p *plan.Plan) (in, out uint32) {
	var starts []uint32
	for _, op := range p.Tasks[0].Threads[0].Ops {
		if op.Nr == uapi.SysSetsockopt && op.Args[1] == uapi.SolTCP && op.Args[2] == uapi.TcpQueueSeq {
			starts = append(starts, binary.LittleEndian.Uint32(p.Arena.At(op.Args[3])))
		}
	}
	return starts[0], starts[1]
}

func TestRepairOptions(t *testing.T) {
	_, _, s := withTCP(t)
	var words []uint32
	for b := range slices.Chunk(sock.RepairOptions(&sock.TcpStream{TcpStreamEntry: s}), 4) {
		words = append(words, binary.LittleEndian.Uint32(b))
	}
	want := []uint32{uapi.TcpoptSackPermitted, 0, uapi.TcpoptWindow, 5<<16 | 7, uapi.TcpoptTimestamp, 0,
		uapi.TcpoptMaxseg, 1460}
	if !slices.Equal(words, want) {
		t.Errorf("%v, want %v", words, want)
	}
}

// A packet from the other end, with a checksum that another program has computed.
func TestSegment(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1": "\x45\x00\x00\x28\x00\x00\x00\x00\x40\x06\x00\x00\x7f\x00\x00\x01\x7f\x00\x00\x01" +
			"\x12\x67\x00\x50\x00\x00\x03\xeb\x00\x00\x07\xd0\x50\x11\x00\x0a\x93\x55\x00\x00",
		"::1": "\x60\x00\x00\x00\x00\x14\x06\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
			"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
			"\x12\x67\x00\x50\x00\x00\x03\xeb\x00\x00\x07\xd0\x50\x11\x00\x0a\x91\x56\x00\x00",
	} {
		_, _, s := withTCP(t)
		at := netip.MustParseAddr(addr)
		stream := &sock.TcpStream{TcpStreamEntry: s, Source: netip.AddrPortFrom(at, 80),
			Dest: netip.AddrPortFrom(at, 4711)}
		got := stream.Segment(1003, 2000, sock.FlagFin|sock.FlagAck, uapi.TcpCloseWait)
		if string(got.Data) != want {
			t.Errorf("%s:\n% x, want\n% x", addr, got.Data, want)
		}
	}
}

// The lock of the dump is undone whatever becomes of the connections, unless the dump has made none.
func TestUnlock(t *testing.T) {
	const rules = "delete iptables rule INPUT --protocol tcp -m mark ! --mark 0xc114 --source 127.0.0.1 --sport 4711 --destination 127.0.0.1 --dport 80 -j DROP if it is there\n" +
		"delete iptables rule OUTPUT --protocol tcp -m mark ! --mark 0xc114 --source 127.0.0.1 --sport 80 --destination 127.0.0.1 --dport 4711 -j DROP if it is there\n"
	for name, tc := range map[string]struct {
		change func(dir *images.Dir)
		want   string
	}{
		"cut to 31 characters, or not": {func(*images.Dir) {},
			"delete nftables table inet CRIU-0123456789abcdef-0123 if it is there\n" +
				"delete nftables table inet CRIU-0123456789abcdef-0123456789abcdef if it is there\n"},
		"before there were run ids": {func(dir *images.Dir) { dir.Inventory.DumpCriuRunId = nil },
			"delete nftables table inet CRIU-18827 if it is there\n"}, // the pid of the sample's root
		"iptables": {func(dir *images.Dir) {
			dir.Inventory.NetworkLockMethod = pb.Uint32(sock.LockIptables)
		}, rules},
		"before 3.17":   {func(dir *images.Dir) { dir.Inventory.NetworkLockMethod = nil }, rules},
		"skip":          {func(dir *images.Dir) { dir.Inventory.NetworkLockMethod = pb.Uint32(2) }, ""},
		"dumped closed": {func(dir *images.Dir) { dir.Inventory.TcpClose = pb.Bool(true) }, ""},
	} {
		dir, _, _ := withTCP(t)
		tc.change(dir)
		plan, err := buildSample(t, dir, hosttest.New(dir), &job.Options{TCPClose: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := steps(plan); got != tc.want {
			t.Errorf("%s:\n%swant\n%s", name, got, tc.want)
		}
	}
}

// A connection that is over need not be made again where the kernel still remembers it.
func TestConnectionIsOver(t *testing.T) {
	for _, unread := range []bool{false, true} {
		dir, e, s := withTCP(t)
		e.State = pb.Uint32(uapi.TcpClose)
		s.OutqLen, s.UnsqLen, dir.TCP[e.GetIno()].Data.Size = pb.Uint32(0), pb.Uint32(0), 3
		if !unread {
			s.InqLen, dir.TCP[e.GetIno()].Data.Size = pb.Uint32(0), 0
		}
		host := hosttest.New(dir)
		host.InetSockets = sameConnection(uapi.TcpTimeWait)
		plan, err := buildSample(t, dir, host, &established)
		if unread {
			wantRefusal(t, err, "wait a minute: the kernel remembers that it was closed (TIME_WAIT)")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(plan.Connections) > 0 {
			t.Errorf("connections:\n%s", steps(plan))
		}
	}
}

// Older images have two options with the connection instead of with the socket.
func TestOldTCPOptions(t *testing.T) {
	dir, _, s := withTCP(t)
	s.Nodelay, s.Cork = pb.Bool(true), pb.Bool(true)
	plan, err := buildSample(t, dir, hosttest.New(dir), &established)
	if err != nil {
		t.Fatal(err)
	}
	var set []uint64
	for _, op := range plan.Tasks[0].Threads[0].Ops {
		if op.Nr == uapi.SysSetsockopt && op.Args[1] == uapi.SolTCP && op.Args[2] <= uapi.TcpCork &&
			plan.Arena.At(op.Args[3])[0] == 1 {
			set = append(set, op.Args[2])
		}
	}
	if !slices.Equal(set, []uint64{uapi.TcpNodelay, uapi.TcpCork}) {
		t.Errorf("options %v are set", set)
	}
}
