package sys

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/memory"
)

// pmScanArg is struct pm_scan_arg, include/uapi/linux/fs.h.
type pmScanArg struct {
	size, flags                       uint64
	start, end, walkEnd               uint64
	vec                               *pageRegion
	vecLen, maxPages                  uint64
	inverted, mask, anyOf, returnMask uint64
}

// pageRegion is struct page_region; the last word has the categories.
type pageRegion struct{ start, end, _ uint64 }

// Categories of pages, PAGE_IS_* of include/uapi/linux/fs.h.
const (
	pageIsFile    = 1 << 2
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4
)

// OwnPages lists the parts of a span in which a process has pages that are not a file's, by the ioctl PAGEMAP_SCAN
// (Linux 6.7) of its /proc/PID/pagemap. What is not there costs nothing.
func OwnPages(pagemap *os.File, span memory.Span) (all []memory.Span, err error) {
	regions := make([]pageRegion, 512)
	var pinned runtime.Pinner // off the goroutine's stack, which moves
	pinned.Pin(&regions[0])
	defer pinned.Unpin()
	for at := span.Start; at < span.End; {
		arg := pmScanArg{
			size: uint64(unsafe.Sizeof(pmScanArg{})), start: at, end: span.End,
			vec: &regions[0], vecLen: uint64(len(regions)),
			inverted: pageIsFile, mask: pageIsFile, anyOf: pageIsPresent | pageIsSwapped,
			returnMask: pageIsPresent | pageIsSwapped,
		}
		n, err := pagemapScan(pagemap, &arg)
		if err != nil {
			return nil, err
		}
		for _, r := range regions[:n] {
			all = append(all, memory.Span{Start: r.start, End: r.end})
		}
		if arg.walkEnd <= at {
			break
		}
		at = arg.walkEnd
	}
	return all, nil
}

// pagemapScan gives the number of regions.
func pagemapScan(pagemap *os.File, arg *pmScanArg) (n uintptr, err error) {
	const request = 3<<30 | unsafe.Sizeof(*arg)<<16 | 'f'<<8 | 16 // _IOWR('f', 16, struct pm_scan_arg)
	raw, err := pagemap.SyscallConn()
	if err != nil {
		return 0, err
	}
	var errno unix.Errno
	err = raw.Control(func(fd uintptr) {
		n, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(arg)))
	})
	if err == nil && errno != 0 {
		err = os.NewSyscallError("PAGEMAP_SCAN", errno)
	}
	return n, err
}
