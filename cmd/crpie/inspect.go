package main

import (
	"bufio"
	"cmp"
	"debug/elf"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/seccomp"
	"github.com/crpie/crpie/loader"
)

const inspectUsage = "inspect [--format text|json] [--base ADDR] [--core] [--disasm] [--params] FILE.o|- | -D DIR | --archive FILE"

func runInspect(args []string, std streams) int {
	f := flagSet()
	format := f.StringP("format", "f", "text", "Write the result as `FORMAT`, text or json.")
	base := f.String("base", "0x10000000",
		"Lay the object out at `ADDR`, alone; in a restore the core and other plugins come first.")
	core := f.Bool("core", false, "The object need not register hooks.")
	disasm := f.Bool("disasm", false, "List the code as well.")
	params := f.Bool("params", false, "List only what may follow FILE.o in --pie-plugin, as completions read it: "+
		"a parameter, perhaps with a value, a tab and its help on each line.")
	dir := f.StringP("images-dir", "D", "",
		"Show the image directory `DIR`: tasks, threads, memory, files, what was grafted.")
	archive := f.String("archive", "", "Show the images in `FILE`, a container checkpoint or an image of one.")
	var limits archiveLimits
	limits.register(f)
	if status, done := parse(f, inspectManual(), args, std); done {
		return status
	}
	if *dir != "" || *archive != "" {
		return inspectImages(std, imageSource{*dir, *archive, limits.Limits}, *format, f)
	}
	addr, err := strconv.ParseUint(*base, 0, 64)
	switch {
	case err != nil:
		return misuse(std, inspectUsage, "--base %q is not an address", *base)
	case *format != "text" && *format != "json":
		return misuse(std, inspectUsage, "unknown format %q", *format)
	case f.NArg() != 1:
		return misuse(std, inspectUsage, "give one file")
	}
	w := bufio.NewWriter(std.out)
	if *params {
		err = listParams(w, std.in, f.Arg(0))
	} else {
		err = inspect(w, std.in, f.Arg(0), blob.Addr(addr), *core, *format == "json", *disasm)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		complain(std, err)
		return exitFailed
	}
	return exitOK
}

func inspectManual() *manual {
	return &manual{
		usage: inspectUsage,
		about: "Shows hooks, sections, symbols and relocations of an object, or what is in images.",
		examples: "crpie inspect --disasm hook.o\ncrpie inspect -D /tmp/ckpt\n" +
			"crpie inspect --archive ckpt.tar.zst --format json",
	}
}

// inspect lays the plugin out alone and describes the result.
func inspect(w io.Writer, stdin io.Reader, file string, base blob.Addr, core, asJSON, disasm bool) error {
	p, err := loadFrom(stdin, file, loader.Options{Core: core})
	if err != nil {
		return err
	}
	layout, err := blob.NewLayout(p, nil)
	if err != nil {
		return err
	}
	img, err := layout.Relocate(base)
	if err != nil {
		return err
	}
	v := newView(p, img)
	if asJSON {
		return writeJSON(w, v)
	}
	if err := v.text(w); err != nil {
		return err
	}
	if disasm {
		disassemble(w, p, img)
	}
	return nil
}

// view is the answer of crpie inspect; its members are the JSON document. Addresses are for an image of this object
// alone at Base, sizes and offsets are in bytes. Symbols are those of the image, so absolute ones are not among them,
// and relocations those that are applied to it, so those of records and debug information are not.
type view struct {
	SchemaVersion int              `json:"schema_version"`
	Plugin        string           `json:"plugin"`
	File          string           `json:"file"`
	Machine       string           `json:"machine"`
	Base          blob.Addr        `json:"base"`
	Size          uint64           `json:"size"`
	Hooks         []viewHook       `json:"hooks"`
	Params        []viewParam      `json:"params,omitempty"`
	AnyParams     bool             `json:"any_params"` // it declares none and takes any
	Syscalls      []string         `json:"syscalls,omitempty"`
	Imports       []viewImport     `json:"imports,omitempty"`
	Sections      []viewSection    `json:"sections"`
	Symbols       []viewSymbol     `json:"symbols"`
	Relocations   []viewRelocation `json:"relocations"`
	Notes         []jsonViolation  `json:"notes,omitempty"`
}

type viewHook struct {
	Hook     string    `json:"hook"` // or init, exit
	Priority int32     `json:"priority"`
	Address  blob.Addr `json:"address"`
	Function string    `json:"function"`
}

type viewSection struct {
	Name    string    `json:"name"`
	Address blob.Addr `json:"address"`
	Size    uint64    `json:"size"`
	Align   uint64    `json:"align"`
	Prot    string    `json:"prot"`
}

type viewSymbol struct {
	Name    string    `json:"name"`
	Address blob.Addr `json:"address"`
	Size    uint64    `json:"size"`
	Type    string    `json:"type"`
	Bind    string    `json:"bind"`
}

type viewRelocation struct {
	Section string        `json:"section"`
	Offset  loader.Offset `json:"offset"`
	Type    string        `json:"type"`
	Symbol  string        `json:"symbol"`
	Addend  int64         `json:"addend"`
}

// newView makes the document that inspect prints: the object, and where its parts lie in the placed image.
func newView(p *loader.Plugin, img *blob.Image) *view {
	v := &view{SchemaVersion: 1, Plugin: p.Name, File: p.File, Machine: p.Machine.String(), Base: img.Base,
		Size:  img.Size,
		Hooks: []viewHook{}, Notes: jsonViolations(p.Notes)}
	hook := func(name string, priority int32, f loader.Func) {
		if f.Exists() {
			at := img.SectionAddr(-1, f.Section) + blob.Addr(f.Offset)
			v.Hooks = append(v.Hooks, viewHook{name, priority, at, loader.Demangle(f.Symbol)})
		}
	}
	for _, h := range p.Hooks {
		hook(h.ID.String(), h.Priority, h.Fn)
	}
	hook("init", 0, p.Init)
	hook("exit", 0, p.Exit)
	v.Params, v.AnyParams = viewParams(p.Params), !p.DeclaresParams
	v.Syscalls, v.Imports = viewSyscalls(p), viewImports(p)
	v.addSections(p, img)
	v.addSymbols(p, img)
	return v
}

