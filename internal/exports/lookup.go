package exports

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Symbol is a function or a variable of a file.
type Symbol struct {
	Value, Size uint64 // its address in the file, what it takes
	Function    bool   // or of no type, as assembly may leave it
	Exported    bool   // the dynamic linker knows it
}

// Absent says why a file has no symbol that has an address: another build of it may have one.
type Absent struct{ Why string }

// ErrOtherFile reports a file that is not what the process maps.
var ErrOtherFile = errors.New("it is not the file that was there at dump time")

func (a *Absent) Error() string { return a.Why }

func absentf(format string, args ...any) error { return &Absent{fmt.Sprintf(format, args...)} }

// table is a table of symbols with their names and versions.
type table struct {
	symbols  []byte
	names    string
	versions []byte            // .gnu.version: 16 bits for each symbol; nil: it has none
	named    map[uint16]string // versions by number
	missing  bool
}

// candidate is a symbol of the name that is looked for.
type candidate struct {
	Symbol
	kind    elf.SymType
	local   bool
	number  uint16 // of its version
	version string
	hidden  bool // of an old version, to which nothing new is linked
}

// Lookup finds a symbol: one that is exported, else a static one, if the file has their names. With a version it is
// one that is exported with that. What it does not find is an *Absent.
func (f *File) Lookup(name, version string) (Symbol, error) {
	t, err := f.exported()
	if err != nil {
		return Symbol{}, err
	}
	found, used := t.find(name)
	if len(found) > 0 {
		found, err = ofVersion(found, version)
	}
	if err == nil && len(found) == 0 && version != "" {
		err = absentf("it exports no such symbol")
	}
	if err == nil && len(found) == 0 {
		found, err = f.lookupStatic(name, used)
	}
	if err != nil {
		return Symbol{}, err
	}
	return f.judge(found)
}

// lookupStatic looks among the names of symbols that linking does not need; used says that the file itself takes the
// symbol from another one.
func (f *File) lookupStatic(name string, used bool) ([]candidate, error) {
	t, err := f.unexported()
	if err != nil {
		return nil, err
	}
	found, _ := t.find(name)
	switch {
	case len(found) > 0:
		if global := slices.DeleteFunc(slices.Clone(found), func(c candidate) bool { return c.local }); len(
			global,
		) > 0 {
			found = global
		}
		return found, nil
	case used:
		return nil, absentf("it uses that symbol, which is another file's")
	case t.missing:
		return nil, absentf("it exports no such symbol, and the names of others are stripped")
	}
	return nil, absentf("it has no such symbol")
}

// judge takes the one symbol that is meant, if it is a place.
func (f *File) judge(found []candidate) (Symbol, error) {
	s := found[0]
	for _, other := range found[1:] {
		if other.Value != s.Value {
			return Symbol{}, fmt.Errorf("it has several such symbols, at %#x and %#x", s.Value, other.Value)
		}
	}
	const indirect = 10 // STT_GNU_IFUNC
	switch {
	case s.kind == elf.STT_TLS:
		return Symbol{}, absentf(
			"it is a variable that each thread has for itself (TLS), which has no one address",
		)
	case s.kind == indirect:
		return Symbol{}, absentf("it is chosen when the program starts (IFUNC): its symbol names what chooses")
	case s.kind != elf.STT_FUNC && s.kind != elf.STT_OBJECT && s.kind != elf.STT_NOTYPE:
		return Symbol{}, absentf("it is neither a function nor a variable")
	case !f.loads(s.Value):
		return Symbol{}, fmt.Errorf("its address %#x is in no segment of the file", s.Value)
	}
	return s.Symbol, nil
}

// loads reports whether an address of the file is in memory.
func (f *File) loads(addr uint64) bool {
	return slices.ContainsFunc(
		f.Segments,
		func(s elf.Prog64) bool { return addr >= s.Vaddr && addr-s.Vaddr < s.Memsz },
	)
}

// ofVersion leaves those of a version, or without one those to which programs are linked now.
func ofVersion(found []candidate, version string) ([]candidate, error) {
	all := found
	found = slices.DeleteFunc(slices.Clone(all), func(c candidate) bool {
		return version != "" && c.version != version || version == "" && c.hidden
	})
	switch {
	case len(found) > 0:
		return found, nil
	case version == "" && len(all) == 1:
		return all, nil
	}
	there, more := versionsOf(all)
	switch {
	case len(there) == 0:
		return nil, absentf("it exports the symbol without versions")
	case version == "":
		return nil, fmt.Errorf("it exports only old versions of the symbol: say which, @%s%s",
			strings.Join(there, ", @"), more)
	}
	return nil, absentf("it exports the symbol with version %s%s", strings.Join(there, ", "), more)
}

// versionsOf lists the versions to show, sorted; more is what is said of others.
func versionsOf(all []candidate) (there []string, more string) {
	const shown = 8 // a file may have 32767
	seen := map[uint16]bool{}
	for _, c := range all {
		if c.version == "" || seen[c.number] {
			continue
		}
		if len(there) == shown {
			more = ", and others"
			break
		}
		seen[c.number] = true
		there = append(there, c.version)
	}
	slices.Sort(there)
	return slices.Compact(there), more
}

// maxSame bounds the symbols of one name: a file has at most one for each version number.
const maxSame = 1 << 16

