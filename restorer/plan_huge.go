package restorer

import (
	"fmt"
	"maps"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
)

// Huge pages, Documentation/admin-guide/mm/hugetlbpage.rst. Files of them cannot be written to, only mapped: the zygote maps
// each memfd of huge pages, one after the other, into a window behind the region and fills it there. Shared anonymous memory
// of huge pages looks to CRIU like a memfd, too; it is made as what it is, and opened through /proc/self/map_files.

// memfd_create(2), mmap(2): the logarithm of the page size is in six bits of the flags.
const (
	mfdHugetlb   = 4
	hugeShift    = 26
	hugeSizeMask = 0x3f << hugeShift
	defaultHuge  = 21 // x86-64's, when no size is given
)

// hugeSize is the page size that flags of mmap(2) or memfd_create(2) ask for, bytes.
func hugeSize(flags uint32) uint64 {
	if shift := flags >> hugeShift & 0x3f; shift != 0 {
		return 1 << shift
	}
	return 1 << defaultHuge
}

// alignUp is the next multiple of a power of two.
func alignUp(n, to uint64) uint64 { return (n + to - 1) &^ (to - 1) }

// maxHuge bounds sizes from the images before sums are made of them: the address space of a task.
const maxHuge = taskSizeMax

// hugeWindow is the address space that the largest memfd of huge pages needs in the zygote, with room to align it.
func (p *memRoom) hugeWindow() (size uint64) {
	for _, inode := range p.dir.Memfds {
		if huge := hugeSize(inode.GetHugetlbFlag()); inode.GetHugetlbFlag() != 0 && inode.GetSize() < maxHuge {
			size = max(size, alignUp(inode.GetSize(), huge)+huge)
		}
	}
	return size
}

// makeHugeMemfd makes a file of huge pages.
func (p *memRoom) makeHugeMemfd(id uint32, inode *pb.MemfdInodeEntry) {
	what, flags := fmt.Sprintf("memfd %q", inode.GetName()), inode.GetHugetlbFlag()
	huge := hugeSize(flags)
	if flags&^hugeSizeMask != mfdHugetlb || inode.GetSize()%huge != 0 || inode.GetSize() >= maxHuge {
		p.refuse(what, "", "%d bytes with flags %#x are no huge pages", inode.GetSize(), flags)
		return
	}
	pieces := p.sharedContents(uint64(inode.GetShmid()), what, inode.GetSize())
	p.needHuge(huge, p.hugePagesOf(id, inode, pieces))
	s, fd := p.shared, p.fds.scratch()
	p.files.nameless[memfdKey(id)] = fd
	window := alignUp(p.window, huge)
	const shared = mapShared | mapFixedNoreplace | mapNoreserve
	anonymous := anonymousHuge(inode) && !p.files.held[id]
	if anonymous {
		s.want(int64(window), what, sysMmap, window, inode.GetSize(), protRead|protWrite,
			uint64(shared|mapAnonymous|mapHugetlb|flags&hugeSizeMask), ^uint64(0), 0)
		path := fmt.Sprintf("/proc/self/map_files/%x-%x", window, window+inode.GetSize())
		s.open(fd, true, what, sysOpenat, atFdcwd, s.arena.string(path), oRdwr)
	} else {
		s.open(fd, true, what, sysMemfdCreate, s.arena.string(inode.GetName()), mfdAllowSealing|uint64(flags))
		s.sys(what, sysFtruncate, uint64(fd), inode.GetSize())
		if len(pieces) > 0 {
			s.want(int64(window), what, sysMmap, window, inode.GetSize(), protRead|protWrite, shared, uint64(fd), 0)
		}
	}
	m := p.zygoteMemory()
	for _, piece := range pieces {
		m.addRead(window+piece.Vaddr, piece)
	}
	m.emitReads(what, 0)
	if anonymous || len(pieces) > 0 {
		s.sys(what, sysMunmap, window, inode.GetSize())
	}
	if !anonymous {
		p.files.ownMemfd(what, fd, inode)
		p.files.sealMemfd(what, fd, id, inode.GetSeals())
	}
}

// anonymousHuge: what hugetlbfs calls the memory of mmap(2) with MAP_SHARED, MAP_ANONYMOUS and MAP_HUGETLB.
func anonymousHuge(inode *pb.MemfdInodeEntry) bool { return inode.GetName() == "/anon_hugepage" }

// needHuge counts the pages that the plan needs.
func (p *memRoom) needHuge(size, pages uint64) { p.hugeNeed[size] += pages }

// hugePagesOf is how many pages a memfd will take: those with contents, or all if some mapping reserves them.
func (p *memRoom) hugePagesOf(id uint32, inode *pb.MemfdInodeEntry, pieces []images.Piece) uint64 {
	huge := hugeSize(inode.GetHugetlbFlag())
	for _, t := range p.dir.Tasks {
		for _, v := range t.Mm.GetVmas() {
			of := p.dir.Files[uint32(v.GetShmid())].GetMemfd()
			if v.GetStatus()&images.VmaMemfd != 0 && of.GetInodeId() == id && v.GetFlags()&(mapShared|mapNoreserve) == mapShared {
				return inode.GetSize() / huge
			}
		}
	}
	return contentPages(pieces, huge)
}

// contentPages counts the huge pages that have contents.
func contentPages(pieces []images.Piece, huge uint64) (pages uint64) {
	next := uint64(0)
	for _, piece := range pieces {
		first, end := max(piece.Vaddr/huge, next), alignUp(piece.End(), huge)/huge
		if end > first {
			pages += end - first
			next = end
		}
	}
	return pages
}

// needHugeFor counts what a part of a private mapping takes: it is reserved as a whole, unless it was not to be.
func (m *memoryPlanner) needHugeFor(v *pb.VmaEntry, part span) {
	huge := hugeSize(v.GetFlags())
	if v.GetFlags()&mapNoreserve == 0 {
		m.needHuge(huge, (part.end-part.start)/huge)
		return
	}
	var inside []images.Piece
	for _, r := range m.runs {
		if start, end := max(r.Vaddr, part.start), min(r.End(), part.end); start < end {
			inside = append(inside, r.Cut(start, end))
		}
	}
	m.needHuge(huge, contentPages(inside, huge))
}

// checkHugePages refuses what the machine has not got: without a page, a task would be killed by SIGBUS.
func (p *memRoom) checkHugePages() {
	for _, size := range slices.Sorted(maps.Keys(p.hugeNeed)) {
		need, free := p.hugeNeed[size], p.host.HugePages(size)
		if need > free {
			p.refuse("this host", fmt.Sprintf("raise /sys/kernel/mm/hugepages/hugepages-%dkB/nr_hugepages by %d", size>>10, need-free),
				"the tasks need %d huge pages of %d KiB, of which %d are free", need, size>>10, free)
		}
	}
}
