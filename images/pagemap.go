package images

import (
	"fmt"
	"io"
	"io/fs"

	"github.com/crpie/crpie/images/internal/wire"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/memory"
)

// PageSize is the granularity of CRIU's x86-64 images.
const PageSize = memory.PageSize

// Flags of a pagemap entry (https://criu.org/Memory_images).
const (
	PageInParent = 1 << 0 // the contents are in the parent directory
	PageLazy     = 1 << 1 // may be fetched on demand; the contents are here if PagePresent is set too
	PagePresent  = 1 << 2 // the contents are in this directory's pages file
)

// Run is a stretch of pages whose contents lie together.
type Run struct {
	Vaddr  uint64 // of the first page; for a shared memory segment its offset
	Pages  uint64
	Flags  uint32
	Offset int64 // into Pagemap.PagesFile; when not Present, where the next pages present are
}

// End is the first address after the run.
func (r Run) End() uint64 { return r.Vaddr + r.Pages*PageSize }

// Present reports whether the pages are in this directory's pages file at Offset.
func (r Run) Present() bool { return r.Flags&PagePresent != 0 }

// InParent reports whether the pages are to be looked up in the parent directory.
func (r Run) InParent() bool { return r.Flags&PageInParent != 0 }

// Lazy reports whether the dump allowed the pages to be fetched on demand.
func (r Run) Lazy() bool { return r.Flags&PageLazy != 0 }

// Pagemap is the table of contents of one pages file: neighbouring entries of the image merged, in address order.
type Pagemap struct {
	Name      string // pagemap-1234.img
	PagesID   uint32
	PagesFile string // pages-PagesID.img
	Runs      []Run
}

// Bytes is the size of the contents in PagesFile.
func (pm *Pagemap) Bytes() int64 {
	var n int64
	for _, r := range pm.Runs {
		if r.Present() {
			n += int64(r.Pages) * PageSize
		}
	}
	return n
}

// ReadPagemap decodes a pagemap and checks it against the size of its pages file.
func ReadPagemap(fsys fs.FS, name string) (*Pagemap, error) {
	r, err := openFrames(fsys, name)
	if err != nil {
		return nil, &Error{name, -1, plainCause(err)}
	}
	defer r.Close()
	if err := r.wantMagic("PAGEMAP"); err != nil {
		return nil, &Error{name, -1, err}
	}
	pm := &Pagemap{Name: name}
	if err := pm.readHead(r); err != nil {
		return nil, &Error{name, 0, err}
	}
	for entry := 1; ; entry++ {
		data, err := r.next()
		if err == io.EOF {
			return pm, pm.checkPagesFile(fsys)
		}
		if err == nil {
			err = pm.add(data)
		}
		if err != nil {
			return nil, &Error{name, entry, err}
		}
	}
}

// wantMagic reads the magic number, which must be of the kind with a name.
func (r *frameReader) wantMagic(name string) error {
	magic, err := r.magic()
	if err != nil {
		return err
	}
	if kind, _ := kindOf(magic); kind.Name != name {
		return fmt.Errorf("magic 0x%08x does not begin a %s image", magic, name)
	}
	return nil
}

// readHead reads the first entry, which names the pages file.
func (pm *Pagemap) readHead(r *frameReader) error {
	data, err := r.next()
	if err != nil {
		return fmt.Errorf("the head is missing: %w", err)
	}
	head := &pb.PagemapHead{}
	if _, err := Unmarshal(data, head); err != nil {
		return err
	}
	pm.PagesID = head.GetPagesId()
	pm.PagesFile = fmt.Sprintf("pages-%d.img", pm.PagesID)
	return nil
}

// add appends one entry. CRIU writes entries of at most 1 MiB, so neighbours are merged.
func (pm *Pagemap) add(data []byte) error {
	run, err := decodeRun(data)
	if err != nil {
		return err
	}
	var last *Run
	if n := len(pm.Runs); n > 0 {
		last = &pm.Runs[n-1]
	}
	if last != nil && run.Vaddr < last.End() {
		return fieldErr("vaddr", "0x%x lies before the end of the previous entry, 0x%x", run.Vaddr, last.End())
	}
	if last != nil {
		run.Offset = last.Offset
		if last.Present() {
			run.Offset += int64(last.Pages) * PageSize
		}
	}
	if last != nil && last.End() == run.Vaddr && last.Flags == run.Flags {
		last.Pages += run.Pages
		return nil
	}
	pm.Runs = append(pm.Runs, run)
	return nil
}

