package images

import (
	"errors"
	"fmt"
	"io/fs"
	"sort"
)

// An incremental dump (criu dump --prev-images-dir) leaves pages that have not changed where they are: in the directory
// that its link "parent" points to, or further up (https://criu.org/Incremental_dumps). `criu dedup` then punches holes
// where a parent's pages files have contents that no pagemap refers to any more.

// Piece is a stretch of page contents and where to read it: in the pages file of the directory itself (Level 0), of its
// parent (1), and so on.
type Piece struct {
	Vaddr  uint64
	Pages  uint64
	Level  int
	File   string
	Offset int64
}

// End is the first address after the piece.
func (p Piece) End() uint64 { return p.Vaddr + p.Pages*PageSize }

// Cut gives the part of the piece from start to end, which are page addresses inside it.
func (p Piece) Cut(start, end uint64) Piece {
	p.Offset += int64(start - p.Vaddr)
	p.Vaddr, p.Pages = start, (end-start)/PageSize
	return p
}

// Range is where the contents are.
func (p Piece) Range() Range {
	return Range{Level: p.Level, File: p.File, Offset: p.Offset, Size: int64(p.Pages * PageSize)}
}

// Read reads a range of one of the files of the directory or its parents.
func (d *Dir) Read(at Range) ([]byte, error) {
	of := d
	for range at.Level {
		if of = of.Parent; of == nil {
			return nil, fmt.Errorf("images %s: there is no parent directory of level %d", at.File, at.Level)
		}
	}
	return ReadRange(of.FS, at)
}

// ErrLazy is why pages are nowhere that were to be fetched on demand from the process that was dumped.
var ErrLazy = errors.New("a lazy dump")

// Pieces resolves a pagemap through the chain of parents. Pages that are nowhere are an error; there are at most as
// many pieces as the pagemaps of all levels have runs.
func (d *Dir) Pieces(pm *Pagemap) ([]Piece, error) {
	c := chain{pieces: make([]Piece, 0, len(pm.Runs))}
	for i, run := range pm.Runs {
		if err := c.add(d, pm, run, 0); err != nil {
			return nil, &Error{pm.Name, -1, fmt.Errorf("run %d: %w", i, err)}
		}
	}
	return c.pieces, nil
}

// chain resolves one pagemap.
type chain struct {
	above  []*Pagemap // of the parents, as far as they were needed
	pieces []Piece
}

// add resolves a run of pm, the pagemap of d, which is level directories up.
func (c *chain) add(d *Dir, pm *Pagemap, run Run, level int) error {
	switch {
	case run.Present():
		c.pieces = append(c.pieces, Piece{run.Vaddr, run.Pages, level, pm.PagesFile, run.Offset})
		return nil
	case !run.InParent():
		return fmt.Errorf("%d pages at 0x%x are in no pages file: %w", run.Pages, run.Vaddr, ErrLazy)
	case d.Parent == nil:
		return fmt.Errorf("%d pages at 0x%x are in the parent directory, which is missing", run.Pages,
			run.Vaddr)
	}
	above, err := c.pagemap(d.Parent.FS, pm.Name, level)
	if err != nil {
		return fmt.Errorf("parent directory: %w", err)
	}
	at := run.Vaddr
	for _, r := range above.overlapping(run) {
		if r.Vaddr != at {
			break
		}
		if err := c.add(d.Parent, above, r, level+1); err != nil {
			return err
		}
		at = r.End()
	}
	if at != run.End() {
		return fmt.Errorf("the parent's %s has no page 0x%x", above.Name, at)
	}
	return nil
}

// pagemap reads the pagemap of that name in the parent of a level, once.
func (c *chain) pagemap(fsys fs.FS, name string, level int) (*Pagemap, error) {
	if level < len(c.above) {
		return c.above[level], nil
	}
	pm, err := ReadPagemap(fsys, name)
	if err != nil {
		return nil, err
	}
	c.above = append(c.above, pm)
	return pm, nil
}

// overlapping returns the parts of pm's runs that lie within want.
func (pm *Pagemap) overlapping(want Run) []Run {
	var parts []Run
	for _, r := range pm.Runs[pm.firstEndingAfter(want.Vaddr):] {
		if r.Vaddr >= want.End() {
			break
		}
		if cut := want.Vaddr; r.Vaddr < cut {
			if r.Present() {
				r.Offset += int64(cut - r.Vaddr)
			}
			r.Pages -= (cut - r.Vaddr) / PageSize
			r.Vaddr = cut
		}
		if r.End() > want.End() {
			r.Pages = (want.End() - r.Vaddr) / PageSize
		}
		parts = append(parts, r)
	}
	return parts
}

func (pm *Pagemap) firstEndingAfter(addr uint64) int {
	return sort.Search(len(pm.Runs), func(i int) bool { return pm.Runs[i].End() > addr })
}