// viewSyscalls names the system calls that a plugin declares.
func viewSyscalls(p *loader.Plugin) (names []string) {
	for _, nr := range p.Syscalls.Numbers {
		names = append(names, seccomp.CallName(p.Machine, nr))
	}
	if p.Syscalls.Computed {
		names = append(names, "others by computed numbers")
	}
	return names
}

// addSections lists sections and relocations. Objects have no section for their GOT: the psABI has linkers make that,
// and here the loader does.
func (v *view) addSections(p *loader.Plugin, img *blob.Image) {
	for i := range p.Sections {
		s := &p.Sections[i]
		v.Sections = append(v.Sections,
			viewSection{s.Name, img.SectionAddr(-1, i), s.Size, s.Align, s.Segment().String()})
		for r := range s.Relocs.All() {
			t := loader.LookupReloc(p.Machine, r.Type)
			v.Relocations = append(v.Relocations,
				viewRelocation{s.Name, r.Offset, t.Name, p.SymbolLabel(r.Symbol), r.Addend})
		}
	}
	if n := len(p.GOT); n > 0 {
		v.Sections = append(v.Sections,
			viewSection{"GOT", img.GOT(-1), uint64(8 * n), 8, loader.ReadOnly.String()})
	}
}

// addSymbols leaves out symbols that have no address in the image, undefined and absolute ones, and symbols of
// sections, which compilers add for relocations (gABI, STT_SECTION).
func (v *view) addSymbols(p *loader.Plugin, img *blob.Image) {
	for i := range p.Symbols {
		s := &p.Symbols[i]
		if s.Section < 0 || s.Name == "" || s.Type == elf.STT_SECTION {
			continue
		}
		at := img.SectionAddr(-1, int(s.Section)) + blob.Addr(s.Value)
		v.Symbols = append(v.Symbols, viewSymbol{loader.Demangle(s.Name), at, s.Size, s.Type.String(),
			s.Bind.String()})
	}
}

// text writes the view as tables.
func (v *view) text(w io.Writer) error {
	fmt.Fprintf(w, "plugin %s for %s, from %s: %d bytes at 0x%x if alone\n", escape.Name(v.Plugin), v.Machine,
		escape.Name(v.File), v.Size, v.Base)
	switch {
	case v.AnyParams:
		fmt.Fprintln(w, "declares no parameters and takes any")
	case len(v.Params) == 0:
		fmt.Fprintln(w, "takes no parameters")
	}
	if len(v.Syscalls) > 0 {
		fmt.Fprintf(w, "system calls: %s\n", strings.Join(v.Syscalls, ", "))
	}
	table := func(title string, rows int, row func(w io.Writer, i int)) error {
		if rows == 0 {
			return nil
		}
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		fmt.Fprintf(t, "\n%s\n", title)
		for i := range rows {
			row(t, i)
		}
		return t.Flush()
	}
	if err := table("HOOK\tPRIORITY\tADDRESS\tFUNCTION", len(v.Hooks), func(w io.Writer, i int) {
		h := v.Hooks[i]
		fmt.Fprintf(w, "%s\t%d\t0x%x\t%s\n", h.Hook, h.Priority, h.Address, h.Function)
	}); err != nil {
		return err
	}
	if err := table("PARAMETER\tVALUE\tDEFAULT\tHELP", len(v.Params), func(w io.Writer, i int) {
		d := &v.Params[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", cmp.Or(d.Name, "-"), d.allowed(), d.otherwise(), d.Help)
	}); err != nil {
		return err
	}
	if err := table("IMPORT\tVERSION\tLIBRARY\tNEEDED", len(v.Imports), func(w io.Writer, i int) {
		in := &v.Imports[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", loader.Demangle(in.Symbol), cmp.Or(in.Version, "-"),
			cmp.Or(in.Library, "(the program)"), in.needed())
	}); err != nil {
		return err
	}
	if err := table("ADDRESS\tSIZE\tALIGN\tPROT\tSECTION", len(v.Sections), func(w io.Writer, i int) {
		s := v.Sections[i]
		fmt.Fprintf(w, "0x%x\t%d\t%d\t%s\t%s\n", s.Address, s.Size, s.Align, s.Prot, escape.Name(s.Name))
	}); err != nil {
		return err
	}
	if err := table("ADDRESS\tSIZE\tTYPE\tBIND\tSYMBOL", len(v.Symbols), func(w io.Writer, i int) {
		s := v.Symbols[i]
		fmt.Fprintf(w, "0x%x\t%d\t%s\t%s\t%s\n", s.Address, s.Size, s.Type, s.Bind, s.Name)
	}); err != nil {
		return err
	}
	if err := table("PLACE\tRELOCATION\tSYMBOL\tADDEND", len(v.Relocations), func(w io.Writer, i int) {
		r := v.Relocations[i]
		fmt.Fprintf(w, "%s+0x%x\t%s\t%s\t%d\n", escape.Name(r.Section), r.Offset, r.Type, r.Symbol, r.Addend)
	}); err != nil {
		return err
	}
	for i, n := range v.Notes {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "note[%s]: %s\n", n.Code, n.Message)
	}
	return nil
}
