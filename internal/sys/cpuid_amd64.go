package sys

func cpuid(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)

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
