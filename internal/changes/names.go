package changes

import (
	"bytes"
	"cmp"
	"debug/dwarf"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/crpie/crpie/internal/elffile"
	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/report"
)

// Names tells where addresses of a process lie. Its files are open, so that symbols can be looked for when the process
// goes on.
type Names struct {
	vmas    []taskview.VMA
	mm      taskview.MM
	environ []byte // the block of variables, as it was
	objects map[string]*object
}

// object is a file that is mapped.
type object struct {
	file    *os.File
	base    uint64 // where its first byte is mapped
	program *elffile.Program
	symbols []elffile.Symbol // by address; those that have a size
	found   map[uint64]*dwarfVariable
}

// OpenNames opens the files of a process to which changed memory belongs. environ is the block of variables as it was.
func (d *Diff) OpenNames(pid sys.PID, vmas []taskview.VMA, mm taskview.MM, environ []byte) *Names {
	n := &Names{vmas: vmas, mm: mm, environ: environ, objects: map[string]*object{}}
	for _, c := range d.memory {
		n.open(pid, c.at)
	}
	for _, pointer := range d.pointers {
		n.open(pid, pointer.at)
	}
	return n
}

// open opens the object that an address is in, through the process's own root: its path means nothing outside of its
// mount namespace.
func (n *Names) open(pid sys.PID, addr uint64) {
	v := n.fileBelow(addr)
	if v == nil || n.objects[v.Name] != nil {
		return
	}
	o := &object{}
	for _, first := range n.vmas {
		if first.Name == v.Name && first.Pgoff == 0 {
			o.base = first.Start
			o.file, _, _ = files.OpenRegular(fmt.Sprintf("/proc/%d/root%s", pid, v.Name))
			break
		}
	}
	n.objects[v.Name] = o
}

// fileBelow finds the mapping of a file at an address or before it: memory that is zero at the start comes after the
// file's, and the kernel may call it [heap].
func (n *Names) fileBelow(addr uint64) (found *taskview.VMA) {
	for i := range n.vmas {
		if v := &n.vmas[i]; v.Start > addr {
			break
		} else if strings.HasPrefix(v.Name, "/") && v.Flags&uapi.MapShared == 0 {
			found = v
		}
	}
	return found
}

// Close closes the files.
func (n *Names) Close() {
	for _, o := range n.objects {
		if o.file != nil {
			o.file.Close()
		}
	}
}

// Describe gives changes and pointers the names of symbols and mappings, after the process goes on: reading symbols
// takes longer than the pause may. Then they are in the report.
func (n *Names) Describe(d *Diff) {
	for _, o := range n.objects {
		o.load()
	}
	n.split(d)
	n.wanted(d)
	for _, c := range d.memory {
		n.describeChange(c)
		d.Memory = append(d.Memory, &c.MemoryChange)
	}
	for _, p := range d.pointers {
		if p.at != 0 {
			p.Place, _, _ = n.place(p.at, wordSize)
			p.Address = Address(p.at)
		}
		d.Pointers = append(d.Pointers, &p.Pointer)
	}
}

// load reads the symbols.
func (o *object) load() {
	if o.file == nil {
		return
	}
	program, err := elffile.ReadProgram(o.file)
	if err != nil {
		return
	}
	o.program = program
	o.program.SetBase(o.base)
	for _, table := range []elf.SectionType{elf.SHT_SYMTAB, elf.SHT_DYNSYM} {
		for s := range elffile.SymbolsOf(program.File, table).All() {
			if s.Size > 0 && (s.Kind == elf.STT_OBJECT || s.Kind == elf.STT_FUNC) {
				o.symbols = append(o.symbols, s)
			}
		}
	}
	slices.SortStableFunc(o.symbols, func(a, b elffile.Symbol) int {
		return cmp.Or(cmp.Compare(a.Value, b.Value), cmp.Compare(b.Underscores(), a.Underscores()))
	})
}

// symbol finds the symbol that has an address of the file.
func (o *object) symbol(addr uint64) *elffile.Symbol {
	after := o.firstAfter(addr)
	for i := after - 1; i >= 0 && i >= after-16; i-- { // aliases, and symbols within others
		if s := &o.symbols[i]; addr-s.Value < s.Size {
			return s
		}
	}
	return nil
}

