package sock

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/host"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// A TCP connection comes back in two halves of work. Its task makes it with TCP_REPAIR, which connects a socket
// without a packet, and gives it what it had received. So it stays: it sends nothing, and a filter drops every
// packet, so that none can reset it while the other end is still being made. When every task is complete the
// controller gives it what it had sent, opens the network that the dump had locked, and wakes it. A restore that
// fails before that has sent nothing; sockets in repair mode end in silence, too.

// TcpStream is a connection as it is given back. Sequence numbers are those of the data: a FIN has one of its own,
// which the dump has counted.
type TcpStream struct {
	*pb.TcpStreamEntry
	state          uint32
	Source, Dest   netip.AddrPort
	received, sent []byte
	unsent         []byte
	inEnd, outEnd  uint32 // the numbers after the last byte
}

// finSent: the application has said that it will send no more. finGot: the other end has.
func (s *TcpStream) finSent() bool {
	return s.state == uapi.TcpFinWait1 || s.state == uapi.TcpFinWait2 || s.state == uapi.TcpLastAck ||
		s.state == uapi.TcpClosing || s.state == uapi.TcpClose
}

func (s *TcpStream) finGot() bool {
	return s.state == uapi.TcpCloseWait || s.state == uapi.TcpLastAck || s.state == uapi.TcpClosing ||
		s.state == uapi.TcpClose
}

// over: both ends have closed it and everything has been read. While the kernel remembers it (TIME_WAIT) it cannot be
// made again, but a socket that is closed is the same to the application, save for its name.
func (s *TcpStream) over() bool { return s.state == uapi.TcpClose && s.GetInqLen() == 0 }

// connection restores a TCP socket that has another end.
func (f *descriptors) connection(fd *pb.FdinfoEntry, e *pb.InetSkEntry, source, dest netip.AddrPort) {
	what := fmt.Sprintf("TCP connection %v to %v", source, dest)
	where := f.FdWhere(fd)
	if source.Port() != 0 {
		f.unlock(source, dest)
	}
	switch {
	case f.Opts.TCPClose:
		f.closedConnection(fd, e, what)
		return
	case f.Dir.Inventory.GetTcpClose():
		f.Refuse(where, "use --tcp-close to restore it closed",
			"%s was dumped with --tcp-close: its state is lost",
			what)
		return
	case !f.Opts.TCPEstablished:
		f.Refuse(where, "use --tcp-established to restore it, or --tcp-close to restore it closed",
			"%s: not without a flag", what)
		return
	}
	s, ok := f.stream(where, what, e, source, dest)
	if ok && s.over() && f.sameConnections(s) != nil {
		f.closedConnection(fd, e, what)
		return
	}
	if !ok || !f.checkConnection(where, what, e, s) {
		return
	}
	number := int(fd.GetFd())
	f.Create(fd, what, uapi.SysSocket, uint64(e.GetFamily()), uint64(e.GetType())|uapi.ONonblock,
		uint64(e.GetProto()))
	f.ipOptions(number, what, e)
	for _, old := range []struct { // CRIU before 3.17 kept them with the connection
		option uint64
		on     bool
	}{{uapi.TcpNodelay, s.GetNodelay()}, {uapi.TcpCork, s.GetCork()}} {
		if old.on {
			f.Prog.SetOption(number, what, uapi.SolTCP, old.option, 1)
		}
	}
	f.bindDevice(number, what, e.GetOpts())
	f.sleepingConnection(number, what, s, e)
	f.socketFlagOptions(number, what, e.GetOpts())
	f.socketNumbers(number, what, e.GetOpts())
	if s.state != uapi.TcpSynSent { // it is to be connected without waiting
		f.socketFlags(fd, e.GetFlags())
	}
	f.Owner(fd, e.GetFown())
	f.planWaking(fd, what, e, s)
}

// closedConnection: what remains of a connection that is given up is a socket whose both directions are shut down.
func (f *descriptors) closedConnection(fd *pb.FdinfoEntry, e *pb.InetSkEntry, what string) {
	what += ", closed"
	number := int(fd.GetFd())
	f.Create(fd, what, uapi.SysSocket, uint64(e.GetFamily()), uint64(e.GetType())|uapi.ONonblock,
		uint64(e.GetProto()))
	f.ipOptions(number, what, e)
	f.socketOptions(number, what, e.GetOpts())
	const enotconn = -107 // it is done all the same, net/ipv4/af_inet.c inet_shutdown
	f.Prog.Want(enotconn, what, uapi.SysShutdown, uint64(number), uapi.ShutRdwr)
	f.socketFlags(fd, e.GetFlags())
	f.Owner(fd, e.GetFown())
}

