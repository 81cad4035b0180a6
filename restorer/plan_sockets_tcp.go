package restorer

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/crpie/crpie/images/pb"
)

// A TCP connection comes back in two halves of work. Its task makes it with TCP_REPAIR, which lets a socket be connected
// without a word to the other end, and gives it what it had received. There it sleeps: it sends nothing, and a filter makes
// it deaf, so that no packet can reset it while the other end is still being made. When every task is complete the
// controller gives it what it had sent, opens the network that the dump had locked, and wakes it. A restore that fails
// before that has told nobody; sockets in repair mode end in silence, too.

// States of a TCP connection besides those in plan_sockets.go, include/net/tcp_states.h.
const (
	tcpSynSent   = 2
	tcpFinWait1  = 4
	tcpFinWait2  = 5
	tcpTimeWait  = 6
	tcpCloseWait = 8
	tcpLastAck   = 9
	tcpClosing   = 11
)

// Options of TCP_REPAIR, include/uapi/linux/tcp.h.
const (
	tcpRepair        = 19
	tcpRepairQueue   = 20
	tcpQueueSeq      = 21
	tcpRepairOptions = 22
	tcpTimestamp     = 24
	tcpRepairWindow  = 29

	tcpNoQueue, tcpRecvQueue, tcpSendQueue = 0, 1, 2

	tcpiOptTimestamps, tcpiOptSack, tcpiOptWscale = 1, 2, 4 // struct tcp_info.tcpi_options

	tcpoptMaxseg, tcpoptWindow, tcpoptSackPermitted, tcpoptTimestamp = 2, 3, 4, 8 // include/net/tcp.h

	maxWscale = 14 // RFC 7323, 2.3
)

const (
	roomForQueues = 1 << 29  // bytes: as good as no limit, SO_SNDBUFFORCE
	queueChunk    = 32 << 10 // the kernel makes one buffer of a piece of the receive queue
)

// tcpStream is a connection as it is given back. Sequence numbers are those of the data: a FIN has one of its own, which
// the dump has counted.
type tcpStream struct {
	*pb.TcpStreamEntry
	state          uint32
	source, dest   netip.AddrPort
	received, sent []byte
	unsent         []byte
	inEnd, outEnd  uint32 // the numbers after the last byte
}

// finSent: the application has said that it will send no more. finGot: the other end has.
func (s *tcpStream) finSent() bool {
	return s.state == tcpFinWait1 || s.state == tcpFinWait2 || s.state == tcpLastAck || s.state == tcpClosing || s.state == tcpClose
}

func (s *tcpStream) finGot() bool {
	return s.state == tcpCloseWait || s.state == tcpLastAck || s.state == tcpClosing || s.state == tcpClose
}

// over: both ends have closed it and everything has been read. While the kernel remembers it (TIME_WAIT) it cannot be made
// again, but a socket that is closed is the same to the application, save for its name.
func (s *tcpStream) over() bool { return s.state == tcpClose && s.GetInqLen() == 0 }