// find lists the symbols of a name that the file itself defines; used reports whether it takes one from another file.
func (t *table) find(name string) (found []candidate, used bool) {
	for i := 0; (i+1)*symbolSize <= len(t.symbols) && len(found) < maxSame; i++ {
		b := t.symbols[i*symbolSize:]
		if !isName(t.names, uint64(binary.LittleEndian.Uint32(b)), name) {
			continue
		}
		section := elf.SectionIndex(binary.LittleEndian.Uint16(b[6:]))
		if section == elf.SHN_UNDEF {
			used = true
			continue
		}
		if section == elf.SHN_ABS {
			continue // a number
		}
		kind := elf.ST_TYPE(b[4])
		c := candidate{kind: kind, local: elf.ST_BIND(b[4]) == elf.STB_LOCAL, Symbol: Symbol{
			Value: binary.LittleEndian.Uint64(b[8:]), Size: binary.LittleEndian.Uint64(b[16:]),
			Function: kind != elf.STT_OBJECT, Exported: t.named != nil}}
		t.addVersion(&c, i)
		found = append(found, c)
	}
	return found, used
}

// addVersion says of which version a symbol is, and whether that is an old one.
func (t *table) addVersion(c *candidate, index int) {
	if len(t.versions) < 2*(index+1) {
		return
	}
	const hidden = 0x8000 // VERSYM_HIDDEN
	number := binary.LittleEndian.Uint16(t.versions[2*index:])
	c.number = number &^ hidden
	c.version, c.hidden = t.named[c.number], number&hidden != 0
}

// exported reads the symbols that the dynamic linker knows.
func (f *File) exported() (*table, error) {
	if f.dynamic != nil {
		return f.dynamic, nil
	}
	t, err := f.table(elf.SHT_DYNSYM)
	if err != nil {
		return nil, err
	}
	t.named = map[uint16]string{}
	const versym, verdef = elf.SHT_GNU_VERSYM, elf.SHT_GNU_VERDEF
	if s := f.section(versym); s != nil {
		if t.versions, err = f.contents(s); err != nil {
			return nil, fmt.Errorf("its versions: %w", err)
		}
	}
	if s := f.section(verdef); s != nil {
		if err := f.nameVersions(t, s); err != nil {
			return nil, fmt.Errorf("its versions: %w", err)
		}
	}
	f.dynamic = t
	return t, nil
}

// unexported reads the symbols that only linkers and debuggers need.
func (f *File) unexported() (*table, error) {
	if f.static != nil {
		return f.static, nil
	}
	t, err := f.table(elf.SHT_SYMTAB)
	f.static = t
	return t, err
}

// table reads a table of symbols.
func (f *File) table(kind elf.SectionType) (*table, error) {
	s := f.section(kind)
	if s == nil {
		return &table{missing: true}, nil
	}
	symbols, err := f.contents(s)
	if err != nil {
		return nil, fmt.Errorf("its symbols: %w", err)
	}
	names, err := f.linked(s)
	if err != nil {
		return nil, fmt.Errorf("its symbols: %w", err)
	}
	return &table{symbols: symbols, names: names}, nil
}

// nameVersions reads the versions that the file defines: a list of Elf64_Verdef, whose first Elf64_Verdaux has the
// name; the first entry of a number counts. Each says how far it is to the next one; a list that does not go forward
// ends.
func (f *File) nameVersions(t *table, s *elf.Section64) error {
	raw, err := f.contents(s)
	if err != nil {
		return err
	}
	names, err := f.linked(s)
	if err != nil {
		return err
	}
	const verdef, verdaux = 20, 8
	for at := uint64(0); at+verdef <= uint64(len(raw)); {
		entry := raw[at:]
		aux := at + uint64(binary.LittleEndian.Uint32(entry[12:]))
		number := binary.LittleEndian.Uint16(entry[4:])
		if _, known := t.named[number]; !known && aux+verdaux <= uint64(len(raw)) {
			t.named[number], _ = nameAt(names, uint64(binary.LittleEndian.Uint32(raw[aux:])))
		}
		next := uint64(binary.LittleEndian.Uint32(entry[16:]))
		if next < verdef {
			break
		}
		at += next
	}
	return nil
}

// Exported finds a variable that the dynamic linker knows, of the current version.
func (f *File) Exported(name string) (Symbol, error) {
	t, err := f.exported()
	if err != nil {
		return Symbol{}, err
	}
	found, _ := t.find(name)
	if len(found) == 0 {
		return Symbol{}, absentf("it exports no such symbol")
	}
	if found, err = ofVersion(found, ""); err != nil {
		return Symbol{}, err
	}
	return f.judge(found)
}

// FunctionAt gives the name of the function that begins at an address of the file; "" if none is known.
func (f *File) FunctionAt(value uint64) string {
	for _, read := range []func() (*table, error){f.exported, f.unexported} {
		t, err := read()
		for i := 0; err == nil && (i+1)*symbolSize <= len(t.symbols); i++ {
			b := t.symbols[i*symbolSize:]
			if elf.ST_TYPE(b[4]) == elf.STT_FUNC && binary.LittleEndian.Uint64(b[8:]) == value &&
				elf.SectionIndex(binary.LittleEndian.Uint16(b[6:])) != elf.SHN_UNDEF {
				name, _ := nameAt(t.names, uint64(binary.LittleEndian.Uint32(b)))
				return name
			}
		}
	}
	return ""
}
