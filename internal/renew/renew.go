// Package renew finds memory that two processes must not have in common: the state of the vDSO's getrandom, and what
// its owner has marked to be wiped in a forked child. A restored process is a copy like a child. Pure: images in, an
// answer out.
package renew

import (
	"encoding/binary"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/uapi"
)

// Kind says why a mapping is to be made anew.
type Kind int

// The kinds.
const (
	// state of the vDSO's getrandom: fresh memory that the kernel may drop, MAP_DROPPABLE of mmap(2)
	VGetrandom Kind = iota + 1
	WipeOnFork      // MADV_WIPEONFORK of madvise(2): zeros
)

// Keep are the kinds that stay as they were dumped.
type Keep struct{ VGetrandom, WipeOnFork bool }

// Bits of vma_entry.madv, which are the values of madvise(2).
const (
	Dontdump = 1 << uapi.MadvDontdump
	Wipe     = 1 << uapi.MadvWipeonfork
)

const protReadWrite = uapi.ProtRead | uapi.ProtWrite

// Find gives the mappings of a task that are to be made anew. CRIU 4.2 dumps the flags that say so; older ones forget
// them, and there states of getrandom are known by their contents: see states. Pages that cannot be read are left to
// the restorer.
func Find(dir *images.Dir, task *images.Task, keep Keep) map[*pb.VmaEntry]Kind {
	found := map[*pb.VmaEntry]Kind{}
	var pieces []images.Piece
	for _, v := range task.Mm.GetVmas() {
		switch {
		case v.GetStatus()&images.VmaAnonPrivate == 0:
		case v.GetFlags()&uapi.MapType == uapi.MapDroppable:
			found[v] = VGetrandom
		case v.GetMadv()&Wipe != 0:
			if !keep.WipeOnFork {
				found[v] = WipeOnFork
			}
		case !keep.VGetrandom && mayBeStates(v):
			if pieces == nil {
				pieces, _ = dir.Pieces(task.Pagemap)
			}
			if states(contents(dir, pieces, v)) {
				found[v] = VGetrandom
			}
		}
	}
	return found
}

// maxStates bounds a mapping of states, bytes: 21 threads' are a page.
const maxStates = 1 << 20

// mayBeStates reports whether a mapping looks as CRIU before 4.2 dumps droppable memory: it knows of the flags that
// the kernel adds, and takes the kind for private. Hardly anything else has just these.
func mayBeStates(v *pb.VmaEntry) bool {
	return v.GetStatus() == images.VmaRegular|images.VmaAnonPrivate && v.GetProt() == protReadWrite &&
		v.GetMadv() == Dontdump &&
		v.GetFlags() == uapi.MapPrivate|uapi.MapAnonymous|uapi.MapNoreserve &&
		v.GetEnd()-v.GetStart() <= maxStates
}

const pageSize = memory.PageSize

// contents gives the dumped pages of a mapping.
func contents(dir *images.Dir, pieces []images.Piece, v *pb.VmaEntry) (pages [][]byte) {
	for _, p := range pieces {
		start, end := max(p.Vaddr, v.GetStart()), min(p.End(), v.GetEnd())
		if start >= end {
			continue
		}
		b, err := dir.Read(p.Cut(start, end).Range())
		if err != nil {
			return nil
		}
		for ; len(b) >= pageSize; b = b[pageSize:] {
			pages = append(pages, b[:pageSize])
		}
	}
	return pages
}

// Layout of a state, struct vgetrandom_state of include/vdso/getrandom.h (Linux 6.11): a batch of random bytes, a
// key, the generation of the kernel's generator, the position in the batch, and whether it is in use. glibc 2.41 and
// Go 1.24 round 144 bytes to cache lines; none crosses a page.
const (
	batchSize  = 96
	keyEnd     = 128
	posOff     = 136
	inUseOff   = 137
	stateSize  = 138
	stride     = 192
	everyState = pageSize / stride * stride
)

// states reports whether pages hold states of getrandom and nothing else: every slot of every page must be one, at
// least one in use since boot.
func states(pages [][]byte) bool {
	used := false
	for _, page := range pages {
		for at := 0; at < everyState; at += stride {
			slot := page[at : at+stride]
			if !state(slot) {
				return false
			}
			used = used || !zero(slot)
		}
		if !zero(page[everyState:]) {
			return false
		}
	}
	return used
}

// state reports whether a slot is all zeros, or a state that has been used: with a generation, which counts from 1
// about once a minute since boot, a key, and zeros in the place of the bytes that were handed out, unless a thread is
// just at it.
func state(b []byte) bool {
	generation, pos, inUse := binary.LittleEndian.Uint64(b[keyEnd:]), b[posOff], b[inUseOff]
	switch {
	case zero(b):
		return true
	case generation == 0 || generation >= 1<<32 || pos > batchSize || inUse > 1 || !zero(b[stateSize:]):
		return false
	case inUse == 1:
		return true
	}
	return !zero(b[batchSize:keyEnd]) && zero(b[:pos])
}

// zero reports whether all bytes are 0.
func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