// connection restores a TCP socket that has another end.
func (f *sockPlanner) connection(fd *pb.FdinfoEntry, e *pb.InetSkEntry, source, dest netip.AddrPort) {
	what := fmt.Sprintf("TCP connection %v to %v", source, dest)
	where := f.fdWhere(fd)
	if source.Port() != 0 {
		f.unlock(source, dest)
	}
	switch {
	case f.opts.TCPClose:
		f.closedConnection(fd, e, what)
		return
	case f.dir.Inventory.GetTcpClose():
		f.refuse(where, "use --tcp-close to restore it closed", "%s was dumped with --tcp-close: its state is lost", what)
		return
	case !f.opts.TCPEstablished:
		f.refuse(where, "use --tcp-established to restore it, or --tcp-close to restore it closed", "%s: not without a flag", what)
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
	f.create(fd, what, sysSocket, uint64(e.GetFamily()), uint64(e.GetType())|oNonblock, uint64(e.GetProto()))
	f.ipOptions(number, what, e)
	for _, old := range []struct { // CRIU before 3.17 kept them with the connection
		option uint64
		on     bool
	}{{tcpNodelay, s.GetNodelay()}, {tcpCork, s.GetCork()}} {
		if old.on {
			f.prog.setOption(number, what, solTCP, old.option, 1)
		}
	}
	f.bindDevice(number, what, e.GetOpts())
	f.sleepingConnection(number, what, s, e)
	f.socketFlagOptions(number, what, e.GetOpts())
	f.socketNumbers(number, what, e.GetOpts())
	if s.state != tcpSynSent { // it is to be connected without waiting
		f.socketFlags(fd, e.GetFlags())
	}
	f.owner(fd, e.GetFown())
	f.planWaking(fd, what, e, s)
}

// closedConnection: what remains of a connection that is given up is a socket whose both directions are shut down.
func (f *sockPlanner) closedConnection(fd *pb.FdinfoEntry, e *pb.InetSkEntry, what string) {
	what += ", closed"
	number := int(fd.GetFd())
	f.create(fd, what, sysSocket, uint64(e.GetFamily()), uint64(e.GetType())|oNonblock, uint64(e.GetProto()))
	f.ipOptions(number, what, e)
	f.socketOptions(number, what, e.GetOpts())
	const enotconn, both = -107, 2 // it is done all the same, net/ipv4/af_inet.c inet_shutdown
	f.prog.want(enotconn, what, sysShutdown, uint64(number), both)
	f.socketFlags(fd, e.GetFlags())
	f.owner(fd, e.GetFown())
}

// stream reads the image of a connection and what was in its queues.
func (f *sockPlanner) stream(where, what string, e *pb.InetSkEntry, source, dest netip.AddrPort) (s *tcpStream, ok bool) {
	img := f.dir.TCP[e.GetIno()]
	if img == nil {
		f.refuse(where, "", "%s: tcp-stream-%x.img is missing", what, e.GetIno())
		return nil, false
	}
	s = &tcpStream{TcpStreamEntry: img.Entry, state: e.GetState(), source: source, dest: dest}
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
	data := f.payload(where, img.Data)
	if uint64(len(data)) != uint64(s.GetInqLen())+uint64(s.GetOutqLen()) {
		return nil, false // payload has refused it
	}
	s.received, data = data[:s.GetInqLen()], data[s.GetInqLen():]
	s.sent, s.unsent = data[:s.GetOutqLen()-s.GetUnsqLen()], data[s.GetOutqLen()-s.GetUnsqLen():]
	return s, true
}

// checkStream refuses what the kernel would not take or should not be given.
func (f *sockPlanner) checkStream(where, what string, s *tcpStream) bool {
	before := f.Len()
	switch s.state {
	case tcpEstablished, tcpSynSent, tcpFinWait1, tcpFinWait2, tcpClose, tcpCloseWait, tcpLastAck, tcpClosing:
	default:
		f.refuse(where, "", "%s in state %d: not supported", what, s.state)
	}
	if s.state == tcpSynSent && s.GetInqLen()+s.GetOutqLen() != 0 {
		f.refuse(where, "", "%s is only being made, but has data: impossible", what)
	}
	if s.GetUnsqLen() > s.GetOutqLen() {
		f.refuse(where, "", "%s: of %d bytes in its send queue %d are unsent: impossible", what, s.GetOutqLen(), s.GetUnsqLen())
	}
	if uint64(s.GetInqLen())+uint64(s.GetOutqLen()) > roomForQueues {
		f.refuse(where, "", "%s has %d and %d bytes in its queues: more than %d", what, s.GetInqLen(), s.GetOutqLen(), roomForQueues)
	}
	if s.GetSndWscale() > maxWscale || s.GetRcvWscale() > maxWscale {
		f.refuse(where, "", "%s: window scales %d and %d, more than %d", what, s.GetSndWscale(), s.GetRcvWscale(), maxWscale)
	}
	if s.GetMssClamp() == 0 || s.GetMssClamp() > 0xffff {
		f.refuse(where, "", "%s: segments of %d bytes: impossible", what, s.GetMssClamp())
	}
	return f.Len() == before
}

// checkConnection refuses what this host will certainly not allow.
func (f *sockPlanner) checkConnection(where, what string, e *pb.InetSkEntry, s *tcpStream) bool {
	for _, needed := range []int{capNetAdmin, capNetRaw} {
		if !f.host.has(needed) {
			f.refuse(where, "run crpie as root", "%s: crpie lacks %s", what, capNames[needed])
			return false
		}
	}
	if e.GetSrcPort() == 0 {
		f.refuse(where, "", "%s has no port of its own: impossible", what)
		return false
	}
	if same := f.sameConnections(s); same != nil {
		fix := "end the process that has it"
		if same[0].State == tcpTimeWait {
			fix = "wait a minute: the kernel remembers that it was closed (TIME_WAIT)"
		}
		f.refuse(where, fix, "%s: this host has such a connection", what)
		return false
	}
	return f.checkHere(where, e, s.source)
}

// sameConnections lists this host's sockets that are the same end of the same connection: one or none.
func (p *sockRoom) sameConnections(s *tcpStream) []InetSocket {
	var same []InetSocket
	for _, other := range p.inetSockets() {
		if other.Protocol == ipprotoTCP && samePlace(other.Local, s.source) && samePlace(other.Remote, s.dest) {
			same = append(same, other)
		}
	}
	return same
}

func samePlace(a, b netip.AddrPort) bool {
	return a.Port() == b.Port() && a.Addr().Unmap() == b.Addr().Unmap()
}

// deafness lets through what the controller sends: its packets have the mark that CRIU's network lock lets pass.
func deafness() []uint64 {
	const loadMark, jumpEqual, ret = 0x20, 0x15, 0x06 // BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
	const adMark = 0xfffff000 + 20                    // SKF_AD_OFF + SKF_AD_MARK
	instruction := func(code, jt, jf, k uint64) uint64 { return code<<48 | jt<<40 | jf<<32 | k }
	return []uint64{
		instruction(loadMark, 0, 0, adMark), instruction(jumpEqual, 0, 1, criuMark),
		instruction(ret, 0, 0, 0xffffffff), instruction(ret, 0, 0, 0),
	}
}

const criuMark = 0xc114 // SOCCR_MARK, CRIU's soccr/soccr.h

// sleepingConnection makes the socket one end of the connection and fills its receive queue.
func (f *sockPlanner) sleepingConnection(number int, what string, s *tcpStream, e *pb.InetSkEntry) {
	p := f.prog
	set := func(option, value uint64) { p.setOption(number, what, solTCP, option, value) }
	p.setOption(number, "room for data", solSocket, soSndbufforce, roomForQueues)
	p.setOption(number, "room for data", solSocket, soRcvbufforce, roomForQueues)
	f.attachFilter(number, what+" is deaf", deafness())
	set(tcpRepair, 1)
	set(tcpRepairQueue, tcpRecvQueue)
	set(tcpQueueSeq, uint64(s.inEnd-s.GetInqLen()))
	set(tcpRepairQueue, tcpSendQueue)
	first := s.outEnd - s.GetOutqLen()
	if s.state == tcpSynSent {
		first-- // the SYN, which is sent again
	}
	set(tcpQueueSeq, uint64(first))
	addr, size := f.inetAddress(s.source, f.scope(e))
	p.sys(what, sysBind, uint64(number), addr, size)
	if s.state == tcpSynSent {
		return
	}
	addr, size = f.inetAddress(s.dest, f.scope(e))
	p.sys(what, sysConnect, uint64(number), addr, size)
	options := p.arena.bytes(repairOptions(s))
	p.sys(what, sysSetsockopt, uint64(number), solTCP, tcpRepairOptions, options, uint64(len(repairOptions(s))))
	if s.GetOptMask()&tcpiOptTimestamps != 0 {
		set(tcpTimestamp, uint64(s.GetTimestamp()))
	}
	set(tcpRepairQueue, tcpRecvQueue)
	for rest := s.received; len(rest) > 0; {
		n := min(len(rest), queueChunk)
		p.want(int64(n), fmt.Sprintf("%d received bytes of %s", n, what), sysSendto, uint64(number), p.arena.bytes(rest[:n]),
			uint64(n), msgDontwait|msgNosignal)
		rest = rest[n:]
	}
	set(tcpRepairQueue, tcpNoQueue)
}

// repairOptions lays out struct tcp_repair_opt[]: what the two ends had agreed upon.
func repairOptions(s *tcpStream) []byte {
	var b []byte
	add := func(code, value uint32) {
		b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, code), value)
	}
	if s.GetOptMask()&tcpiOptSack != 0 {
		add(tcpoptSackPermitted, 0)
	}
	if s.GetOptMask()&tcpiOptWscale != 0 {
		add(tcpoptWindow, s.GetSndWscale()|s.GetRcvWscale()<<16)
	}
	if s.GetOptMask()&tcpiOptTimestamps != 0 {
		add(tcpoptTimestamp, 0)
	}
	add(tcpoptMaxseg, s.GetMssClamp())
	return b
}

