package mem

import (
	"fmt"
	"maps"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/plan"
	"github.com/crpie/crpie/restorer/internal/planner/file"
)

// Huge pages, Documentation/admin-guide/mm/hugetlbpage.rst. Files of them cannot be written to, only mapped: the zygote
// maps each memfd of huge pages, one after the other, into a window behind the region and fills it there. Shared
// anonymous memory of huge pages looks to CRIU like a memfd, too; it is made as what it is, and opened through
// /proc/self/map_files.

// memfd_create(2), mmap(2): the logarithm of the page size is in six bits of the flags.
const (
	HugeShift    = 26
	hugeSizeMask = 0x3f << HugeShift
	defaultHuge  = 21 // x86-64's, when no size is given
)

// HugeSize is the page size that flags of mmap(2) or memfd_create(2) ask for, bytes.
func HugeSize(flags uint32) uint64 {
	if shift := flags >> HugeShift & 0x3f; shift != 0 {
		return 1 << shift
	}
	return 1 << defaultHuge
}

// maxHuge bounds sizes from the images before sums are made of them: the address space of a task.
const maxHuge = plan.TaskSizeMax

// HugeWindow is the address space that the largest memfd of huge pages needs in the zygote, with room to align it.
func (p *Room) HugeWindow() (size uint64) {
	for _, inode := range p.Dir.Memfds {
		if huge := HugeSize(inode.GetHugetlbFlag()); inode.GetHugetlbFlag() != 0 && inode.GetSize() < maxHuge {
			size = max(size, memory.AlignUp(inode.GetSize(), huge)+huge)
		}
	}
	return size
}

// MakeHugeMemfd makes a file of huge pages.
func (p *Room) MakeHugeMemfd(id uint32, inode *pb.MemfdInodeEntry) {
	what, flags := fmt.Sprintf("memfd %q", inode.GetName()), inode.GetHugetlbFlag()
	huge := HugeSize(flags)
	if flags&^hugeSizeMask != uapi.MfdHugetlb || inode.GetSize()%huge != 0 || inode.GetSize() >= maxHuge {
		p.Refuse(what, "", "%d bytes with flags %#x are not huge pages", inode.GetSize(), flags)
		return
	}
	pieces := p.SharedContents(uint64(inode.GetShmid()), what, inode.GetSize())
	p.needHuge(huge, p.hugePagesOf(id, inode, pieces))
	s, fd := p.Shared, p.Fds.Scratch()
	p.files.Nameless[file.MemfdKey(id)] = fd
	window := memory.AlignUp(p.Window, huge)
	const shared = uapi.MapShared | uapi.MapFixedNoreplace | uapi.MapNoreserve
	anonymous := anonymousHuge(inode) && !p.files.Held[id]
	if anonymous {
		s.Want(int64(window), what, uapi.SysMmap, window, inode.GetSize(), uapi.ProtRead|uapi.ProtWrite,
			uint64(shared|uapi.MapAnonymous|uapi.MapHugetlb|flags&hugeSizeMask), ^uint64(0), 0)
		path := fmt.Sprintf("/proc/self/map_files/%x-%x", window, window+inode.GetSize())
		s.Open(fd, true, what, uapi.SysOpenat, uapi.AtFdcwd, s.Arena.String(path), uapi.ORdwr)
	} else {
		s.Open(fd, true, what, uapi.SysMemfdCreate, s.Arena.String(inode.GetName()),
			uapi.MfdAllowSealing|uint64(flags))
		s.Sys(what, uapi.SysFtruncate, uint64(fd), inode.GetSize())
		if len(pieces) > 0 {
			s.Want(int64(window), what, uapi.SysMmap, window, inode.GetSize(),
				uapi.ProtRead|uapi.ProtWrite, shared,
				uint64(fd), 0)
		}
	}
	m := p.zygoteMemory()
	for _, piece := range pieces {
		m.addRead(window+piece.Vaddr, piece)
	}
	m.emitReads(what, 0)
	if anonymous || len(pieces) > 0 {
		s.Sys(what, uapi.SysMunmap, window, inode.GetSize())
	}
	if !anonymous {
		p.files.OwnMemfd(what, fd, inode)
		p.files.SealMemfd(what, fd, id, inode.GetSeals())
	}
}

// anonymousHuge: what hugetlbfs calls the memory of mmap(2) with MAP_SHARED, MAP_ANONYMOUS and MAP_HUGETLB.
func anonymousHuge(inode *pb.MemfdInodeEntry) bool { return inode.GetName() == "/anon_hugepage" }

// needHuge counts the pages that the plan needs.
func (p *Room) needHuge(size, pages uint64) { p.hugeNeed[size] += pages }

// hugePagesOf is how many pages a memfd will take: those with contents, or all if some mapping reserves them.
func (p *Room) hugePagesOf(id uint32, inode *pb.MemfdInodeEntry, pieces []images.Piece) uint64 {
	huge := HugeSize(inode.GetHugetlbFlag())
	for _, t := range p.Dir.Tasks {
		for _, v := range t.Mm.GetVmas() {
			of := p.Dir.Files[uint32(v.GetShmid())].GetMemfd()
			if v.GetStatus()&images.VmaMemfd != 0 && of.GetInodeId() == id &&
				v.GetFlags()&(uapi.MapShared|uapi.MapNoreserve) == uapi.MapShared {
				return inode.GetSize() / huge
			}
		}
	}
	return ContentPages(pieces, huge)
}

// ContentPages counts the huge pages that have contents.
func ContentPages(pieces []images.Piece, huge uint64) (pages uint64) {
	next := uint64(0)
	for _, piece := range pieces {
		first, end := max(piece.Vaddr/huge, next), memory.AlignUp(piece.End(), huge)/huge
		if end > first {
			pages += end - first
			next = end
		}
	}
	return pages
}

// needHugeFor counts what a part of a private mapping takes: it is reserved as a whole, unless it was not to be.
func (m *space) needHugeFor(v *pb.VmaEntry, part memory.Span) {
	huge := HugeSize(v.GetFlags())
	if v.GetFlags()&uapi.MapNoreserve == 0 {
		m.needHuge(huge, (part.End-part.Start)/huge)
		return
	}
	var inside []images.Piece
	for _, r := range m.runs {
		if start, end := max(r.Vaddr, part.Start), min(r.End(), part.End); start < end {
			inside = append(inside, r.Cut(start, end))
		}
	}
	m.needHuge(huge, ContentPages(inside, huge))
}

// CheckHugePages refuses what the machine has not got: without a page, a task would be killed by SIGBUS.
func (p *Room) CheckHugePages() {
	for _, size := range slices.Sorted(maps.Keys(p.hugeNeed)) {
		need, free := p.hugeNeed[size], p.Host.HugePages(size)
		if need > free {
			p.Refuse("this host", fmt.Sprintf(
				"raise /sys/kernel/mm/hugepages/hugepages-%dkB/nr_hugepages by %d",
				size>>10, need-free),
				"the tasks need %d huge pages of %d KiB, of which %d are free", need, size>>10, free)
		}
	}
}
