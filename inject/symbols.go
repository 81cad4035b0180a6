package inject

import (
	"debug/elf"
	"fmt"
	"os"
	"slices"

	"github.com/crpie/crpie/internal/elffile"
	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/memory"
)

// program is an executable or a library as it is mapped.
type program struct {
	from *os.File
	file *elf.File
	bias uint64 // what is added to the addresses of the file
}

// openProgram reads the headers; symbols are read when one is asked for.
func openProgram(name string) (*program, error) {
	f, _, err := files.OpenRegular(name) // whatever the process has put in its place
	if err != nil {
		return nil, err
	}
	p, err := readProgram(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// readProgram reads the headers of an open file.
func readProgram(f *os.File) (*program, error) {
	if err := elffile.BoundedHeaders(f); err != nil {
		return nil, err
	}
	file, err := elf.NewFile(f)
	if err != nil {
		return nil, err
	}
	if !elffile.BoundedTables(file) {
		return nil, fmt.Errorf("its symbol tables have more than %d bytes", elffile.MaxTables)
	}
	return &program{from: f, file: file}, nil
}

// setBase says where the page of the file's first byte is mapped.
func (p *program) setBase(base uint64) {
	for _, segment := range p.file.Progs {
		if segment.Type == elf.PT_LOAD {
			p.bias = base - memory.PageDown(segment.Vaddr-segment.Off)
			return
		}
	}
}

// function finds a function by its name.
func (p *program) function(name string) (addr uint64, found bool, err error) {
	const indirect = 10 // STT_GNU_IFUNC
	for _, table := range []elf.SectionType{elf.SHT_SYMTAB, elf.SHT_DYNSYM} {
		for s := range elffile.SymbolsOf(p.file, table).All() {
			switch {
			case string(s.NameBytes()) != name:
			case s.Kind == indirect:
				return 0, false, fmt.Errorf("function %s is chosen when the program starts (IFUNC): "+
					"its symbol names what chooses", name)
			case s.Kind == elf.STT_FUNC || s.Kind == elf.STT_NOTYPE:
				return s.Value + p.bias, true, nil
			}
		}
	}
	return 0, false, nil
}

// variable finds a variable that has one of some names.
func (p *program) variable(names []string) (addr uint64, found bool) {
	for _, table := range []elf.SectionType{elf.SHT_DYNSYM, elf.SHT_SYMTAB} {
		for s := range elffile.SymbolsOf(p.file, table).All() {
			if s.Kind == elf.STT_OBJECT && slices.Contains(names, s.Name()) {
				return s.Value + p.bias, true
			}
		}
	}
	return 0, false
}

func (p *program) close() { p.from.Close() }
