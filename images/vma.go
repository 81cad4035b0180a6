package images

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
)
