package elffile

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"slices"

	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/procmaps"
	"github.com/crpie/crpie/internal/uapi"
)

// Program is an executable or a library as a process maps it.
type Program struct {
	From *os.File
	File *elf.File
	Bias uint64 // what is added to the addresses of the file
}

// OpenProgram reads the headers; symbols are read when one is asked for.
func OpenProgram(name string) (*Program, error) {
	f, _, err := files.OpenRegular(name) // whatever the process has put in its place
	if err != nil {
		return nil, err
	}
	p, err := ReadProgram(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// ReadProgram reads the headers of an open file.
func ReadProgram(f *os.File) (*Program, error) {
	if err := BoundedHeaders(f); err != nil {
		return nil, err
	}
	file, err := elf.NewFile(f)
	if err != nil {
		return nil, err
	}
	if !BoundedTables(file) {
		return nil, fmt.Errorf("its symbol tables have more than %d bytes", MaxTables)
	}
	return &Program{From: f, File: file}, nil
}

// SetBase says where the page of the file's first byte is mapped.
func (p *Program) SetBase(base uint64) {
	for _, segment := range p.File.Progs {
		if segment.Type == elf.PT_LOAD {
			p.Bias = base - memory.PageDown(segment.Vaddr-segment.Off)
			return
		}
	}
}

// Function finds a function by its name.
func (p *Program) Function(name string) (addr uint64, found bool, err error) {
	const indirect = 10 // STT_GNU_IFUNC
	for _, table := range []elf.SectionType{elf.SHT_SYMTAB, elf.SHT_DYNSYM} {
		for s := range SymbolsOf(p.File, table).All() {
			switch {
			case string(s.NameBytes()) != name:
			case s.Kind == indirect:
				return 0, false, fmt.Errorf("function %s is chosen when the program starts (IFUNC): "+
					"its symbol names what chooses", name)
			case s.Kind == elf.STT_FUNC || s.Kind == elf.STT_NOTYPE:
				return s.Value + p.Bias, true, nil
			}
		}
	}
	return 0, false, nil
}

// Variable finds a variable that has one of some names.
func (p *Program) Variable(names []string) (addr uint64, found bool) {
	for _, table := range []elf.SectionType{elf.SHT_DYNSYM, elf.SHT_SYMTAB} {
		for s := range SymbolsOf(p.File, table).All() {
			if s.Kind == elf.STT_OBJECT && slices.Contains(names, s.Name()) {
				return s.Value + p.Bias, true
			}
		}
	}
	return 0, false
}

// Close closes the file.
func (p *Program) Close() { p.From.Close() }

// OpenOf opens the executable of a process.
func OpenOf(pid int) (*Program, error) {
	own, err := OpenProgram(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return nil, err
	}
	own.Bias = EntryOf(pid) - own.File.Entry
	return own, nil
}

// EntryOf gives the address at which the program of a process begins; 0: it is not known.
func EntryOf(pid int) uint64 {
	auxv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid))
	return entryOf(auxv)
}

// entryOf finds AT_ENTRY, getauxval(3).
func entryOf(auxv []byte) uint64 {
	const entry, size = 9, 16 // uapi/linux/auxvec.h; of an element
	for ; len(auxv) >= size; auxv = auxv[size:] {
		if binary.LittleEndian.Uint64(auxv) == entry {
			return binary.LittleEndian.Uint64(auxv[8:])
		}
	}
	return 0
}

// InLibraries finds something in the files that a process maps, in the order of their addresses.
func InLibraries(pid int, find func(*Program) (uint64, bool, error)) (addr uint64, found bool, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, false, err
	}
	vmas, err := procmaps.Parse(string(text))
	if err != nil {
		return 0, false, err
	}
	for _, v := range vmas {
		if v.Pgoff != 0 || v.Flags&uapi.MapAnonymous != 0 || v.Name == "" {
			continue
		}
		library, err := OpenProgram(fmt.Sprintf("/proc/%d/root%s", pid, v.Name))
		if err != nil {
			continue // no ELF file
		}
		library.SetBase(v.Start)
		addr, found, err = find(library)
		library.Close()
		if found || err != nil {
			return addr, found, err
		}
	}
	return 0, false, nil
}