// holderOf gives the task and the number by which the controller finds a description.
func (p *sockRoom) holderOf(id uint32) (pid, fd int) {
	for _, t := range p.dir.Tasks {
		for _, e := range t.Fds {
			if e.GetId() == id {
				return int(t.Pid), int(e.GetFd())
			}
		}
	}
	return 0, 0
}

// planWaking plans what the controller does to the socket. Before anything is sent it gets its send queue, its window and
// the FIN that it had received; then it hears again; then it is awake, sends the rest, and closes what had been closed.
func (f *sockPlanner) planWaking(fd *pb.FdinfoEntry, what string, e *pb.InetSkEntry, s *tcpStream) {
	c := &Connection{What: what, At: s.source}
	c.Pid, c.Fd = f.holderOf(fd.GetId())
	if s.state != tcpSynSent {
		c.settle(s)
	}
	c.Hear = append(c.Hear, Step{Do: StepFilter, Data: socketFilter(e.GetOpts().GetSoFilter())})
	c.Wake = append(c.Wake, optionStep(solTCP, tcpRepair, 0))
	if e.GetOpts().GetReuseaddr() { // leaving repair mode has cleared it
		c.Wake = append(c.Wake, optionStep(solSocket, soReuseaddr, 1))
	}
	c.rest(s, e)
	f.plan.Connections = append(f.plan.Connections, c)
}

