package sock

import (
	"encoding/binary"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
)

// socketOptions sets what differs from a new socket, socket(7). They come last: SO_PASSCRED would give a socket that
// sends a name, and SO_SNDBUF may be smaller than what has been sent.
func (f *descriptors) socketOptions(number int, what string, o *pb.SkOptsEntry) {
	if !f.Host.Has(uapi.CapNetAdmin) { // SO_SNDBUFFORCE and SO_RCVBUFFORCE, socket(7)
		f.Refuse(f.Where(), "run crpie as root", "%s: crpie lacks %s, without which its buffers are cut", what,
			uapi.CapNames[uapi.CapNetAdmin])
	}
	f.socketFlagOptions(number, what, o)
	f.socketNumbers(number, what, o)
	f.bindDevice(number, what, o)
	if filter := o.GetSoFilter(); len(filter) > 0 {
		f.attachFilter(number, "filter of "+what, filter)
	}
}

// socketFlagOptions sets options that are on or off, where they are on: new sockets have them off.
func (f *descriptors) socketFlagOptions(number int, what string, o *pb.SkOptsEntry) {
	for _, flag := range []struct {
		option uint64
		on     bool
	}{
		{uapi.SoReuseport, o.GetSoReuseport()}, {uapi.SoPasscred, o.GetSoPasscred()},
		{uapi.SoPasssec, o.GetSoPasssec()},
		{uapi.SoDontroute, o.GetSoDontroute()}, {uapi.SoNoCheck, o.GetSoNoCheck()},
		{uapi.SoBroadcast, o.GetSoBroadcast()},
		{uapi.SoKeepalive, o.GetSoKeepalive()}, {uapi.SoOobinline, o.GetSoOobinline() != 0},
		{uapi.SoReuseaddr, o.GetReuseaddr()},
	} {
		if flag.on {
			f.Prog.SetOption(number, what, uapi.SolSocket, flag.option, 1)
		}
	}
}

// bindDevice binds a socket to an interface.
func (f *descriptors) bindDevice(number int, what string, o *pb.SkOptsEntry) {
	if dev := o.GetSoBoundDev(); dev != "" {
		f.Prog.Sys(what+" bound to "+dev, uapi.SysSetsockopt, uint64(number), uapi.SolSocket,
			uapi.SoBindtodevice,
			f.Prog.Arena.String(dev), uint64(len(dev)))
	}
}

// attachFilter adds a classic BPF program, as images have it.
func (f *descriptors) attachFilter(number int, what string, filter []uint64) {
	program := f.Prog.Arena.Bytes(SocketFilter(filter))
	f.Prog.Sys(what, uapi.SysSetsockopt, uint64(number), uapi.SolSocket, uapi.SoAttachFilter,
		f.Prog.Arena.Words(uint64(len(filter)), program), 16) // struct sock_fprog
}

// SocketFilter lays out struct sock_filter[], linux/filter.h. An image has code, jt, jf and k from the highest bits
// down.
func SocketFilter(instructions []uint64) []byte {
	var b []byte
	for _, i := range instructions {
		b = binary.LittleEndian.AppendUint16(b, uint16(i>>48))
		b = append(b, byte(i>>40), byte(i>>32))
		b = binary.LittleEndian.AppendUint32(b, uint32(i))
	}
	return b
}

// socketNumbers sets the options that are not flags.
func (f *descriptors) socketNumbers(number int, what string, o *pb.SkOptsEntry) {
	set := func(option, value uint64) { f.Prog.SetOption(number, what, uapi.SolSocket, option, value) }
	set(uapi.SoSndbufforce, uint64(o.GetSoSndbuf()/2)) // getsockopt says twice what setsockopt was given, socket(7)
	set(uapi.SoRcvbufforce, uint64(o.GetSoRcvbuf()/2))
	if o.SoBufLock != nil {
		set(uapi.SoBufLock, uint64(o.GetSoBufLock()))
	}
	if o.GetSoPriority() != 0 {
		set(uapi.SoPriority, uint64(o.GetSoPriority()))
	}
	if o.GetSoRcvlowat() > 1 {
		set(uapi.SoRcvlowat, uint64(o.GetSoRcvlowat()))
	}
	if o.GetSoMark() != 0 {
		set(uapi.SoMark, uint64(o.GetSoMark()))
	}
	if o.SoLinger != nil {
		on := uint64(o.GetSoLinger())<<32 | 1 // struct linger
		f.Prog.Sys(what, uapi.SysSetsockopt, uint64(number), uapi.SolSocket, uapi.SoLinger,
			f.Prog.Arena.Words(on), 8)
	}
	timeout := func(option, sec, usec uint64) {
		if sec != 0 || usec != 0 {
			f.Prog.Sys(what, uapi.SysSetsockopt, uint64(number), uapi.SolSocket, option,
				f.Prog.Arena.Words(sec, usec),
				16)
		}
	}
	timeout(uapi.SoRcvtimeo, o.GetSoRcvTmoSec(), o.GetSoRcvTmoUsec())
	timeout(uapi.SoSndtimeo, o.GetSoSndTmoSec(), o.GetSoSndTmoUsec())
}

// shutdownSocket: enum sk_shutdown is one more than the argument of shutdown(2).
func (f *descriptors) shutdownSocket(number int, what string, how pb.SkShutdown) {
	if how != pb.SkShutdown_NONE {
		f.Prog.Sys(what, uapi.SysShutdown, uint64(number), uint64(how)-1)
	}
}

// socketFlags: sockets are made with SOCK_NONBLOCK, so that nothing of the restore can block.
func (f *descriptors) socketFlags(fd *pb.FdinfoEntry, flags uint32) {
	f.Prog.Sys("status flags", uapi.SysFcntl, uint64(fd.GetFd()), uapi.FSetfl,
		uint64(flags&^(uapi.OAccmode|uapi.OCloexec|uapi.OLargefile)))
}
