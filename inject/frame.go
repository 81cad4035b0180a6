//go:build linux && amd64

package inject

import (
	"encoding/binary"

	"github.com/crpie/crpie/internal/sys"
)

// The frame that rt_sigreturn(2) reads, arch/x86/include/asm/sigframe.h:
//
//	0    where the hook returns to, which then calls rt_sigreturn with rsp = 8
//	8    struct ucontext: flags, link, stack, struct sigcontext at 48, mask at 304
//	312  siginfo, not looked at
//	504  the extended state: the frame begins 8 bytes behind a multiple of 64
const (
	frameContext = 8
	// Flags of the alternate stack: sigaltstack(2) refuses these, and rt_sigreturn(2) leaves it as it is then.
	frameStackFlags, noSuchFlag = frameContext + 24, 4
	frameRegs                   = frameContext + 40
	frameMask                   = frameRegs + 256
	frameExtended               = 504
	frameStart                  = 8 // of a frame in its page: hooks find the stack as the psABI has it
)

// Flags of struct ucontext, arch/x86/include/uapi/asm/ucontext.h: there is extended state, ss is as it was.
const contextFlags = 0x1 | 0x2 | 0x4

// Numbers of the extended state in a frame, arch/x86/include/uapi/asm/sigcontext.h.
const (
	magic1, magic2 = 0x46505853, 0x46505845
	softwareOff    = 464 // struct _fpx_sw_bytes, in the part that the CPU leaves to software
	tileFeatures   = 3 << 17
)

// frame is what a thread that has these registers, signals and extended state leaves for the program by.
func frame(at, returnTo uint64, regs *sys.Regs, mask uint64, xstate []byte, layout *sys.Xsave) []byte {
	features, size := extended(xstate, layout)
	b := make([]byte, frameExtended+size+4)
	put := binary.LittleEndian.PutUint64
	put(b, returnTo)
	put(b[frameContext:], contextFlags)
	put(b[frameStackFlags:], noSuchFlag)
	back := restarted(*regs)
	for i, v := range []uint64{
		back.R8, back.R9, back.R10, back.R11, back.R12, back.R13, back.R14, back.R15, back.Di, back.Si, back.Bp,
		back.Bx, back.Dx, back.Ax, back.Cx, back.Sp, back.Ip, back.Flags,
		back.Cs | back.Gs<<16 | back.Fs<<32 | back.Ss<<48,
		0, 0, 0, 0, at + frameExtended,
	} {
		put(b[frameRegs+8*i:], v)
	}
	put(b[frameMask:], mask)
	area := b[frameExtended:]
	copy(area[:size], xstate)
	software := area[softwareOff:]
	clear(software[:48])
	binary.LittleEndian.PutUint32(software, magic1)
	binary.LittleEndian.PutUint32(software[4:], uint32(size+4))
	put(software[8:], features)
	binary.LittleEndian.PutUint32(software[16:], uint32(size))
	binary.LittleEndian.PutUint32(area[size:], magic2)
	return b
}

// extended tells which components of the extended state are in a frame. The kernel would drop it all if tiles (AMX)
// were among them and the process had not asked for those.
func extended(xstate []byte, layout *sys.Xsave) (features uint64, size int) {
	features, size = layout.Features&^tileFeatures, sys.XsaveExtended
	for i, c := range layout.Components {
		if features>>i&1 == 1 && i >= 2 {
			size = max(size, int(c.Offset+c.Size))
		}
	}
	return features, min(size, len(xstate))
}

// initialXstate is what a function finds at its entry, psABI 3.2.1: an empty x87 stack, exceptions masked.
func initialXstate(length int) []byte {
	b := make([]byte, length)
	binary.LittleEndian.PutUint16(b, 0x37f)
	binary.LittleEndian.PutUint32(b[sys.XsaveMXCSR:], 0x1f80)
	binary.LittleEndian.PutUint64(b[sys.XsaveHeader:], 1|2) // XSTATE_BV: x87, SSE
	return b
}
