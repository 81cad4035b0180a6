package backtrace

import (
	"cmp"
	"debug/elf"
	"fmt"
	"os"
	"path"
	"slices"

	"github.com/crpie/crpie/internal/dwarfline"
	"github.com/crpie/crpie/internal/elffile"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/taskview"
	"github.com/crpie/crpie/internal/uapi"
	"github.com/crpie/crpie/loader"
)

// isFile reports whether a mapping is one of a file.
func isFile(m *taskview.VMA) bool { return m.Flags&uapi.MapAnonymous == 0 }

func isCode(m *taskview.VMA) bool { return m.Prot&uapi.ProtExec != 0 }

// object is a file with code, as it is mapped. What cannot be read of it is not known.
type object struct {
	file    *elf.File
	bias    uint64 // what is added to the addresses of the file
	symbols []elffile.Symbol
	frames  []dwarfline.Frames
}

// openObject reads the file of a mapping: the one that is mapped, which has no name any more if it was deleted, and
// takes CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE; or the one that has its name for the process.
func openObject(pid int, m *taskview.VMA) *object {
	o := &object{}
	for _, name := range []string{
		fmt.Sprintf("/proc/%d/map_files/%x-%x", pid, m.Start, m.End), fmt.Sprintf("/proc/%d/root%s", pid, m.Name),
	} {
		f, _, err := files.OpenRegular(name)
		if err != nil {
			continue
		}
		defer f.Close()
		o.read(f, m)
		break
	}
	return o
}

// read takes symbols and the bias.
func (o *object) read(f *os.File, m *taskview.VMA) {
	if elffile.BoundedHeaders(f) != nil {
		return
	}
	file, err := elf.NewFile(f)
	if err != nil || !elffile.BoundedTables(file) {
		return
	}
	for _, segment := range file.Progs {
		first := memory.PageDown(segment.Off)
		if segment.Type == elf.PT_LOAD && m.Pgoff >= first && m.Pgoff < segment.Off+segment.Filesz {
			o.bias = m.Start - m.Pgoff + first - memory.PageDown(segment.Vaddr)
			break
		}
	}
	o.file = file
	for _, table := range []elf.SectionType{elf.SHT_SYMTAB, elf.SHT_DYNSYM} {
		for s := range elffile.SymbolsOf(file, table).All() {
			if s.Size > 0 && (s.Kind == elf.STT_FUNC || s.Kind == elf.STT_GNU_IFUNC) {
				o.symbols = append(o.symbols, s)
			}
		}
	}
	slices.SortStableFunc(o.symbols, func(a, b elffile.Symbol) int {
		return cmp.Or(cmp.Compare(a.Value, b.Value), cmp.Compare(b.Underscores(), a.Underscores()))
	})
	o.frames = framesOf(file)
}

// function finds the function around an address.
func (o *object) function(addr uint64) (name string, offset uint64, ok bool) {
	addr -= o.bias
	after, _ := slices.BinarySearchFunc(o.symbols, addr+1, func(s elffile.Symbol, addr uint64) int {
		return cmp.Compare(s.Value, addr)
	})
	for i := after - 1; i >= 0 && i >= after-16; i-- { // aliases, and symbols within others
		if s := &o.symbols[i]; addr-s.Value < s.Size {
			return loader.Demangle(s.Name()), addr - s.Value, true
		}
	}
	return "", 0, false
}

// framesOf reads call frame information.
func framesOf(file *elf.File) (all []dwarfline.Frames) {
	for _, name := range []string{".eh_frame", ".debug_frame"} {
		s := file.Section(name)
		if s == nil || s.Type == elf.SHT_NOBITS || s.Size > elffile.MaxFrames {
			continue
		}
		if data, err := s.Data(); err == nil {
			all = append(all, dwarfline.Frames{Data: data, Unwind: name == ".eh_frame", StackPointer: stackPointer,
				Address: s.Addr})
		}
	}
	return all
}

// row looks for the row of an address.
func (o *object) row(addr uint64) (row dwarfline.Row, ok bool) {
	addr -= o.bias
	for i := range o.frames {
		o.frames[i].Entries(func(e *dwarfline.Entry) bool {
			if addr < e.Start || addr-e.Start >= e.Length {
				return true
			}
			row, ok = e.Row(addr - e.Start)
			return false
		})
		if ok {
			break
		}
	}
	return row, ok
}

// describe names an address of a mapping: "qsort_r+0x1a in /usr/lib/x86_64-linux-gnu/libc.so.6".
func describe(m *taskview.VMA, o *object, addr uint64) string {
	name := m.Name
	switch {
	case name == "":
		name = "anonymous memory"
	case isFile(m):
		name = escape.Name(path.Clean(name))
	}
	if o != nil {
		if function, offset, ok := o.function(addr); ok {
			return fmt.Sprintf("%s+%#x in %s", function, offset, name)
		}
	}
	return fmt.Sprintf("%s+%#x", name, addr-m.Start+m.Pgoff)
}
