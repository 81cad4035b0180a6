package mem

import (
	"encoding/binary"
	"fmt"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
)

// An AIO context (io_setup(2)) is named by the address of its ring of completed events, which is a mapping that only
// io_setup makes. The dumped ring is read into ordinary memory at its address; the core makes a context, brings its
// ring to the same state and moves it there (core/src/aio.c).

// The ring: fs/aio.c, struct aio_ring and struct io_event.
const (
	aioHeader = 32
	aioEvent  = 32
	AioMagic  = 0xa10a10a1
	maxRing   = 64 << 20 // bytes: beyond any fs.aio-max-nr in use
)

// aioRing finds the context whose ring a mapping is.
func (m *space) aioRing(v *pb.VmaEntry) *pb.AioRingEntry {
	for _, a := range m.Img.Mm.GetAios() {
		if a.GetId() == v.GetStart() {
			return a
		}
	}
	return nil
}

// checkAio looks at rings and contexts: each has the other.
func (m *space) checkAio() {
	rings := 0
	for _, v := range m.vmas {
		if v.GetStatus()&images.VmaAioRing == 0 {
			continue
		}
		rings++
		if a := m.aioRing(v); a == nil || uint64(a.GetRingLen()) != v.GetEnd()-v.GetStart() ||
			a.GetRingLen() > maxRing {
			m.Refuse(m.vmaWhere(v), "", "AIO ring without a context (io_setup(2)) of its own: not supported")
			continue
		}
		m.checkRing(v)
	}
	if n := len(m.Img.Mm.GetAios()); n > rings {
		m.Refuse(m.Where(), "", "%d AIO contexts (io_setup(2)), but only %d rings of them", n, rings)
	}
}

// checkRing: the core will complete as many events as the ring's head and tail say.
func (m *space) checkRing(v *pb.VmaEntry) {
	ring, le := m.contents(v), binary.LittleEndian
	if ring == nil {
		m.Refuse(m.vmaWhere(v), "", "AIO ring without contents")
		return
	}
	nr, head, tail := le.Uint32(ring[4:]), le.Uint32(ring[8:]), le.Uint32(ring[12:])
	if want := uint32((len(ring) - aioHeader) / aioEvent); nr != want || head >= nr || tail >= nr ||
		le.Uint32(ring[16:]) != AioMagic {
		m.Refuse(m.vmaWhere(v), "", "AIO ring of %d events with head %d and tail %d, want %d events", nr, head,
			tail,
			want)
	}
}

// makeAio plans the contexts, when everything else is mapped: the kernel chooses where a ring is at first.
func (m *space) makeAio() {
	fd := -1
	for _, v := range m.vmas {
		a := m.aioRing(v)
		if v.GetStatus()&images.VmaAioRing == 0 || a == nil {
			continue
		}
		if fd < 0 {
			fd = m.Fds.Scratch()
			m.Prog.Open(fd, true, "for events of nothing", uapi.SysOpenat, uapi.AtFdcwd,
				m.Prog.Arena.String("/dev/null"), uapi.ORdonly)
		}
		m.Prog.Core(fmt.Sprintf("AIO context of %d requests", a.GetNrReq()), abi.SetupAio{
			Ring: v.GetStart(), Len: v.GetEnd() - v.GetStart(), NrEvents: uint64(a.GetNrReq()),
			Null: uint64(fd),
		})
		m.aioNeed += uint64(a.GetNrReq())
		if v.GetProt() != uapi.ProtRead|uapi.ProtWrite {
			m.Prog.Sys("AIO ring", uapi.SysMprotect, v.GetStart(), v.GetEnd()-v.GetStart(),
				uint64(v.GetProt()))
		}
	}
	if fd >= 0 {
		m.Prog.Sys("", uapi.SysClose, uint64(fd))
	}
}

// CheckAioRoom refuses what the limit for the whole machine leaves no room for.
func (p *Room) CheckAioRoom() {
	if p.aioNeed == 0 {
		return
	}
	if room := p.Host.AioRoom(); p.aioNeed > room {
		p.Refuse("this host", fmt.Sprintf("raise /proc/sys/fs/aio-max-nr by %d", p.aioNeed-room),
			"the tasks' AIO contexts are for %d requests, of which %d are free", p.aioNeed, room)
	}
}
