package sys

// Regs is struct user_regs_struct of x86-64, in its order.
type Regs struct {
	R15, R14, R13, R12, Bp, Bx, R11, R10, R9, R8, Ax, Cx, Dx, Si, Di, OrigAx, Ip, Cs, Flags, Sp, Ss uint64
	FsBase, GsBase, Ds, Es, Fs, Gs                                                                  uint64
}

// Numbered gives the registers that functions keep by their numbers in DWARF, psABI x86-64, 3.6.2; the last is Ip.
func (r *Regs) Numbered() [17]uint64 {
	return [17]uint64{r.Ax, r.Dx, r.Cx, r.Bx, r.Si, r.Di, r.Bp, r.Sp, r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14,
		r.R15, r.Ip}
}

// XsaveComponent says where a state component lies in the standard (non-compacted) XSAVE area.
type XsaveComponent struct {
	Offset, Size uint32 // bytes from the start of the area
}

// Xsave describes the XSAVE area of this CPU, Intel SDM vol. 1, 13.4.
type Xsave struct {
	Features   uint64 // XCR0 bits that the CPU supports
	Components [64]XsaveComponent
}

// Places in the XSAVE area, Intel SDM vol. 1, table 10-2 and 13.4.1, 13.4.2.
const (
	XsaveMXCSR    = 24
	XsaveHeader   = 512 // XSTATE_BV, which says what the area has; before it the legacy region of FXSAVE
	XsaveExtended = 576 // components of their own; the least length of an area
)
