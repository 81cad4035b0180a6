package imagemem

import (
	"encoding/binary"
	"io"
	"slices"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/renew"
	"github.com/crpie/crpie/internal/taskview"
)

// Dumped is the memory of a task as a restore fills it.
type Dumped struct {
	dir    *images.Dir
	task   *images.Task
	vmas   []taskview.VMA
	kinds  []Kind // by mapping
	own    []images.Piece
	shared map[uint64][]images.Piece // by shmid, at offsets
}

// Kind says where a mapping's contents come from.
type Kind int

// The kinds.
const (
	Private    Kind = iota // from the images, else the mapped file's, or zeros
	Shared                 // shared memory of the images, else zeros
	SharedFile             // a file's that the images do not have
	Fresh                  // made anew: zeros
	Kernel                 // the kernel's, or the restorer's own: vDSO, rings
)

// NewDumped finds out where the memory of a task comes from.
func NewDumped(dir *images.Dir, task *images.Task, keep renew.Keep) (*Dumped, error) {
	d := &Dumped{dir: dir, task: task, vmas: taskview.VMAs(dir, task.Mm), shared: map[uint64][]images.Piece{}}
	fresh := renew.Find(dir, task, keep)
	for _, v := range task.Mm.GetVmas() {
		kind := kindOf(v.GetStatus())
		if _, is := fresh[v]; is {
			kind = Fresh
		}
		d.kinds = append(d.kinds, kind)
		if id, pm := v.GetShmid(), dir.Shmem[v.GetShmid()]; kind == Shared && d.shared[id] == nil && pm != nil {
			pieces, err := dir.Pieces(pm)
			if err != nil {
				return nil, err
			}
			d.shared[id] = pieces
		}
	}
	var err error
	d.own, err = dir.Pieces(task.Pagemap)
	return d, err
}

func kindOf(status uint32) Kind {
	switch {
	case status&(images.VmaVdso|images.VmaVvar|images.VmaVsyscall|images.VmaAioRing) != 0:
		return Kernel
	case status&(images.VmaAnonShared|images.VmaSysvIPC) != 0:
		return Shared
	case status&(images.VmaFilePrivate|images.VmaAnonPrivate) != 0:
		return Private
	}
	return SharedFile
}

// Mappings lists the mappings, by address.
func (d *Dumped) Mappings() []taskview.VMA { return d.vmas }

// KindAt says where the contents at an address come from; the address is in a mapping.
func (d *Dumped) KindAt(addr uint64) Kind { return d.kinds[taskview.Index(d.vmas, addr)] }

// Pages lists the parts of a span, which is in one mapping, that the images have pages of.
func (d *Dumped) Pages(span memory.Span) (all []memory.Span) {
	pieces, base := d.piecesOf(taskview.Index(d.vmas, span.Start))
	for _, p := range inside(pieces, span.Start-base, span.End-base) {
		all = append(all, memory.Span{Start: base + p.Vaddr, End: base + p.End()})
	}
	return all
}

// piecesOf gives the pieces of a mapping, and the address that belongs to their 0.
func (d *Dumped) piecesOf(i int) (pieces []images.Piece, base uint64) {
	v := d.task.Mm.GetVmas()[i]
	switch d.kinds[i] {
	case Private:
		return d.own, 0
	case Shared:
		return d.shared[v.GetShmid()], v.GetStart() - v.GetPgoff()
	}
	return nil, 0
}

// inside gives what pieces have from start to end.
func inside(pieces []images.Piece, start, end uint64) (all []images.Piece) {
	first, _ := slices.BinarySearchFunc(pieces, start, func(p images.Piece, at uint64) int {
		if p.End() <= at {
			return -1
		}
		return 1
	})
	for _, p := range pieces[first:] {
		if p.Vaddr >= end {
			break
		}
		all = append(all, p.Cut(max(p.Vaddr, start), min(p.End(), end)))
	}
	return all
}

// Read gives the contents of whole pages, all in one mapping. What the images do not have of a private mapping of a
// file is read from file, which is nil for none.
func (d *Dumped) Read(at uint64, b []byte, file io.ReaderAt) error {
	i := taskview.Index(d.vmas, at)
	clear(b)
	v := &d.vmas[i]
	if file != nil && d.kinds[i] == Private {
		if _, err := file.ReadAt(b, int64(v.Pgoff+at-v.Start)); err != nil && err != io.EOF {
			return err
		}
	}
	pieces, base := d.piecesOf(i)
	for _, p := range inside(pieces, at-base, at-base+uint64(len(b))) {
		contents, err := d.dir.Read(p.Range())
		if err != nil {
			return err
		}
		copy(b[base+p.Vaddr-at:], contents)
	}
	return nil
}

// IsFile reports whether pages that the images do not have are a file's.
func (d *Dumped) IsFile(addr uint64) bool {
	return d.task.Mm.GetVmas()[taskview.Index(d.vmas, addr)].GetStatus()&images.VmaFilePrivate != 0
}

// ReadSome reads memory, as much as lies together; 0 bytes if none is known. now reads what the task has by now: pages
// of files that nobody had written to are in no image.
func (d *Dumped) ReadSome(addr uint64, b []byte, now func(addr uint64, b []byte) int) (n int) {
	page := make([]byte, memory.PageSize)
	for n < len(b) {
		at := addr + uint64(n)
		i, start := taskview.Index(d.vmas, at), memory.PageDown(at)
		if i < 0 || d.kinds[i] == SharedFile || d.kinds[i] == Kernel {
			break
		}
		if d.IsFile(at) && len(d.Pages(memory.Span{Start: start, End: start + memory.PageSize})) == 0 {
			if now(start, page) < len(page) {
				break
			}
		} else if d.Read(start, page, nil) != nil {
			break
		}
		n += copy(b[n:], page[at-start:])
	}
	return n
}

// Action gives the action of a signal as struct sigaction of the kernel; images leave those out that cannot be caught.
func (d *Dumped) Action(sig int) (action [32]byte) {
	actions, index := d.task.Core.GetTc().GetSigactions(), images.SigactionIndex(sig)
	if index < 0 || index >= len(actions) {
		return action
	}
	putAction(action[:], actions[index])
	return action
}

func putAction(b []byte, sa *pb.SaEntry) {
	for i, word := range []uint64{sa.GetSigaction(), sa.GetFlags(), sa.GetRestorer(), sa.GetMask()} {
		binary.LittleEndian.PutUint64(b[8*i:], word)
	}
}
