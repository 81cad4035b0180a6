package images

import (
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/uapi"
)

// Bits of vma_entry.status (CRIU's criu/include/image.h).
const (
	VmaRegular     = 1 << 0
	VmaStack       = 1 << 1
	VmaVsyscall    = 1 << 2
	VmaVdso        = 1 << 3
	VmaHeap        = 1 << 5
	VmaFilePrivate = 1 << 6
	VmaFileShared  = 1 << 7
	VmaAnonShared  = 1 << 8
	VmaAnonPrivate = 1 << 9
	VmaSysvIPC     = 1 << 10
	VmaSocket      = 1 << 11
	VmaVvar        = 1 << 12
	VmaAioRing     = 1 << 13
	VmaMemfd       = 1 << 14
	VmaShadowStack = 1 << 15
	VmaGuard       = 1 << 16
)

// VMAName is what /proc/PID/maps shows for a mapping: the path of its file, "[vdso]" and the like, or "".
func (d *Dir) VMAName(v *pb.VmaEntry) string {
	status := v.GetStatus()
	switch {
	case status&VmaVdso != 0:
		return "[vdso]"
	case status&VmaVvar != 0:
		return "[vvar]"
	case status&VmaVsyscall != 0:
		return "[vsyscall]"
	case status&(VmaFilePrivate|VmaFileShared) != 0:
		return d.Files[uint32(v.GetShmid())].GetReg().GetName()
	case status&VmaHeap != 0:
		return "[heap]"
	case v.GetFlags()&uapi.MapGrowsdown != 0:
		return "[stack]"
	}
	return ""
}
