package mem

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/renew"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/restorer/internal/planner/file"
	"github.com/crpie/crpie/restorer/internal/planner/job"
)

// readerBytes is how much memory is worth one more page reader: what that saves is several times what its start takes.
const readerBytes = 512 << 10

// Space plans the address space of a task in the order that the kernel forces: the vDSO while no other is mapped,
// mappings, contents while they are writable, then protections, advice and locks, and last the addresses of
// PR_SET_MM_MAP, whose executable may be set only now that nothing maps the old one.
func (r *Room) Space(t *job.Process) {
	m := &space{Room: r, Process: t, written: map[uint64]bool{}, renewed: r.renewedOf(t.Img)}
	m.noteRenewed()
	m.collect()
	m.inherit()
	m.vdso()
	m.mapAll()
	m.fill()
	m.makeAio()
	m.protect()
	m.advise()
	m.mmMap()
}

// Room plans memory: what the zygote makes for several tasks, and the address space of each.
type Room struct {
	*job.Job
	files  *file.Room
	shmem  map[uint64]sharedMemory // shared anonymous memory, by shmid
	Window uint64                  // address where the zygote maps huge pages
	// address of this kernel's vDSO, should it not be the dumped one
	VdsoAt    uint64
	sameVDSOs *bool                                  // whether it is, for every task; nil before the first
	aioNeed   uint64                                 // requests that AIO contexts are for
	hugeNeed  map[uint64]uint64                      // pages, by their size
	renewed   map[uint32]map[*pb.VmaEntry]renew.Kind // by pid; see renewedOf
}

// NewRoom prepares the planning of a job's memory.
func NewRoom(j *job.Job, files *file.Room) *Room {
	return &Room{Job: j, files: files, shmem: map[uint64]sharedMemory{}, hugeNeed: map[uint64]uint64{},
		renewed: map[uint32]map[*pb.VmaEntry]renew.Kind{}}
}

type space struct {
	*Room
	*job.Process
	vmas    []*pb.VmaEntry  // to be mapped
	pieces  []images.Piece  // all contents
	runs    []images.Piece  // contents to be read: cut at mappings, outside the vDSO
	written map[uint64]bool // read-only mappings (by start) that get contents
	vdsoVMA []*pb.VmaEntry
	reads   []abi.Run
	bytes   uint64

	renewed  map[*pb.VmaEntry]renew.Kind
	kept     []memory.Span // memory that the task has from its parent
	keptVDSO bool
}

// vmaUprobes is a bit of vma_entry.status that images does not name (CRIU's criu/include/image.h).
const vmaUprobes = 1 << 17

var refusedVMAs = []struct {
	bit  uint32
	what string
}{
	{images.VmaShadowStack, "shadow stack"}, {vmaUprobes, "uprobes area"},
}

// lastingAdvice are the values of madvise(2) that a mapping keeps, each a bit: 0 to 2, and MADV_DONTFORK to
// MADV_KEEPONFORK. Others change contents, or even files.
const lastingAdvice = 1<<0 | 1<<1 | 1<<2 | 0x3ff<<10

// collect sorts the mappings by what has to be done with them.
func (m *space) collect() {
	m.Task.VMAs = taskview.VMAs(m.Dir, m.Img.Mm)
	for _, v := range m.Img.Mm.GetVmas() {
		if bad := v.GetMadv() &^ lastingAdvice; bad != 0 {
			m.Refuse(m.vmaWhere(v), "", "advice %#x (bits of madvise(2)) that does not last: not supported", bad)
		}
		switch status := v.GetStatus(); {
		case status&images.VmaVsyscall != 0: // the kernel's, and in every process
		case status&(images.VmaVdso|images.VmaVvar) != 0:
			m.vdsoVMA = append(m.vdsoVMA, v)
		case status&images.VmaAioRing != 0:
			m.vmas = append(m.vmas, v)
		case status&images.VmaSocket != 0: // mapRings
		case m.refused(v):
		default:
			m.vmas = append(m.vmas, v)
		}
	}
	m.collectRuns()
	m.checkAio()
}

func (m *space) vmaWhere(v *pb.VmaEntry) string {
	return fmt.Sprintf("%s memory %x-%x", m.Where(), v.GetStart(), v.GetEnd())
}