// settle: what has been sent is not sent again unless the other end asks for it.
func (c *Connection) settle(s *tcpStream) {
	if len(s.sent) > 0 {
		c.Settle = append(c.Settle, roomStep, optionStep(solTCP, tcpRepairQueue, tcpSendQueue), Step{Do: StepSend, Data: s.sent},
			optionStep(solTCP, tcpRepairQueue, tcpNoQueue))
	}
	if s.SndWnd != nil {
		c.Settle = append(c.Settle, Step{Do: StepOption, Level: solTCP, Option: tcpRepairWindow, Data: repairWindow(s)})
	}
	switch s.state {
	case tcpCloseWait, tcpLastAck:
		c.Settle = append(c.Settle, s.segment(s.inEnd, s.outEnd-s.GetOutqLen(), flagFin|flagAck, tcpCloseWait))
	case tcpClose:
		c.Settle = append(c.Settle, s.segment(s.inEnd, s.outEnd, flagFin|flagAck, tcpCloseWait),
			optionStep(solTCP, tcpRepairQueue, tcpSendQueue), Step{Do: StepShutdown}, // counts as sent
			s.segment(s.inEnd+1, s.outEnd+1, flagAck, tcpClose))
	}
}

// rest is what the socket does once it is awake.
func (c *Connection) rest(s *tcpStream, e *pb.InetSkEntry) {
	if len(s.unsent) > 0 {
		c.Rest = append(c.Rest, roomStep, Step{Do: StepSend, Data: s.unsent})
	}
	if len(s.unsent) > 0 || len(s.sent) > 0 {
		o := e.GetOpts()
		c.Rest = append(c.Rest, optionStep(solSocket, soSndbufforce, o.GetSoSndbuf()/2))
		if o.SoBufLock != nil {
			c.Rest = append(c.Rest, optionStep(solSocket, soBufLock, o.GetSoBufLock()))
		}
	}
	if s.state == tcpSynSent {
		c.Rest = append(c.Rest, Step{Do: StepConnect, At: s.dest}, Step{Do: StepFlags, Flags: e.GetFlags()})
	}
	if s.state != tcpClose && s.finSent() {
		c.Rest = append(c.Rest, Step{Do: StepShutdown})
	}
	if s.state == tcpClosing {
		c.Rest = append(c.Rest, s.segment(s.inEnd, s.outEnd-s.GetOutqLen(), flagFin|flagAck, 0))
	}
}

// repairWindow lays out struct tcp_repair_window. A FIN that is still to come takes a byte of the window.
func repairWindow(s *tcpStream) []byte {
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
