package main

import (
	"cmp"
	"debug/elf"
	"fmt"
	"io"
	"slices"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/loader"
)

// mapLine is one thing at an address.
type mapLine struct {
	addr blob.Addr
	size uint64
	kind string
	name string
}

// writeMap lists everything in the image by address, one per line: address, size, kind, name. Kind is a protection for
// sections, got for the global offset table, sym for symbols.
func writeMap(w io.Writer, p *loader.Plugin, img *blob.Image) error {
	lines := []mapLine{{img.GOT(-1), uint64(8 * len(p.GOT)), "got", "_GLOBAL_OFFSET_TABLE_"}}
	for i := range p.Sections {
		s := &p.Sections[i]
		lines = append(lines, mapLine{img.SectionAddr(-1, i), s.Size, s.Segment().String(),
			fmt.Sprintf("%s [%d]", s.Name, s.Index)})
	}
	for i := range p.Symbols {
		s := &p.Symbols[i]
		if s.Section >= 0 && s.Name != "" && s.Type != elf.STT_SECTION {
			lines = append(lines, mapLine{img.SectionAddr(-1, int(s.Section)) + blob.Addr(s.Value), s.Size,
				"sym", s.Name})
		}
	}
	slices.SortStableFunc(lines, func(a, b mapLine) int { return cmp.Compare(a.addr, b.addr) })
	for _, l := range lines {
		if _, err := fmt.Fprintf(w, "0x%016x %8x %s %s\n", l.addr, l.size, l.kind,
			escape.Name(l.name)); err != nil {
			return err
		}
	}
	return nil
}