// refused refuses a mapping that cannot be made, and reports whether it did.
func (m *space) refused(v *pb.VmaEntry) bool {
	for _, r := range refusedVMAs {
		if v.GetStatus()&r.bit != 0 {
			m.Refuse(m.vmaWhere(v), "", "%s: not supported", r.what)
			return true
		}
	}
	if v.GetFlags()&uapi.MapHugetlb != 0 && v.GetStatus()&images.VmaAnonShared != 0 {
		m.Refuse(m.vmaWhere(v), "dump with a newer CRIU",
			"shared huge pages that are not a memfd's: not supported")
		return true
	}
	if _, ok := m.shmemOf(v); ok {
		return false
	}
	kinds := uint32(images.VmaFilePrivate | images.VmaFileShared | images.VmaAnonPrivate | images.VmaAnonShared)
	if k := v.GetStatus() & kinds; k == 0 || k&(k-1) != 0 {
		m.Refuse(m.vmaWhere(v), "", "mapping of an unknown kind (status %#x)", v.GetStatus())
		return true
	}
	return false
}

// memfdOf gives the inode behind a mapping with status VMA_AREA_MEMFD.
func (m *space) memfdOf(v *pb.VmaEntry) *pb.MemfdInodeEntry {
	return m.Dir.Memfds[m.Dir.Files[uint32(v.GetShmid())].GetMemfd().GetInodeId()]
}

// shmemOf gives the shmid of the shared anonymous or System V memory that a mapping shows, be it one that looks like a
// memfd.
func (m *space) shmemOf(v *pb.VmaEntry) (shmid uint64, ok bool) {
	switch {
	case v.GetStatus()&(images.VmaAnonShared|images.VmaSysvIPC) != 0:
		return v.GetShmid(), true
	case v.GetStatus()&images.VmaMemfd == 0:
		return 0, false
	}
	inode := m.memfdOf(v)
	return uint64(inode.GetShmid()), file.AnonymousMemfd(inode) && !m.files.Held[uint32(inode.GetInodeId())]
}

// collectRuns takes the page contents that belong to private mappings.
func (m *space) collectRuns() {
	var err error
	if m.pieces, err = m.Dir.Pieces(m.Img.Pagemap); err != nil {
		m.missingPages(m.Where(), err)
		return
	}
	for _, p := range m.pieces {
		for at := p.Vaddr; at < p.End(); {
			v := m.vmaAt(at)
			if v == nil {
				m.Refuse(m.Where(), "", "%s: pages at %#x belong to no mapping", m.Img.Pagemap.Name, at)
				return
			}
			end := min(p.End(), v.GetEnd())
			if v.GetStatus()&(images.VmaVdso|images.VmaVvar) == 0 && m.renewed[v] == 0 {
				m.addRun(v, p.Cut(at, end))
			}
			at = end
		}
	}
}

// missingPages refuses what has pages in none of the directories.
func (p *Room) missingPages(where string, err error) {
	fix := `put back the directory that the link "parent" pointed to`
	if errors.Is(err, images.ErrLazy) {
		fix = "restore it with criu restore --lazy-pages"
	}
	p.Refuse(where, fix, "%v", err)
}

// addRun adds pages that come from the images. Code of a file that is as it stands in the file is mapped from there;
// memory that is not writable becomes so for the time that it is filled.
func (m *space) addRun(v *pb.VmaEntry, p images.Piece) {
	if v.GetProt()&(uapi.ProtWrite|uapi.ProtExec) == uapi.ProtExec && v.GetStatus()&images.VmaFilePrivate != 0 &&
		m.files.NamelessOf(uint32(v.GetShmid())) == "" && m.asInFile(v, p) {
		return
	}
	m.runs = append(m.runs, p)
	if v.GetProt()&uapi.ProtWrite == 0 && v.GetStatus()&images.VmaAioRing == 0 {
		m.written[v.GetStart()] = true
	}
}

// asInFile reports whether dumped pages of code are what the file has anyway. CRIU lends a page of code for the system
// calls that it makes in the task: the kernel copies the page then, and so it is dumped. Not writing it keeps it
// shared.
func (m *space) asInFile(v *pb.VmaEntry, p images.Piece) bool {
	const atMost = 64 // pages worth the comparison
	if p.Pages > atMost {
		return false
	}
	dumped, err := m.Dir.Read(p.Range())
	if err != nil {
		m.Refuse(m.vmaWhere(v), "", "%v", err)
		return false
	}
	file := make([]byte, len(dumped))
	n, err := m.Host.ReadFileAt(m.Dir.VMAName(v), file, int64(v.GetPgoff()+p.Vaddr-v.GetStart()))
	if err != nil && err != io.EOF {
		return false
	}
	clear(file[n:]) // zeros follow the end of a file
	return bytes.Equal(dumped, file)
}

