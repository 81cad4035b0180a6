package exports

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of what is read of a file, which may say anything, bytes. The largest .symtab seen, of a browser with debug
// symbols, has 60 MB.
const (
	maxHeaders = 1 << 20
	maxTable   = 128 << 20
	maxAll     = 1 << 30 // of all files of a plan
	maxName    = 4096    // a symbol's name; those of C++ templates have up to 3,000
	chunk      = 1 << 20 // as much as is asked for at once: a table is as long as the file really is
)

// Sizes of what elf(5) describes, bytes.
const (
	headerSize  = 64
	segmentSize = 56
	sectionSize = 64
	symbolSize  = 24
	dynamicSize = 16
)

// File is a linked ELF file: its segments, and where its tables of symbols are.
type File struct {
	from     io.ReaderAt
	Segments []elf.Prog64 // those that are loaded, PT_LOAD
	sections []elf.Section64

	soname          *string           // once it has been asked for
	strings         map[uint32]string // tables of names that have been read, by section
	dynamic, static *table            // read when one is asked for
}

// Read reads the headers of a file.
func Read(r io.ReaderAt) (*File, error) {
	head, err := bytesAt(r, 0, headerSize, headerSize)
	if err != nil {
		return nil, fmt.Errorf("its header: %w", err)
	}
	var h elf.Header64
	if _, err := binary.Decode(head, binary.LittleEndian, &h); err != nil {
		return nil, err
	}
	switch {
	case string(h.Ident[:4]) != elf.ELFMAG, elf.Class(h.Ident[elf.EI_CLASS]) != elf.ELFCLASS64,
		elf.Data(h.Ident[elf.EI_DATA]) != elf.ELFDATA2LSB:
		return nil, errors.New("not an ELF file of 64 bits, little-endian")
	case elf.Type(h.Type) != elf.ET_DYN && elf.Type(h.Type) != elf.ET_EXEC:
		return nil, errors.New("neither a program nor a shared object")
	case h.Phnum == 0 || h.Phentsize != segmentSize:
		return nil, errors.New("its segment headers are damaged")
	}
	f := &File{from: r, strings: map[uint32]string{}}
	segments, err := records[elf.Prog64](r, h.Phoff, uint64(h.Phnum), segmentSize)
	if err != nil {
		return nil, fmt.Errorf("its segment headers: %w", err)
	}
	for _, s := range segments {
		if elf.ProgType(s.Type) == elf.PT_LOAD {
			f.Segments = append(f.Segments, s)
		}
	}
	if h.Shoff == 0 || h.Shentsize != sectionSize {
		return f, nil // sstrip(1)
	}
	if f.sections, err = records[elf.Section64](r, h.Shoff, uint64(h.Shnum), sectionSize); err != nil {
		return nil, fmt.Errorf("its section headers: %w", err)
	}
	return f, nil
}

// records decodes an array of headers.
func records[T any](r io.ReaderAt, at, n, size uint64) ([]T, error) {
	raw, err := bytesAt(r, at, n*size, maxHeaders<<2)
	if err != nil {
		return nil, err
	}
	all := make([]T, n)
	_, err = binary.Decode(raw, binary.LittleEndian, all)
	return all, err
}

// bytesAt reads what a file has at an offset. What is allocated follows what is there, not what the file says.
func bytesAt(r io.ReaderAt, at, size, most uint64) ([]byte, error) {
	if size > most {
		return nil, fmt.Errorf("%d bytes, more than %d", size, most)
	}
	if at > 1<<62 {
		return nil, fmt.Errorf("offset %#x is beyond the end of any file", at)
	}
	all := make([]byte, 0, min(size, chunk))
	for uint64(len(all)) < size {
		n := int(min(size-uint64(len(all)), chunk))
		all = append(all, make([]byte, n)...)
		got, err := r.ReadAt(all[len(all)-n:], int64(at)+int64(len(all)-n))
		if got < n {
			if err == nil || err == io.EOF {
				err = fmt.Errorf("the file ends before %#x", at+size)
			}
			return nil, err
		}
	}
	return all, nil
}

// section finds the first section of a type.
func (f *File) section(kind elf.SectionType) *elf.Section64 {
	for i := range f.sections {
		if elf.SectionType(f.sections[i].Type) == kind {
			return &f.sections[i]
		}
	}
	return nil
}

// contents reads a section.
func (f *File) contents(s *elf.Section64) ([]byte, error) {
	return bytesAt(f.from, s.Off, s.Size, maxTable)
}

// linked reads the names to which a section refers, once.
func (f *File) linked(s *elf.Section64) (string, error) {
	if int64(s.Link) >= int64(len(f.sections)) || elf.SectionType(f.sections[s.Link].Type) != elf.SHT_STRTAB {
		return "", errors.New("its names are missing")
	}
	if names, ok := f.strings[s.Link]; ok {
		return names, nil
	}
	b, err := f.contents(&f.sections[s.Link])
	if err != nil {
		return "", err
	}
	f.strings[s.Link] = string(b)
	return f.strings[s.Link], nil
}

// Soname gives the name by which programs ask for a library, DT_SONAME of elf(5); "" if it has none.
func (f *File) Soname() string {
	if f.soname == nil {
		name := f.readSoname()
		f.soname = &name
	}
	return *f.soname
}

func (f *File) readSoname() string {
	s := f.section(elf.SHT_DYNAMIC)
	if s == nil {
		return ""
	}
	raw, err := bytesAt(f.from, s.Off, s.Size, maxHeaders)
	if err != nil {
		return ""
	}
	names, err := f.linked(s)
	for ; err == nil && len(raw) >= dynamicSize; raw = raw[dynamicSize:] {
		if elf.DynTag(binary.LittleEndian.Uint64(raw)) == elf.DT_SONAME {
			name, _ := nameAt(names, binary.LittleEndian.Uint64(raw[8:]))
			return name
		}
	}
	return ""
}

// nameAt is the string at an offset of a string table, which ends with NUL. What is longer than a name is none: each of
// millions of entries may refer to a table that has no NUL.
func nameAt(names string, at uint64) (string, bool) {
	if at >= uint64(len(names)) {
		return "", false
	}
	rest := names[at:]
	name, _, ended := strings.Cut(rest[:min(len(rest), maxName+1)], "\x00")
	if !ended {
		return "", false
	}
	return name, true
}

// isName reports whether a name stands at an offset of a string table, without looking for its end.
func isName(names string, at uint64, name string) bool {
	if at >= uint64(len(names)) {
		return false
	}
	rest := names[at:]
	return len(rest) > len(name) && rest[len(name)] == 0 && rest[:len(name)] == name
}