// stream reads the image of a connection and what was in its queues.
func (f *descriptors) stream(
	where, what string, e *pb.InetSkEntry, source, dest netip.AddrPort,
) (s *TcpStream, ok bool) {
	img := f.Dir.TCP[e.GetIno()]
	if img == nil {
		f.Refuse(where, "", "%s: tcp-stream-%x.img is missing", what, e.GetIno())
		return nil, false
	}
	s = &TcpStream{TcpStreamEntry: img.Entry, state: e.GetState(), Source: source, Dest: dest}
	s.inEnd, s.outEnd = s.GetInqSeq(), s.GetOutqSeq()
	if s.finGot() {
		s.inEnd--
	}
	if s.finSent() {
		s.outEnd--
	}
	if !f.checkStream(where, what, s) {
		return nil, false
	}
	data := f.Payload(where, img.Data)
	if uint64(len(data)) != uint64(s.GetInqLen())+uint64(s.GetOutqLen()) {
		return nil, false // payload has refused it
	}
	s.received, data = data[:s.GetInqLen()], data[s.GetInqLen():]
	s.sent, s.unsent = data[:s.GetOutqLen()-s.GetUnsqLen()], data[s.GetOutqLen()-s.GetUnsqLen():]
	return s, true
}

// checkStream refuses what the kernel would not take or should not be given.
func (f *descriptors) checkStream(where, what string, s *TcpStream) bool {
	before := f.Len()
	switch s.state {
	case uapi.TcpEstablished, uapi.TcpSynSent, uapi.TcpFinWait1, uapi.TcpFinWait2, uapi.TcpClose, uapi.TcpCloseWait,
		uapi.TcpLastAck, uapi.TcpClosing:
	default:
		f.Refuse(where, "", "%s in state %d: not supported", what, s.state)
	}
	if s.state == uapi.TcpSynSent && s.GetInqLen()+s.GetOutqLen() != 0 {
		f.Refuse(where, "", "%s is only being made, but has data: the images contradict themselves", what)
	}
	if s.GetUnsqLen() > s.GetOutqLen() {
		f.Refuse(where, "", "%s: of %d bytes in its send queue %d are unsent: the images contradict themselves", what, s.GetOutqLen(),
			s.GetUnsqLen())
	}
	if uint64(s.GetInqLen())+uint64(s.GetOutqLen()) > plan.RoomForQueues {
		f.Refuse(where, "", "%s has %d and %d bytes in its queues: more than %d", what, s.GetInqLen(),
			s.GetOutqLen(),
			plan.RoomForQueues)
	}
	if s.GetSndWscale() > uapi.MaxWscale || s.GetRcvWscale() > uapi.MaxWscale {
		f.Refuse(where, "", "%s: window scales %d and %d, more than %d", what, s.GetSndWscale(),
			s.GetRcvWscale(),
			uapi.MaxWscale)
	}
	if s.GetMssClamp() == 0 || s.GetMssClamp() > 0xffff {
		f.Refuse(where, "", "%s: segments of %d bytes: the images contradict themselves", what, s.GetMssClamp())
	}
	return f.Len() == before
}

// checkConnection refuses what this host will certainly not allow.
func (f *descriptors) checkConnection(where, what string, e *pb.InetSkEntry, s *TcpStream) bool {
	for _, needed := range []int{uapi.CapNetAdmin, uapi.CapNetRaw} {
		if !f.Host.Has(needed) {
			f.Refuse(where, "run crpie as root", "%s: crpie lacks %s", what, uapi.CapNames[needed])
			return false
		}
	}
	if e.GetSrcPort() == 0 {
		f.Refuse(where, "", "%s has no port of its own: the images contradict themselves", what)
		return false
	}
	if same := f.sameConnections(s); same != nil {
		fix := "end the process that has it"
		if same[0].State == uapi.TcpTimeWait {
			fix = "wait a minute: the kernel remembers that it was closed (TIME_WAIT)"
		}
		f.Refuse(where, fix, "%s: this host has such a connection", what)
		return false
	}
	return f.checkHere(where, e, s.Source)
}

// sameConnections lists this host's sockets that are the same end of the same connection: one or none.
func (p *Room) sameConnections(s *TcpStream) []host.InetSocket {
	var same []host.InetSocket
	for _, other := range p.inetSockets() {
		if other.Protocol == uapi.IpprotoTCP && sameEndpoint(other.Local, s.Source) &&
			sameEndpoint(other.Remote, s.Dest) {
			same = append(same, other)
		}
	}
	return same
}