// vmaAt finds the mapping that has an address.
func (m *space) vmaAt(addr uint64) *pb.VmaEntry {
	vmas := m.Img.Mm.GetVmas() // in address order, images.Open has seen to it
	i, found := slices.BinarySearchFunc(vmas, addr, func(v *pb.VmaEntry, a uint64) int {
		switch {
		case v.GetEnd() <= a:
			return -1
		case v.GetStart() > a:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return vmas[i]
}

// contents reads the dumped pages of a small mapping, nil when they are not all there.
func (m *space) contents(v *pb.VmaEntry) []byte {
	var all []byte
	at := v.GetStart()
	for _, p := range m.pieces {
		if p.End() <= at || p.Vaddr > at || at == v.GetEnd() {
			continue
		}
		end := min(p.End(), v.GetEnd())
		b, err := m.Dir.Read(p.Cut(at, end).Range())
		if err != nil {
			m.Refuse(m.vmaWhere(v), "", "%v", err)
			return nil
		}
		all, at = append(all, b...), end
	}
	if at < v.GetEnd() {
		return nil
	}
	return all
}

// mapAll maps everything at its final address, with PROT_WRITE where contents are still to come. The mappings of one
// file share one open.
func (m *space) mapAll() {
	fd := -1
	var open fileKey
	for _, v := range m.mapOrder() {
		if len(m.missing(v)) == 0 {
			continue
		}
		key, isFile := m.fileKey(v)
		if fd >= 0 && (!isFile || key != open) {
			m.Prog.Sys("", uapi.SysClose, uint64(fd))
			fd = -1
		}
		if isFile && fd < 0 {
			fd, open = m.Fds.Scratch(), key
			m.openMapped(v, key, fd)
		}
		for _, part := range m.missing(v) {
			m.mapOne(v, part, fd)
		}
	}
	if fd >= 0 {
		m.Prog.Sys("", uapi.SysClose, uint64(fd))
	}
	m.mapShmem()
}

// fileKey says which open file a mapping needs.
type fileKey struct {
	id    uint32
	flags uint32
}

// fileKey tells with which open file a mapping is made: those with the same file and access mode share a descriptor.
func (m *space) fileKey(v *pb.VmaEntry) (fileKey, bool) {
	if _, shared := m.shmemOf(v); shared || v.GetStatus()&(images.VmaFilePrivate|images.VmaFileShared) == 0 {
		return fileKey{}, false
	}
	flags := uint32(uapi.ORdonly)
	if v.GetStatus()&images.VmaFileShared != 0 {
		// a mapping can be made writable later only if its file was opened for writing, mprotect(2)
		flags = v.GetFdflags() & uapi.OAccmode
		if v.Fdflags == nil && v.GetProt()&uapi.ProtWrite != 0 {
			flags = uapi.ORdwr
		}
	}
	return fileKey{uint32(v.GetShmid()), flags}, true
}

// mapOrder keeps the mappings of one file together; otherwise by address.
func (m *space) mapOrder() []*pb.VmaEntry {
	order := slices.Clone(m.vmas)
	first := map[fileKey]uint64{}
	group := func(v *pb.VmaEntry) uint64 {
		key, isFile := m.fileKey(v)
		if !isFile {
			return v.GetStart()
		}
		if _, seen := first[key]; !seen {
			first[key] = v.GetStart()
		}
		return first[key]
	}
	at := make(map[*pb.VmaEntry]uint64, len(order))
	for _, v := range order {
		at[v] = group(v)
	}
	slices.SortStableFunc(order, func(a, b *pb.VmaEntry) int {
		switch {
		case at[a] < at[b]:
			return -1
		case at[a] > at[b]:
			return 1
		}
		return 0
	})
	return order
}

// openMapped opens a file to be mapped; a memfd that may be written to comes from the descriptor that has made it,
// because opening it anew would ask for its mode.
func (m *space) openMapped(v *pb.VmaEntry, key fileKey, fd int) {
	number, made := m.files.Nameless[m.files.NamelessOf(key.id)]
	if e := m.Dir.Files[key.id].GetMemfd(); e != nil && made && key.flags == uapi.ORdwr { // see filePlanner.memfd
		m.Prog.Open(fd, true, "mapped memfd "+m.Dir.VMAName(v), uapi.SysFcntl, uint64(number), 0, /* F_DUPFD */
			0)
		return
	}
	if path, ok := m.files.PathOf(key.id, m.vmaWhere(v)); ok {
		m.Prog.Open(fd, true, "mapped file "+m.Dir.VMAName(v), uapi.SysOpenat, uapi.AtFdcwd,
			m.Prog.Arena.String(path),
			uint64(key.flags))
	}
}

// mapOne maps a part of a mapping.
func (m *space) mapOne(v *pb.VmaEntry, part memory.Span, fd int) {
	if _, shared := m.shmemOf(v); shared {
		return // mapShmem
	}
	prot := uint64(v.GetProt())
	if m.written[v.GetStart()] {
		prot = uapi.ProtRead | uapi.ProtWrite // and not executable meanwhile
	}
	const kept = uapi.MapPrivate | uapi.MapShared | uapi.MapAnonymous | uapi.MapGrowsdown | uapi.MapNoreserve |
		uapi.MapStack | uapi.MapDroppable | uapi.MapHugetlb
	flags := uint64(v.GetFlags()&kept) | uapi.MapFixedNoreplace
	if v.GetStatus()&images.VmaAioRing != 0 {
		prot, flags = uapi.ProtRead|uapi.ProtWrite, uapi.MapPrivate|uapi.MapAnonymous|uapi.MapFixedNoreplace
	}
	file, pgoff := ^uint64(0), uint64(0)
	if v.GetStatus()&(images.VmaFilePrivate|images.VmaFileShared) != 0 {
		flags &^= uapi.MapAnonymous
		file, pgoff = uint64(fd), v.GetPgoff()+part.Start-v.GetStart()
	}
	if m.renewed[v] == renew.VGetrandom {
		flags = m.droppable()
	}
	if flags&uapi.MapHugetlb != 0 {
		flags |= uint64(v.GetFlags() & hugeSizeMask)
	}
	if flags&uapi.MapHugetlb != 0 && v.GetStatus()&vmaPrivate != 0 {
		m.needHugeFor(v, part)
	}
	m.Prog.Want(int64(part.Start), "", uapi.SysMmap, part.Start, part.End-part.Start, prot, flags, file, pgoff)
}

// fill reads the contents of private mappings: all of new ones, and of inherited ones the pages that differ.
func (m *space) fill() {
	var update []images.Piece
	for _, r := range m.runs {
		for _, part := range split(memory.Span{Start: r.Vaddr, End: r.End()}, m.kept) {
			piece := r.Cut(part.Start, part.End)
			if part.inside {
				update = append(update, piece)
			} else {
				m.addRead(piece.Vaddr, piece)
			}
		}
	}
	readers := m.Opts.Readers
	if readers < 0 {
		readers = m.Host.CPUs - 1
	}
	m.emitReads("memory", min(readers, abi.MaxReaders))
	for _, r := range update {
		m.addRead(r.Vaddr, r)
	}
	m.emitUpdate()
}

// addRead adds pages to those that readers fetch from a pages file, in pieces, so that several threads can share the
// work.
func (m *space) addRead(addr uint64, p images.Piece) {
	const piece = 2 << 20 // what one reader takes at a time
	fd := int64(m.PagesFD(p.Level, p.File))
	for done := uint64(0); done < p.Pages*memory.PageSize; done += piece {
		length := min(piece, p.Pages*memory.PageSize-done)
		m.reads = append(m.reads, abi.Run{Addr: addr + done, Len: length, Off: uint64(p.Offset) + done, FD: fd})
		m.bytes += length
	}
}

// emitReads adds one operation for what addRead has collected.
func (m *space) emitReads(what string, readers int) {
	if len(m.reads) == 0 {
		return
	}
	readers = min(readers, int(m.bytes/readerBytes))
	for i := range readers {
		stack, size := m.Plan.Region.Stack(m.Plan.Region.Slots - abi.MaxReaders + i)
		m.Prog.Sys("stack of a page reader", uapi.SysMprotect, stack, size, uapi.ProtRead|uapi.ProtWrite)
	}
	m.emit(what, func(runs, nr uint64) abi.Operation {
		return abi.ReadPages{Runs: runs, Nr: nr, Readers: uint64(readers)}
	})
}

// emitUpdate adds the operation that compares what addRead has collected with the parent's memory.
func (m *space) emitUpdate() {
	if len(m.reads) == 0 {
		return
	}
	for _, v := range m.vmas {
		if !m.written[v.GetStart()] {
			continue
		}
		for _, part := range split(memory.Span{Start: v.GetStart(), End: v.GetEnd()}, m.kept) {
			if part.inside {
				m.Prog.Sys("writable for a moment", uapi.SysMprotect, part.Start, part.End-part.Start,
					uapi.ProtRead|uapi.ProtWrite)
			}
		}
	}
	m.emit("memory", func(runs, nr uint64) abi.Operation { return abi.UpdatePages{Runs: runs, Nr: nr} })
}

func (m *space) emit(what string, op func(runs, nr uint64) abi.Operation) {
	m.Prog.Core(fmt.Sprintf("%s, %d bytes", what, m.bytes), op(memory.Records(m.Prog.Arena, m.reads),
		uint64(len(m.reads))))
	m.reads, m.bytes = nil, 0
}

// protect takes PROT_WRITE away again.
func (m *space) protect() {
	for _, v := range m.vmas {
		if m.written[v.GetStart()] {
			m.Prog.Sys("", uapi.SysMprotect, v.GetStart(), v.GetEnd()-v.GetStart(), uint64(v.GetProt()))
		}
	}
}

// advise makes guard regions before anything is locked: before Linux 6.15 locked memory could have none.
func (m *space) advise() {
	for _, g := range m.Img.Guards {
		m.Prog.Sys("guard pages", uapi.SysMadvise, g.GetStart(), g.GetEnd()-g.GetStart(), uapi.MadvGuardInstall)
	}
	for _, v := range m.vmas {
		length := v.GetEnd() - v.GetStart()
		for advice := uint64(0); advice < 64; advice++ {
			if m.adviceOf(v)&(1<<advice) != 0 {
				m.Prog.Sys("", uapi.SysMadvise, v.GetStart(), length, advice)
			}
		}
		if v.GetFlags()&uapi.MapLocked != 0 {
			m.lock(v)
		}
	}
}

// lock locks a mapping. mlock(2) says ENOMEM of one that is locked, but of which not every page could be faulted in:
// behind PROT_NONE, beyond the end of a file, in a guard region, and what may only be executed on CPUs with protection
// keys, where the kernel gives it a key that forbids reading (pkeys(7)).
func (m *space) lock(v *pb.VmaEntry) {
	length := v.GetEnd() - v.GetStart()
	guarded := slices.ContainsFunc(m.Img.Guards,
		func(g *pb.VmaEntry) bool { return g.GetStart() < v.GetEnd() && g.GetEnd() > v.GetStart() })
	if guarded || v.GetProt()&(uapi.ProtRead|uapi.ProtWrite) == 0 ||
		v.GetStatus()&(images.VmaFilePrivate|images.VmaFileShared) != 0 {
		m.Prog.Try("", uapi.SysMlock, v.GetStart(), length)
		return
	}
	m.Prog.Sys("", uapi.SysMlock, v.GetStart(), length)
}

// mmMap sets the addresses that /proc shows, the auxiliary vector and the executable, prctl(2) PR_SET_MM_MAP.
func (m *space) mmMap() {
	mm := m.Img.Mm
	m.Task.MM = taskview.MMOf(mm)
	path, ok := m.files.PathOf(mm.GetExeFileId(), m.Where()+" executable")
	if !ok {
		return
	}
	p, fd := m.Prog, -1
	if !m.sameExe() { // it cannot be set while something maps the old one, be it the same, prctl(2)
		fd = m.Fds.Scratch()
		p.Open(fd, true, "executable "+m.files.ShownAs(mm.GetExeFileId()), uapi.SysOpenat, uapi.AtFdcwd,
			p.Arena.String(path), uapi.ORdonly)
	}
	v, auxv := &m.Task.MM, mm.GetMmSavedAuxv()
	prctlMap := p.Arena.Words(v.StartCode, v.EndCode, v.StartData, v.EndData, v.StartBrk, v.Brk, v.StartStack,
		v.ArgStart, v.ArgEnd, v.EnvStart, v.EnvEnd, p.Arena.Words(auxv...),
		uint64(uint32(fd))<<32|uint64(8*len(auxv)))
	const prctlMapSize = 104
	p.Sys("addresses and executable", uapi.SysPrctl, uapi.PrSetMM, uapi.PrSetMMMap, prctlMap, prctlMapSize)
	if fd >= 0 {
		p.Sys("", uapi.SysClose, uint64(fd))
	}
}
