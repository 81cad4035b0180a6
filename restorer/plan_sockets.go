package restorer

import (
	"encoding/binary"

	"github.com/crpie/crpie/images/pb"
)

// Numbers of socket(2), socket(7), unix(7), ip(7), ipv6(7), tcp(7) and udp(7).
const (
	afUnix, afInet, afInet6 = 1, 2, 10

	sockStream, sockDgram, sockRaw, sockSeqpacket = 1, 2, 3, 5

	solIP, solSocket, solTCP, solIPv6 = 0, 1, 6, 41

	soReuseaddr    = 2
	soDontroute    = 5
	soBroadcast    = 6
	soKeepalive    = 9
	soOobinline    = 10
	soNoCheck      = 11
	soPriority     = 12
	soLinger       = 13
	soReuseport    = 15
	soPasscred     = 16
	soRcvlowat     = 18
	soRcvtimeo     = 20
	soSndtimeo     = 21
	soBindtodevice = 25
	soAttachFilter = 26
	soDetachFilter = 27
	soSndbufforce  = 32
	soRcvbufforce  = 33
	soPasssec      = 34
	soMark         = 36
	soBufLock      = 72

	msgDontwait = 0x40
	msgNosignal = 0x4000
)

// States of a socket in the images, include/net/tcp_states.h: unix sockets have them too.
const (
	tcpEstablished = 1
	tcpClose       = 7
	tcpListen      = 10
)

// setOption adds setsockopt(2) with an int.
func (p *program) setOption(number int, what string, level, option, value uint64) {
	v := p.arena.bytes(binary.LittleEndian.AppendUint32(nil, uint32(value)))
	p.sys(what, sysSetsockopt, uint64(number), level, option, v, 4)
}

// socketOptions sets what differs from a new socket, socket(7). They come last: SO_PASSCRED would give a socket that
// sends a name, and SO_SNDBUF may be smaller than what has been sent.
func (f *sockPlanner) socketOptions(number int, what string, o *pb.SkOptsEntry) {
	if !f.host.has(capNetAdmin) { // SO_SNDBUFFORCE and SO_RCVBUFFORCE, socket(7)
		f.refuse(f.where(), "run crpie as root", "%s: crpie lacks %s, without which its buffers are cut", what, capNames[capNetAdmin])
	}
	f.socketFlagOptions(number, what, o)
	f.socketNumbers(number, what, o)
	f.bindDevice(number, what, o)
	if filter := o.GetSoFilter(); len(filter) > 0 {
		f.attachFilter(number, "filter of "+what, filter)
	}
}

func (f *sockPlanner) socketFlagOptions(number int, what string, o *pb.SkOptsEntry) {
	for _, flag := range []struct {
		option uint64
		on     bool
	}{
		{soReuseport, o.GetSoReuseport()}, {soPasscred, o.GetSoPasscred()}, {soPasssec, o.GetSoPasssec()},
		{soDontroute, o.GetSoDontroute()}, {soNoCheck, o.GetSoNoCheck()}, {soBroadcast, o.GetSoBroadcast()},
		{soKeepalive, o.GetSoKeepalive()}, {soOobinline, o.GetSoOobinline() != 0}, {soReuseaddr, o.GetReuseaddr()},
	} {
		if flag.on {
			f.prog.setOption(number, what, solSocket, flag.option, 1)
		}
	}
}

// bindDevice binds a socket to an interface.
func (f *sockPlanner) bindDevice(number int, what string, o *pb.SkOptsEntry) {
	if dev := o.GetSoBoundDev(); dev != "" {
		f.prog.sys(what+" bound to "+dev, sysSetsockopt, uint64(number), solSocket, soBindtodevice,
			f.prog.arena.string(dev), uint64(len(dev)))
	}
}

// attachFilter adds a classic BPF program, as images have it.
func (f *sockPlanner) attachFilter(number int, what string, filter []uint64) {
	program := f.prog.arena.bytes(socketFilter(filter))
	f.prog.sys(what, sysSetsockopt, uint64(number), solSocket, soAttachFilter,
		f.prog.arena.words(uint64(len(filter)), program), 16) // struct sock_fprog
}

// socketFilter lays out struct sock_filter[], linux/filter.h. An image has code, jt, jf and k from the highest bits down.
func socketFilter(instructions []uint64) []byte {
	var b []byte
	for _, i := range instructions {
		b = binary.LittleEndian.AppendUint16(b, uint16(i>>48))
		b = append(b, byte(i>>40), byte(i>>32))
		b = binary.LittleEndian.AppendUint32(b, uint32(i))
	}
	return b
}

// socketNumbers sets the options that are not flags.
func (f *sockPlanner) socketNumbers(number int, what string, o *pb.SkOptsEntry) {
	set := func(option, value uint64) { f.prog.setOption(number, what, solSocket, option, value) }
	set(soSndbufforce, uint64(o.GetSoSndbuf()/2)) // getsockopt says twice what setsockopt was given, socket(7)
	set(soRcvbufforce, uint64(o.GetSoRcvbuf()/2))
	if o.SoBufLock != nil {
		set(soBufLock, uint64(o.GetSoBufLock()))
	}
	if o.GetSoPriority() != 0 {
		set(soPriority, uint64(o.GetSoPriority()))
	}
	if o.GetSoRcvlowat() > 1 {
		set(soRcvlowat, uint64(o.GetSoRcvlowat()))
	}
	if o.GetSoMark() != 0 {
		set(soMark, uint64(o.GetSoMark()))
	}
	if o.SoLinger != nil {
		on := uint64(o.GetSoLinger())<<32 | 1 // struct linger
		f.prog.sys(what, sysSetsockopt, uint64(number), solSocket, soLinger, f.prog.arena.words(on), 8)
	}
	timeout := func(option, sec, usec uint64) {
		if sec != 0 || usec != 0 {
			f.prog.sys(what, sysSetsockopt, uint64(number), solSocket, option, f.prog.arena.words(sec, usec), 16)
		}
	}
	timeout(soRcvtimeo, o.GetSoRcvTmoSec(), o.GetSoRcvTmoUsec())
	timeout(soSndtimeo, o.GetSoSndTmoSec(), o.GetSoSndTmoUsec())
}

// shutdownSocket: enum sk_shutdown is one more than the argument of shutdown(2).
func (f *sockPlanner) shutdownSocket(number int, what string, how pb.SkShutdown) {
	if how != pb.SkShutdown_NONE {
		f.prog.sys(what, sysShutdown, uint64(number), uint64(how)-1)
	}
}

// socketFlags: sockets are made with SOCK_NONBLOCK, so that nothing of the restore can block.
func (f *sockPlanner) socketFlags(fd *pb.FdinfoEntry, flags uint32) {
	f.prog.sys("status flags", sysFcntl, uint64(fd.GetFd()), fSetfl, uint64(flags&^(oAccmode|oCloexec|oLargefile)))
}
