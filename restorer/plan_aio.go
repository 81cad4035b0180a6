package restorer

import (
	"encoding/binary"
	"fmt"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
)

// An AIO context (io_setup(2)) is named by the address of its ring of completed events, which is a mapping that only
// io_setup makes. The dumped ring is read into ordinary memory at its address; the core makes a context, brings its ring to
// the same state and moves it there (core/src/aio.c).

// The ring: fs/aio.c, struct aio_ring and struct io_event.
const (
	aioHeader = 32
	aioEvent  = 32
	aioMagic  = 0xa10a10a1
	maxRing   = 64 << 20 // bytes: beyond any fs.aio-max-nr in use
)

// aioRing finds the context whose ring a mapping is.
func (m *memoryPlanner) aioRing(v *pb.VmaEntry) *pb.AioRingEntry {
	for _, a := range m.img.Mm.GetAios() {
		if a.GetId() == v.GetStart() {
			return a
		}
	}
	return nil
}

// checkAio looks at rings and contexts: each has the other.
func (m *memoryPlanner) checkAio() {
	rings := 0
	for _, v := range m.vmas {
		if v.GetStatus()&images.VmaAioRing == 0 {
			continue
		}
		rings++
		if a := m.aioRing(v); a == nil || uint64(a.GetRingLen()) != v.GetEnd()-v.GetStart() || a.GetRingLen() > maxRing {
			m.refuse(m.vmaWhere(v), "", "AIO ring without a context (io_setup(2)) of its own: not supported")
			continue
		}
		m.checkRing(v)
	}
	if n := len(m.img.Mm.GetAios()); n > rings {
		m.refuse(m.where(), "", "%d AIO contexts (io_setup(2)), but only %d rings of them", n, rings)
	}
}

// checkRing: the core will complete as many events as the ring's head and tail say.
func (m *memoryPlanner) checkRing(v *pb.VmaEntry) {
	ring, le := m.contents(v), binary.LittleEndian
	if ring == nil {
		m.refuse(m.vmaWhere(v), "", "AIO ring without contents")
		return
	}
	nr, head, tail := le.Uint32(ring[4:]), le.Uint32(ring[8:]), le.Uint32(ring[12:])
	if want := uint32((len(ring) - aioHeader) / aioEvent); nr != want || head >= nr || tail >= nr || le.Uint32(ring[16:]) != aioMagic {
		m.refuse(m.vmaWhere(v), "", "AIO ring of %d events with head %d and tail %d, want %d events", nr, head, tail, want)
	}
}

// makeAio plans the contexts, when everything else is mapped: the kernel chooses where a ring is at first.
func (m *memoryPlanner) makeAio() {
	fd := -1
	for _, v := range m.vmas {
		a := m.aioRing(v)
		if v.GetStatus()&images.VmaAioRing == 0 || a == nil {
			continue
		}
		if fd < 0 {
			fd = m.fds.scratch()
			m.prog.open(fd, true, "for events of nothing", sysOpenat, atFdcwd, m.prog.arena.string("/dev/null"), oRdonly)
		}
		m.prog.core(abi.OpAio, fmt.Sprintf("AIO context of %d requests", a.GetNrReq()), v.GetStart(), v.GetEnd()-v.GetStart(),
			uint64(a.GetNrReq()), uint64(fd))
		m.aioNeed += uint64(a.GetNrReq())
		if v.GetProt() != protRead|protWrite {
			m.prog.sys("AIO ring", sysMprotect, v.GetStart(), v.GetEnd()-v.GetStart(), uint64(v.GetProt()))
		}
	}
	if fd >= 0 {
		m.prog.sys("", sysClose, uint64(fd))
	}
}

// checkAioRoom refuses what the limit for the whole machine leaves no room for.
func (p *memRoom) checkAioRoom() {
	if p.aioNeed == 0 {
		return
	}
	if room := p.host.AioRoom(); p.aioNeed > room {
		p.refuse("this host", fmt.Sprintf("raise /proc/sys/fs/aio-max-nr by %d", p.aioNeed-room),
			"the tasks' AIO contexts are for %d requests, of which %d are free", p.aioNeed, room)
	}
}