func sameEndpoint(a, b netip.AddrPort) bool {
	return a.Port() == b.Port() && a.Addr().Unmap() == b.Addr().Unmap()
}

// onlyMarked lets through what the controller sends: its packets have the mark that CRIU's network lock lets pass.
func onlyMarked() []uint64 {
	const loadMark, jumpEqual, ret = 0x20, 0x15, 0x06 // BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
	const adMark = 0xfffff000 + 20                    // SKF_AD_OFF + SKF_AD_MARK
	instruction := func(code, jt, jf, k uint64) uint64 { return code<<48 | jt<<40 | jf<<32 | k }
	return []uint64{
		instruction(loadMark, 0, 0, adMark), instruction(jumpEqual, 0, 1, plan.CriuMark),
		instruction(ret, 0, 0, 0xffffffff), instruction(ret, 0, 0, 0),
	}
}

// sleepingConnection makes the socket one end of the connection and fills its receive queue.
func (f *descriptors) sleepingConnection(number int, what string, s *TcpStream, e *pb.InetSkEntry) {
	p := f.Prog
	set := func(option, value uint64) { p.SetOption(number, what, uapi.SolTCP, option, value) }
	p.SetOption(number, "room for data", uapi.SolSocket, uapi.SoSndbufforce, plan.RoomForQueues)
	p.SetOption(number, "room for data", uapi.SolSocket, uapi.SoRcvbufforce, plan.RoomForQueues)
	f.attachFilter(number, what+" hears only the restorer", onlyMarked())
	set(uapi.TcpRepair, 1)
	set(uapi.TcpRepairQueue, uapi.TcpRecvQueue)
	set(uapi.TcpQueueSeq, uint64(s.inEnd-s.GetInqLen()))
	set(uapi.TcpRepairQueue, uapi.TcpSendQueue)
	first := s.outEnd - s.GetOutqLen()
	if s.state == uapi.TcpSynSent {
		first-- // the SYN, which is sent again
	}
	set(uapi.TcpQueueSeq, uint64(first))
	f.bindHere(number, what, e, s.Source)
	if s.state == uapi.TcpSynSent {
		return
	}
	addr, size := f.inetAddress(s.Dest, f.scope(e))
	p.Sys(what, uapi.SysConnect, uint64(number), addr, size)
	options := p.Arena.Bytes(RepairOptions(s))
	p.Sys(what, uapi.SysSetsockopt, uint64(number), uapi.SolTCP, uapi.TcpRepairOptions, options,
		uint64(len(RepairOptions(s))))
	if s.GetOptMask()&uapi.TcpiOptTimestamps != 0 {
		set(uapi.TcpTimestamp, uint64(s.GetTimestamp()))
	}
	set(uapi.TcpRepairQueue, uapi.TcpRecvQueue)
	for rest := s.received; len(rest) > 0; {
		n := min(len(rest), plan.QueueChunk)
		p.Want(int64(n), fmt.Sprintf("%d received bytes of %s", n, what), uapi.SysSendto, uint64(number),
			p.Arena.Bytes(rest[:n]),
			uint64(n), uapi.MsgDontwait|uapi.MsgNosignal)
		rest = rest[n:]
	}
	set(uapi.TcpRepairQueue, uapi.TcpNoQueue)
}

// RepairOptions lays out struct tcp_repair_opt[]: what the two ends had agreed upon.
func RepairOptions(s *TcpStream) []byte {
	var b []byte
	add := func(code, value uint32) {
		b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, code), value)
	}
	if s.GetOptMask()&uapi.TcpiOptSack != 0 {
		add(uapi.TcpoptSackPermitted, 0)
	}
	if s.GetOptMask()&uapi.TcpiOptWscale != 0 {
		add(uapi.TcpoptWindow, s.GetSndWscale()|s.GetRcvWscale()<<16)
	}
	if s.GetOptMask()&uapi.TcpiOptTimestamps != 0 {
		add(uapi.TcpoptTimestamp, 0)
	}
	add(uapi.TcpoptMaxseg, s.GetMssClamp())
	return b
}

// holderOf gives the task and the number by which the controller finds a description.
func (p *Room) holderOf(id uint32) (pid, fd int) {
	for _, t := range p.Dir.Tasks {
		for _, e := range t.Fds {
			if e.GetId() == id {
				return int(t.Pid), int(e.GetFd())
			}
		}
	}
	return 0, 0
}

