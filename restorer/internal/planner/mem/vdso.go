package mem

import (
	"bytes"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/uapi"
)

// maxVDSO bounds the vDSO that is read from the images; known ones have 2 to 16 KiB.
const maxVDSO = 1 << 20

// vdso maps the kernel's vDSO where it was, if it is the one that was dumped. Otherwise the dumped one comes back as
// ordinary memory, with functions that go on in the kernel's, which is mapped behind the region.
func (m *space) vdso() {
	if len(m.vdsoVMA) == 0 {
		return
	}
	first, last := m.vdsoVMA[0], m.vdsoVMA[len(m.vdsoVMA)-1]
	data, code := last.GetStart()-first.GetStart(), last.GetEnd()-last.GetStart()
	if last.GetStatus()&images.VmaVdso == 0 || code > maxVDSO || len(m.Host.VDSO.Code) == 0 {
		m.Refuse(m.vmaWhere(last), "restore on the kernel that it was dumped on",
			"a vDSO of %d bytes cannot become this kernel's, of %d: not supported", code,
			len(m.Host.VDSO.Code))
		return
	}
	dumped := m.contents(last)
	same := m.together() && data == m.Host.VDSO.DataSize && code == uint64(len(m.Host.VDSO.Code)) &&
		(dumped == nil || bytes.Equal(dumped, m.Host.VDSO.Code))
	if m.sameVDSOs == nil {
		m.sameVDSOs = &same
	}
	switch {
	case same != *m.sameVDSOs:
		m.Refuse(m.vmaWhere(last), "", "its vDSO differs from the other tasks': not supported")
	case m.keptVDSO:
	case same:
		m.mapVDSO("vDSO", "vDSO is where it was", first.GetStart())
	default:
		m.redirect(last, dumped)
	}
}

// together: the vDSO is directly above its data, as every kernel maps them.
func (m *space) together() bool {
	for i, v := range m.vdsoVMA {
		if i > 0 && v.GetStart() != m.vdsoVMA[i-1].GetEnd() {
			return false
		}
	}
	return true
}

// mapVDSO has the kernel map its vDSO, the data first. The address is a hint, and the result the size of the code:
// msync(2) says whether it was followed.
func (m *space) mapVDSO(what, check string, at uint64) {
	host := &m.Host.VDSO
	m.Prog.Want(int64(len(host.Code)), what, uapi.SysArchPrctl, uapi.ArchMapVDSO64, at)
	m.Prog.Sys(check, uapi.SysMsync, at, host.DataSize+uint64(len(host.Code)), uapi.MsAsync)
}

// redirect brings a vDSO of another kernel back.
func (m *space) redirect(v *pb.VmaEntry, dumped []byte) {
	patched, err := RedirectVDSO(dumped, m.Host.VDSO.Code, m.VdsoAt+m.Host.VDSO.DataSize)
	if err != nil {
		m.Refuse(m.vmaWhere(v), "restore on the kernel that it was dumped on",
			"its vDSO differs from this kernel's, and cannot be redirected: %v", err)
		return
	}
	for _, th := range m.Img.Threads {
		if ip := th.Core.GetThreadInfo().GetGpregs().GetIp(); ip >= v.GetStart() && ip < v.GetEnd() {
			m.Refuse(m.Where(), "dump it again, or restore on the kernel that it was dumped on",
				"thread %d was in the vDSO at %#x, which differs from this kernel's", th.Tid, ip)
		}
	}
	if !m.beganWithVDSO() {
		m.mapVDSO("this kernel's vDSO", "this kernel's vDSO is where it was to be", m.VdsoAt)
	}
	at, size := v.GetStart(), v.GetEnd()-v.GetStart()
	m.Prog.Want(int64(at), "vDSO of the dump", uapi.SysMmap, at, size, uapi.ProtRead|uapi.ProtWrite,
		uapi.MapPrivate|uapi.MapAnonymous|uapi.MapFixedNoreplace, ^uint64(0), 0)
	m.Prog.Core("vDSO of the dump, whose functions go on in this kernel's",
		abi.CopyMemory{To: at, From: m.Prog.Arena.Bytes(patched), Len: size})
	m.Prog.Sys("vDSO of the dump", uapi.SysMprotect, at, size, uint64(v.GetProt()))
}

// beganWithVDSO reports whether the task begins with the memory of one that had a vDSO: this kernel's is in it already.
func (m *space) beganWithVDSO() bool {
	for from := m.Of.Origin(m.Img); from != nil; from = m.Of.Origin(from) {
		for _, v := range from.Mm.GetVmas() {
			if v.GetStatus()&images.VmaVdso != 0 {
				return true
			}
		}
	}
	return false
}
