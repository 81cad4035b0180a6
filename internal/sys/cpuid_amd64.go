package sys

func cpuid(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)

// XsaveComponent says where a state component lies in the standard (non-compacted) XSAVE area.
type XsaveComponent struct {
	Offset, Size uint32 // bytes from the start of the area
}

// Xsave describes the XSAVE area of this CPU, Intel SDM vol. 1, 13.4.
type Xsave struct {
	Features   uint64 // XCR0 bits that the CPU supports
	Components [64]XsaveComponent
}

// XsaveLayout asks CPUID leaf 0xD.
func XsaveLayout() Xsave {
	var x Xsave
	lo, _, _, hi := cpuid(0xd, 0)
	x.Features = uint64(hi)<<32 | uint64(lo)
	for i := uint32(2); i < 63; i++ {
		if x.Features&(1<<i) == 0 {
			continue
		}
		size, offset, _, _ := cpuid(0xd, i)
		x.Components[i] = XsaveComponent{Offset: offset, Size: size}
	}
	return x
}
