package main

import (
	"debug/elf"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/loader"
)

const inspectUsage = "inspect [--base ADDR] [--core] FILE.o"

func runInspect(args []string, std streams) int {
	f := flagSet()
	base := f.String("base", "0x10000000", "address at which it would lie")
	core := f.Bool("core", false, "the object need not register hooks")
	if status, done := parse(f, inspectUsage, args, std); done {
		return status
	}
	addr, err := strconv.ParseUint(*base, 0, 64)
	switch {
	case err != nil:
		return misuse(std, inspectUsage, "--base %q is no address", *base)
	case f.NArg() != 1:
		return misuse(std, inspectUsage, "give one file")
	}
	p, err := loadFile(f.Arg(0), loader.Options{Core: *core})
	if err == nil {
		err = inspect(std.out, p, blob.Addr(addr))
	}
	if err != nil {
		fmt.Fprintf(std.err, "crpie: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// inspect lays the plugin out alone and describes the result.
func inspect(w io.Writer, p *loader.Plugin, base blob.Addr) error {
	layout, err := blob.NewLayout(p, nil)
	if err != nil {
		return err
	}
	img, err := layout.Place(base)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "plugin %s for %v, from %s\n", p.Name, p.Machine, p.File)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	inspectHooks(t, p, img)
	inspectSections(t, p, img)
	inspectSymbols(t, p, img)
	inspectRelocations(t, p)
	for _, n := range p.Notes {
		fmt.Fprintf(t, "\nnote[%s]: %s", n.Code, n.Message)
	}
	return t.Flush()
}

func inspectHooks(w io.Writer, p *loader.Plugin, img *blob.Image) {
	fmt.Fprintf(w, "\nHOOK\tPRIORITY\tADDRESS\tFUNCTION\n")
	for _, h := range p.Hooks {
		fmt.Fprintf(w, "%v\t%d\t0x%x\t%s\n", h.ID, h.Priority, funcAddr(img, h.Fn), loader.Demangle(h.Fn.Symbol))
	}
	for _, f := range []struct {
		name string
		fn   loader.Func
	}{{"init", p.Init}, {"exit", p.Exit}} {
		if f.fn.Exists() {
			fmt.Fprintf(w, "%s\t\t0x%x\t%s\n", f.name, funcAddr(img, f.fn), loader.Demangle(f.fn.Symbol))
		}
	}
}

func funcAddr(img *blob.Image, f loader.Func) blob.Addr {
	return img.SectionAddr(-1, f.Section) + blob.Addr(f.Offset)
}

func inspectSections(w io.Writer, p *loader.Plugin, img *blob.Image) {
	fmt.Fprintf(w, "\nADDRESS\tSIZE\tALIGN\tPROT\tSECTION\n")
	for i := range p.Sections {
		s := &p.Sections[i]
		fmt.Fprintf(w, "0x%x\t%d\t%d\t%v\t%s\n", img.SectionAddr(-1, i), s.Size, s.Align, s.Segment(), s.Name)
	}
	if n := len(p.GOT); n > 0 {
		fmt.Fprintf(w, "0x%x\t%d\t8\tr--\tGOT of %d slots\n", img.GOT(-1), 8*n, n)
	}
}

func inspectSymbols(w io.Writer, p *loader.Plugin, img *blob.Image) {
	fmt.Fprintf(w, "\nADDRESS\tSIZE\tTYPE\tBIND\tSYMBOL\n")
	for i := range p.Symbols {
		s := &p.Symbols[i]
		if s.Section < 0 || s.Name == "" || s.Type == elf.STT_SECTION {
			continue
		}
		addr := img.SectionAddr(-1, int(s.Section)) + blob.Addr(s.Value)
		fmt.Fprintf(w, "0x%x\t%d\t%v\t%v\t%s\n", addr, s.Size, s.Type, s.Bind, loader.Demangle(s.Name))
	}
}

func inspectRelocations(w io.Writer, p *loader.Plugin) {
	fmt.Fprintf(w, "\nPLACE\tRELOCATION\tSYMBOL\tADDEND\n")
	for i := range p.Sections {
		s := &p.Sections[i]
		for r := range s.Relocs.All() {
			t := loader.LookupReloc(p.Machine, r.Type)
			fmt.Fprintf(w, "%s+0x%x\t%s\t%s\t%d\n", s.Name, r.Offset, t.Name, p.SymbolLabel(r.Symbol), r.Addend)
		}
	}
}