// firstAfter finds the first symbol that begins behind an address.
func (o *object) firstAfter(addr uint64) int {
	after, _ := slices.BinarySearchFunc(o.symbols, addr+1, func(s elffile.Symbol, addr uint64) int {
		return cmp.Compare(s.Value, addr)
	})
	return after
}

// at finds the object and the symbol of an address.
func (n *Names) at(addr uint64) (*object, *elffile.Symbol) {
	v := n.fileBelow(addr)
	if v == nil {
		return nil, nil
	}
	o := n.objects[v.Name]
	if o == nil || o.program == nil {
		return nil, nil
	}
	return o, o.symbol(addr - o.program.Bias)
}

// place tells where memory lies. With a symbol or a variable it also gives its bounds.
func (n *Names) place(addr, size uint64) (where report.Place, start, length uint64) {
	where = report.Place{Mapping: "anonymous"}
	if v := taskview.At(n.vmas, addr); v != nil && v.Name != "" {
		where.Mapping = v.Name
	}
	if variable := n.environmentVariable(addr); variable != "" {
		where.Symbol = "environment variable " + variable
		return where, addr, 0
	}
	o, s := n.at(addr)
	if s == nil {
		return where, addr, 0
	}
	start, length = s.Value+o.program.Bias, s.Size
	where.Symbol = s.Name()
	if off := addr - start; off > 0 {
		where.Symbol = fmt.Sprintf("%s+%d", s.Name(), off)
	}
	if where.Mapping == "anonymous" || where.Mapping == "[heap]" {
		where.Mapping = n.fileBelow(addr).Name
	}
	if variable := o.found[s.Value]; variable != nil {
		path, kind, off, n := variable.member(addr-start, size)
		where.Variable, where.Type = path, kind
		start, length = start+off, n
	}
	return where, start, length
}

// environmentVariable names the variable of the block that the kernel has laid out, execve(2).
func (n *Names) environmentVariable(addr uint64) string {
	if addr < n.mm.EnvStart || addr >= n.mm.EnvStart+uint64(len(n.environ)) {
		return ""
	}
	off := addr - n.mm.EnvStart
	name, _, _ := bytes.Cut(n.environ[bytes.LastIndexByte(n.environ[:off], 0)+1:], []byte("="))
	return string(name)
}

// split gives each variable a change of its own where one change spans several.
func (n *Names) split(d *Diff) {
	var all []*memoryChange
	for _, c := range d.memory {
		for rest := c; rest != nil; all = append(all, c) {
			if len(all) == maxChanges {
				d.Omitted++
				break
			}
			c, rest = rest.cut(n.end(rest.at))
		}
	}
	d.memory = all
}

// end gives the end of what lies at an address: of a variable, or of the gap before the next.
func (n *Names) end(addr uint64) uint64 {
	if n.environmentVariable(addr) != "" {
		off := addr - n.mm.EnvStart
		return addr + uint64(len(n.environ[off:])-len(afterNUL(n.environ[off:])))
	}
	o, s := n.at(addr)
	switch {
	case s != nil:
		return s.Value + s.Size + o.program.Bias
	case o != nil:
		if next := o.firstAfter(addr - o.program.Bias); next < len(o.symbols) {
			return o.symbols[next].Value + o.program.Bias
		}
	}
	return NoAddress
}

// afterNUL gives what follows the first NUL.
func afterNUL(b []byte) []byte {
	_, rest, _ := bytes.Cut(b, []byte{0})
	return rest
}

// describeChange gives a change its place. A small variable is shown as a whole.
func (n *Names) describeChange(c *memoryChange) {
	where, start, length := n.place(c.at, c.Size)
	c.Place = where
	if length > 0 && length <= wordSize && c.before.part(start, length) != nil && c.at+c.Size <= start+length {
		c.at, c.Size = start, length
		c.Place, _, _ = n.place(start, length)
	}
	c.Address = Address(c.at)
	c.Before, c.After = c.before.shown(c.at, c.Size), c.after.shown(c.at, c.Size)
}

func (w *window) shown(at, size uint64) string {
	return hex.EncodeToString(w.part(at, min(size, w.end()-min(at, w.end()), maxShown)))
}

