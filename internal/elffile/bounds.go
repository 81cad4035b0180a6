package elffile

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"strings"
)

// Bounds of what is read of a file that a process maps, bytes. debug/elf reads as much as the file says, which with
// holes in it can be anything. Linked files have some tens of headers.
const (
	MaxHeaders = 256 << 10 // of segment headers; of section headers and their names
	MaxTables  = 512 << 20 // of symbols, versions, names and relocations
	MaxFrames  = 64 << 20  // of call frame information, unpacked
	MaxDebug   = 512 << 20 // of DWARF, unpacked
	MaxInfo    = 128 << 20 // of .debug_info, which is searched
)

// BoundedHeaders checks what debug/elf reads at once: headers, and the names of sections. It takes the files that an
// x86-64 process maps: of 64 bits, little-endian.
func BoundedHeaders(r io.ReaderAt) error {
	var header elf.Header64
	var names elf.Section64
	at := func(off int64, into any) error {
		return binary.Read(io.NewSectionReader(r, off, int64(binary.Size(into))), binary.LittleEndian, into)
	}
	if err := at(0, &header); err != nil || elf.Class(header.Ident[elf.EI_CLASS]) != elf.ELFCLASS64 ||
		elf.Data(header.Ident[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return errors.New("not an ELF file of 64 bits, little-endian")
	}
	size := func(n, each uint16) uint64 { return uint64(n) * uint64(each) }
	switch {
	case size(header.Phnum, header.Phentsize) > MaxHeaders:
		return errors.New("its segment headers are too large")
	case header.Shoff == 0:
		return nil
	}
	err := at(int64(header.Shoff)+int64(header.Shstrndx)*int64(header.Shentsize), &names)
	switch {
	case err != nil:
		return err
	case header.Shnum == 0:
		return errors.New("its number of sections is not in its header")
	case names.Size > MaxHeaders, names.Size+size(header.Shnum, header.Shentsize) > MaxHeaders,
		elf.SectionFlag(names.Flags)&elf.SHF_COMPRESSED != 0:
		return errors.New("its section headers and their names are too large")
	}
	return nil
}

// BoundedTables reports whether the tables of symbols can be read.
func BoundedTables(file *elf.File) bool {
	left := uint64(MaxTables)
	for _, s := range file.Sections {
		switch s.Type {
		case elf.SHT_SYMTAB, elf.SHT_DYNSYM, elf.SHT_STRTAB, elf.SHT_REL, elf.SHT_RELA, elf.SHT_GNU_VERSYM,
			elf.SHT_GNU_VERNEED, elf.SHT_GNU_VERDEF:
			if s.Size > left {
				return false
			}
			left -= s.Size
		}
	}
	return true
}

// BoundedDWARF reports whether the file has DWARF that can be read. The size of a .zdebug section, which compilers have
// not made since SHF_COMPRESSED, is only in its contents.
func BoundedDWARF(file *elf.File) bool {
	left := uint64(MaxDebug)
	for _, s := range file.Sections {
		switch {
		case strings.HasPrefix(s.Name, ".zdebug_"), s.Name == ".debug_info" && s.Size > MaxInfo:
			return false
		case strings.HasPrefix(s.Name, ".debug_"):
			if s.Size > left {
				return false
			}
			left -= s.Size
		}
	}
	return file.Section(".debug_info") != nil
}
