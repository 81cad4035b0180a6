package graft

import (
	"bytes"
	"io/fs"
	"math"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/memory"
)

// run is new contents: whole pages at an address.
type run struct {
	vaddr uint64
	data  []byte
}

// contents are the pages of the graft that are not zeros, in address order.
func (t *taskGraft) contents() []run {
	runs := []run{{t.at.leave, padded(t.leave, 0xcc)}} // int3
	for _, s := range t.image.Segments {
		if len(s.Data) > 0 {
			runs = append(runs, run{uint64(s.Addr), padded(s.Data, 0)})
		}
	}
	return append(runs, run{t.at.lent, padded(t.lent(), 0)}, run{t.at.arena, padded(t.arena.Contents(), 0)})
}

func padded(data []byte, with byte) []byte {
	full := bytes.Repeat([]byte{with}, int(memory.PageUp(uint64(len(data)))))
	copy(full, data)
	return full
}

// pagemap lists the old pages and the new ones. Contents follow each other in the pages file in the order of addresses,
// so new pages go between old ones, or alone into a file of their own when the rest is in the parent directory.
func (t *taskGraft) pagemap() error {
	pm, added := t.img.Pagemap, t.contents()
	var b bytes.Buffer
	w, err := images.NewWriter(&b, pm.Name, "PAGEMAP")
	if err == nil {
		err = w.Write(&pb.PagemapHead{PagesId: pb.Uint32(pm.PagesID)}, nil)
	}
	if err != nil {
		return err
	}
	split := 0 // the first old run above the graft
	for split < len(pm.Runs) && pm.Runs[split].Vaddr < added[0].vaddr {
		split++
	}
	err = t.oldRuns(w, pm.Runs[:split])
	for _, r := range added {
		if err == nil {
			err = writeRun(w, r.vaddr, uint64(len(r.data)/pageSize), images.PagePresent)
		}
	}
	if err == nil {
		err = t.oldRuns(w, pm.Runs[split:])
	}
	if err == nil {
		err = t.replace(pm.Name, b.Bytes())
	}
	if err != nil {
		return err
	}
	t.pages(added, split)
	return nil
}

// oldRuns writes the dumped runs: as those of the parent directory, if the images have one.
func (t *taskGraft) oldRuns(w *images.Writer, runs []images.Run) error {
	for _, r := range runs {
		flags := r.Flags
		if t.plan.Parent && r.Present() {
			flags = images.PageInParent
		}
		if err := writeRun(w, r.Vaddr, r.Pages, flags); err != nil {
			return err
		}
	}
	return nil
}

// writeRun spells the length in both fields: CRIU before 4.2 knows only the first, later ones prefer the second.
func writeRun(w *images.Writer, vaddr, pages uint64, flags uint32) error {
	const most = math.MaxUint32 &^ 0xff
	for ; pages > most; vaddr, pages = vaddr+most*pageSize, pages-most {
		if err := writeRun(w, vaddr, most, flags); err != nil {
			return err
		}
	}
	return w.Write(&pb.PagemapEntry{
		Vaddr: pb.Uint64(vaddr), CompatNrPages: pb.Uint32(uint32(pages)), Flags: pb.Uint32(flags),
		NrPages: pb.Uint64(pages),
	}, nil)
}

// pages plans the pages file.
func (t *taskGraft) pages(added []run, split int) {
	pm := t.img.Pagemap
	f := File{Name: pm.PagesFile}
	at, total := pm.Bytes(), pm.Bytes()
	if info, err := fs.Stat(t.dir.FS, pm.PagesFile); err == nil {
		total = info.Size() // at least as much, images.Open has seen to it
	}
	for _, r := range pm.Runs[split:] {
		if r.Present() {
			at = r.Offset
			break
		}
	}
	var size int64
	if !t.plan.Parent && at > 0 {
		f.Parts = append(f.Parts, Part{From: pm.PagesFile, Size: at})
	}
	for _, r := range added {
		f.Parts = append(f.Parts, Part{Data: r.data})
		size += int64(len(r.data))
	}
	if !t.plan.Parent {
		if total > at {
			f.Parts = append(f.Parts, Part{From: pm.PagesFile, Offset: at, Size: total - at})
		}
		t.plan.Provenance.Inserted = append(t.plan.Provenance.Inserted, Inserted{pm.PagesFile, at, size, total})
	}
	t.plan.Files = append(t.plan.Files, f)
}