// wanted looks for the variables in DWARF at whose symbols there are changes.
func (n *Names) wanted(d *Diff) {
	starts := map[*object]map[uint64]bool{}
	want := func(addr uint64) {
		if o, s := n.at(addr); s != nil {
			if starts[o] == nil {
				starts[o] = map[uint64]bool{}
			}
			starts[o][s.Value] = true
		}
	}
	for _, c := range d.memory {
		want(c.at)
	}
	for _, p := range d.pointers {
		want(p.at)
	}
	for o, wanted := range starts {
		o.found = variablesAt(o.program.File, wanted)
	}
}

// dwarfVariable is a variable with its type.
type dwarfVariable struct {
	name string
	kind dwarf.Type
}

// variablesAt finds variables by their addresses, in one pass over DWARF, if the file has it.
func variablesAt(file *elf.File, wanted map[uint64]bool) map[uint64]*dwarfVariable {
	if !elffile.BoundedDWARF(file) {
		return nil
	}
	data, err := file.DWARF()
	if err != nil {
		return nil
	}
	types := newTypes(data)
	found := map[uint64]*dwarfVariable{}
	for r := data.Reader(); len(found) < len(wanted); {
		e, err := r.Next()
		if err != nil || e == nil {
			break
		}
		if e.Tag != dwarf.TagVariable {
			continue
		}
		if at, ok := locationOf(e); ok && wanted[at] {
			if v := variableOf(types, e); v != nil {
				found[at] = v
			}
		}
	}
	return found
}

// locationOf reads a location that is an address: DW_OP_addr, DWARF 5, section 2.5.1.1.
func locationOf(e *dwarf.Entry) (addr uint64, ok bool) {
	const opAddr = 0x03
	location, _ := e.Val(dwarf.AttrLocation).([]byte)
	if len(location) != 1+8 || location[0] != opAddr {
		return 0, false
	}
	return binary.LittleEndian.Uint64(location[1:]), true
}

// variableOf reads its name and type, which a declaration may have instead.
func variableOf(types *types, e *dwarf.Entry) *dwarfVariable {
	for range 3 {
		name, _ := e.Val(dwarf.AttrName).(string)
		if at, ok := e.Val(dwarf.AttrType).(dwarf.Offset); ok && name != "" {
			kind, err := types.at(at)
			if err != nil {
				return nil
			}
			return &dwarfVariable{name, kind}
		}
		at, ok := e.Val(dwarf.AttrSpecification).(dwarf.Offset)
		if !ok {
			at, ok = e.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset)
		}
		if !ok {
			return nil
		}
		r := types.data.Reader()
		r.Seek(at)
		next, err := r.Next()
		if err != nil || next == nil {
			return nil
		}
		e = next
	}
	return nil
}

// member finds the smallest part of the variable that has some bytes: its name, its type, where it is and its size.
func (v *dwarfVariable) member(off, size uint64) (path, kind string, start, length uint64) {
	path, t := v.name, v.kind
	for range 32 { // no type is deeper
		inner, name, at := within(t, off-start, size)
		if inner == nil {
			break
		}
		path, t, start = path+name, inner, start+at
	}
	return path, typeName(t), start, uint64(max(t.Size(), 0))
}

// within finds the member or the element that has some bytes of a struct or an array; nil if there is none.
func within(t dwarf.Type, off, size uint64) (inner dwarf.Type, name string, at uint64) {
	switch t := t.(type) {
	case *dwarf.TypedefType:
		return t.Type, "", 0
	case *dwarf.QualType:
		return t.Type, "", 0
	case *dwarf.ArrayType:
		length := uint64(max(t.Type.Size(), 0))
		if length == 0 || off/length != (off+size-1)/length {
			return nil, "", 0
		}
		return t.Type, fmt.Sprintf("[%d]", off/length), off / length * length
	case *dwarf.StructType:
		for _, f := range t.Field {
			start, length := uint64(f.ByteOffset), uint64(max(f.Type.Size(), 0))
			if t.Kind != "union" && f.BitSize == 0 && off >= start && off+size <= start+length {
				return f.Type, "." + f.Name, start
			}
		}
	}
	return nil, "", 0
}
