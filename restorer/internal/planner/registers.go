package planner

import (
	"encoding/binary"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/restorer/internal/plan"
)

// regs takes the general registers as dumped. CRIU has rewound an interrupted system call already, and orig_rax -1
// keeps the kernel from doing so again.
func regs(r *pb.UserX86RegsEntry) sys.Regs {
	return sys.Regs{
		R15: r.GetR15(), R14: r.GetR14(), R13: r.GetR13(), R12: r.GetR12(), Bp: r.GetBp(), Bx: r.GetBx(),
		R11: r.GetR11(), R10: r.GetR10(), R9: r.GetR9(), R8: r.GetR8(), Ax: r.GetAx(), Cx: r.GetCx(),
		Dx: r.GetDx(),
		Si: r.GetSi(), Di: r.GetDi(), OrigAx: ^uint64(0), Ip: r.GetIp(), Cs: r.GetCs(), Flags: r.GetFlags(),
		Sp: r.GetSp(), Ss: r.GetSs(), FsBase: r.GetFsBase(), GsBase: r.GetGsBase(), Ds: r.GetDs(),
		Es: r.GetEs(),
		Fs: r.GetFs(), Gs: r.GetGs(),
	}
}

// State components of the XSAVE feature set, Intel SDM vol. 1, 13.1.
const (
	xfeatX87, xfeatSSE, xfeatYMM       = 0, 1, 2
	xfeatBndregs, xfeatBndcsr          = 3, 4
	xfeatOpmask, xfeatZmmHi, xfeatHi16 = 5, 6, 7
	xfeatPKRU                          = 9
)

var xfeatNames = [...]string{
	xfeatYMM: "AVX", xfeatBndregs: "MPX", xfeatBndcsr: "MPX", xfeatOpmask: "AVX-512", xfeatZmmHi: "AVX-512",
	xfeatHi16: "AVX-512", xfeatPKRU: "PKU",
}

// xstate takes the floating-point and vector registers as dumped.
func xstate(f *pb.UserX86FpregsEntry) plan.Xstate {
	x := plan.Xstate{Legacy: legacyArea(f), Features: 1<<xfeatX87 | 1<<xfeatSSE, Components: map[int][]byte{}}
	xs := f.GetXsave()
	if xs == nil {
		return x
	}
	x.Features = 0
	for bit, data := range map[int][]byte{
		xfeatYMM: plan.Words32(xs.GetYmmhSpace()), xfeatBndregs: plan.Words64(xs.GetBndregState()),
		xfeatBndcsr: plan.Words64(xs.GetBndcsrState()), xfeatOpmask: plan.Words64(xs.GetOpmaskReg()),
		xfeatZmmHi: plan.Words64(xs.GetZmmUpper()), xfeatHi16: plan.Words64(xs.GetHi16Zmm()),
		xfeatPKRU: plan.Words32(xs.GetPkru()),
	} {
		if xs.GetXstateBv()&(1<<bit) != 0 && len(data) != 0 {
			x.Components[bit] = data
			x.Features |= 1 << bit
		}
	}
	x.Features |= xs.GetXstateBv() & (1<<xfeatX87 | 1<<xfeatSSE)
	return x
}

// legacyArea lays out the FXSAVE image, Intel SDM vol. 1, table 10-2.
func legacyArea(f *pb.UserX86FpregsEntry) (area [512]byte) {
	le := binary.LittleEndian
	le.PutUint16(area[0:], uint16(f.GetCwd()))
	le.PutUint16(area[2:], uint16(f.GetSwd()))
	le.PutUint16(area[4:], uint16(f.GetTwd()))
	le.PutUint16(area[6:], uint16(f.GetFop()))
	le.PutUint64(area[8:], f.GetRip())
	le.PutUint64(area[16:], f.GetRdp())
	le.PutUint32(area[24:], f.GetMxcsr())
	le.PutUint32(area[28:], f.GetMxcsrMask())
	copy(area[32:160], plan.Words32(f.GetStSpace()))
	copy(area[160:416], plan.Words32(f.GetXmmSpace()))
	return area
}