// decodeRun reads a pagemap_entry straight into a Run: pagemaps are the only long images.
func decodeRun(data []byte) (Run, error) {
	var run Run
	var seen, compat, parent, flags, hasPages uint64
	for len(data) > 0 {
		number, typ, n, err := wire.ConsumeTag(data)
		if err != nil {
			return run, fieldErr("", "bad field tag 0x%02x", data[0])
		}
		data = data[n:]
		if number < 1 || number > 5 {
			return run, fieldErr(fmt.Sprint(number), "unknown: this image is from a newer CRIU")
		}
		if typ != wire.Varint {
			return run, fieldErr(pagemapFields[number], "wire type %d, want %d", typ, wire.Varint)
		}
		value, n, err := wire.ConsumeVarint(data)
		if err != nil {
			return run, fieldErr(pagemapFields[number], "%v", err)
		}
		data = data[n:]
		seen |= 1 << number
		switch number {
		case 1:
			run.Vaddr = value
		case 2:
			compat = uint64(uint32(value))
		case 3:
			parent = value
		case 4:
			flags = uint64(uint32(value))
		case 5:
			hasPages = value
		}
	}
	return finishRun(run, seen, compat, parent, flags, hasPages)
}

var pagemapFields = [...]string{1: "vaddr", 2: "compat_nr_pages", 3: "in_parent", 4: "flags", 5: "nr_pages"}

// finishRun settles old and new spellings: in_parent came before flags, compat_nr_pages before nr_pages.
func finishRun(run Run, seen, compat, parent, flags, pages uint64) (Run, error) {
	switch {
	case seen&(1<<1) == 0:
		return run, fieldErr("vaddr", "missing")
	case seen&(1<<2) == 0:
		return run, fieldErr("compat_nr_pages", "missing")
	case seen&(1<<4) == 0:
		flags = PagePresent
	}
	if parent != 0 {
		flags = flags&^PagePresent | PageInParent
	}
	if seen&(1<<5) == 0 {
		pages = compat
	}
	run.Pages, run.Flags = pages, uint32(flags)
	return run, checkRun(run)
}

// maxAddress is the end of what a task can address: 57 bits with five-level page tables.
const maxAddress = 1 << 56

// checkRun keeps runs within user addresses, so that ends and sums of their pages fit in 64 bits.
func checkRun(run Run) error {
	switch {
	case run.Vaddr%PageSize != 0:
		return fieldErr("vaddr", "0x%x is not a multiple of the page size", run.Vaddr)
	case run.Vaddr >= maxAddress:
		return fieldErr("vaddr", "0x%x is beyond any user address", run.Vaddr)
	case run.Pages == 0:
		return fieldErr("nr_pages", "0")
	case run.Pages > (maxAddress-run.Vaddr)/PageSize:
		return fieldErr("nr_pages", "%d pages from 0x%x end beyond any user address", run.Pages, run.Vaddr)
	case run.Flags&^(PageInParent|PageLazy|PagePresent) != 0:
		return fieldErr("flags", "unknown bits 0x%x", run.Flags&^(PageInParent|PageLazy|PagePresent))
	case run.Flags&PageInParent != 0 && run.Flags&PagePresent != 0:
		return fieldErr("flags", "pages both here and in the parent")
	}
	return nil
}

// checkPagesFile finds a pages file that was cut off, by a full disk perhaps, before anything reads it.
func (pm *Pagemap) checkPagesFile(fsys fs.FS) error {
	need := pm.Bytes()
	if need == 0 {
		return nil
	}
	info, err := fs.Stat(fsys, pm.PagesFile)
	if err != nil {
		return &Error{pm.Name, 0, fmt.Errorf("field pages_id: %s: %w", pm.PagesFile, plainCause(err))}
	}
	if info.Size() < need {
		return &Error{pm.Name, 0, fieldErr("pages_id", "%s has %d bytes, the entries need %d", pm.PagesFile,
			info.Size(), need)}
	}
	return nil
}