// planWaking plans what the controller does to the socket. Before anything is sent it gets its send queue, its window
// and the FIN that it had received; then it hears again; then it is awake, sends the rest, and closes what had been
// closed.
func (f *descriptors) planWaking(fd *pb.FdinfoEntry, what string, e *pb.InetSkEntry, s *TcpStream) {
	c := &plan.Connection{What: what, At: s.Source}
	c.Pid, c.Fd = f.holderOf(fd.GetId())
	if s.state != uapi.TcpSynSent {
		settleSteps(c, s)
	}
	c.Hear = append(c.Hear, plan.Step{Do: plan.StepFilter, Data: SocketFilter(e.GetOpts().GetSoFilter())})
	c.Wake = append(c.Wake, plan.OptionStep(uapi.SolTCP, uapi.TcpRepair, 0))
	if e.GetOpts().GetReuseaddr() { // leaving repair mode has cleared it
		c.Wake = append(c.Wake, plan.OptionStep(uapi.SolSocket, uapi.SoReuseaddr, 1))
	}
	restSteps(c, s, e)
	f.Plan.Connections = append(f.Plan.Connections, c)
}

// settleSteps: what has been sent is not sent again unless the other end asks for it.
func settleSteps(c *plan.Connection, s *TcpStream) {
	if len(s.sent) > 0 {
		c.Settle = append(c.Settle, plan.RoomStep(),
			plan.OptionStep(uapi.SolTCP, uapi.TcpRepairQueue, uapi.TcpSendQueue),
			plan.Step{Do: plan.StepSend, Data: s.sent},
			plan.OptionStep(uapi.SolTCP, uapi.TcpRepairQueue, uapi.TcpNoQueue))
	}
	if s.SndWnd != nil {
		c.Settle = append(c.Settle, plan.Step{Do: plan.StepOption, Level: uapi.SolTCP,
			Option: uapi.TcpRepairWindow,
			Data:   repairWindow(s)})
	}
	switch s.state {
	case uapi.TcpCloseWait, uapi.TcpLastAck:
		c.Settle = append(c.Settle, s.Segment(s.inEnd, s.outEnd-s.GetOutqLen(), FlagFin|FlagAck,
			uapi.TcpCloseWait))
	case uapi.TcpClose:
		c.Settle = append(c.Settle, s.Segment(s.inEnd, s.outEnd, FlagFin|FlagAck, uapi.TcpCloseWait),
			// counts as sent
			plan.OptionStep(uapi.SolTCP, uapi.TcpRepairQueue, uapi.TcpSendQueue),
			plan.Step{Do: plan.StepShutdown},
			s.Segment(s.inEnd+1, s.outEnd+1, FlagAck, uapi.TcpClose))
	}
}

// restSteps is what the socket does once it is awake.
func restSteps(c *plan.Connection, s *TcpStream, e *pb.InetSkEntry) {
	if len(s.unsent) > 0 {
		c.Rest = append(c.Rest, plan.RoomStep(), plan.Step{Do: plan.StepSend, Data: s.unsent})
	}
	if len(s.unsent) > 0 || len(s.sent) > 0 {
		o := e.GetOpts()
		c.Rest = append(c.Rest, plan.OptionStep(uapi.SolSocket, uapi.SoSndbufforce, o.GetSoSndbuf()/2))
		if o.SoBufLock != nil {
			c.Rest = append(c.Rest, plan.OptionStep(uapi.SolSocket, uapi.SoBufLock, o.GetSoBufLock()))
		}
	}
	if s.state == uapi.TcpSynSent {
		c.Rest = append(c.Rest, plan.Step{Do: plan.StepConnect, At: s.Dest},
			plan.Step{Do: plan.StepFlags, Flags: e.GetFlags()})
	}
	if s.state != uapi.TcpClose && s.finSent() {
		c.Rest = append(c.Rest, plan.Step{Do: plan.StepShutdown})
	}
	if s.state == uapi.TcpClosing {
		c.Rest = append(c.Rest, s.Segment(s.inEnd, s.outEnd-s.GetOutqLen(), FlagFin|FlagAck, 0))
	}
}

// repairWindow lays out struct tcp_repair_window. A FIN that is still to come takes a byte of the window.
func repairWindow(s *TcpStream) []byte {
	wnd, wup := s.GetRcvWnd(), s.GetRcvWup()
	if s.finGot() {
		wnd, wup = wnd+1, wup-1
	}
	var b []byte
	for _, v := range []uint32{s.GetSndWl1(), s.GetSndWnd(), s.GetMaxWindow(), wnd, wup} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}
