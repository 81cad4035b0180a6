// Package buildid reads the build id of an ELF file, and what images have of it, as CRIU does. It opens no file.
package buildid

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"

	"github.com/crpie/crpie/images/pb"
)

// How CRIU 4 looks for a build id. It takes the first note of its type, of any owner, from whichever
// PT_NOTE segment: what an unchanged file has must be what the dump found there.
const (
	Window      = 1 << 20 // bytes at the beginning of the file
	Max         = 512     // bytes
	maxNotes    = 1 << 12 // in all segments together; CRIU has no limit but the window
	Type        = 3       // NT_GNU_BUILD_ID, elf(5)
	PtNote      = 4
	noteHeader  = 12 // n_namesz, n_descsz, n_type
	elfMaxIdent = 64 // at least as much as either header has, bytes
)

// elfLayout has the offsets and sizes in which the two classes of ELF differ, elf(5).
type elfLayout struct {
	Header, Phoff, Phnum   int // of the file's header
	Phdr, POffset, PFilesz int // of a program header
	word                   int // bytes of an offset
}

// Layouts has a layout for each class, EI_CLASS.
var Layouts = [...]elfLayout{
	1: {Header: 52, Phoff: 28, Phnum: 44, Phdr: 32, POffset: 4, PFilesz: 16, word: 4},
	2: {Header: 64, Phoff: 32, Phnum: 56, Phdr: 56, POffset: 8, PFilesz: 32, word: 8},
}

func (l *elfLayout) offset(b []byte) uint64 {
	if l.word == 4 {
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

// Read gives the build id of an ELF file, nil if it has none.
func Read(file io.ReaderAt) []byte {
	window := &begun{rest: io.NewSectionReader(file, 0, Window)}
	window.first = readUpTo(window.rest, 0, firstRead)
	header := readUpTo(window, 0, elfMaxIdent)
	if len(header) < 5 || !bytes.HasPrefix(header, []byte("\x7fELF")) {
		return nil
	}
	class := int(header[4])
	if class == 0 || class >= len(Layouts) || len(header) < Layouts[class].Header {
		return nil
	}
	l := &Layouts[class]
	count := int(binary.LittleEndian.Uint16(header[l.Phnum:]))
	table := readUpTo(window, l.offset(header[l.Phoff:]), count*l.Phdr)
	notes := maxNotes
	for ; len(table) >= l.Phdr; table = table[l.Phdr:] {
		if binary.LittleEndian.Uint32(table) != PtNote {
			continue
		}
		at := l.offset(table[l.POffset:])
		if id, found := findBuildID(window, at, at+l.offset(table[l.PFilesz:]), &notes); found {
			return id
		}
	}
	return nil
}

// findBuildID looks for the note in the segment from at to end. One that begins right at the end counts, as for CRIU.
func findBuildID(window io.ReaderAt, at, end uint64, budget *int) (id []byte, found bool) {
	for at <= end && *budget > 0 {
		*budget--
		b := readUpTo(window, at, noteHeader)
		if len(b) < noteHeader {
			return nil, false
		}
		name, size := align4(binary.LittleEndian.Uint32(b)), binary.LittleEndian.Uint32(b[4:])
		if binary.LittleEndian.Uint32(b[8:]) == Type {
			if size == 0 || size > Max {
				return nil, true
			}
			id := readUpTo(window, at+noteHeader+name, int(size))
			return id[:len(id):len(id)], len(id) == int(size)
		}
		at += noteHeader + name + align4(size)
	}
	return nil, false
}

// OfImage gives the id as the images have it: in words of 32 bits, the last one filled up with zeros.
func OfImage(reg *pb.RegFileEntry) []byte {
	var id []byte
	for _, word := range reg.GetBuildId() {
		id = binary.LittleEndian.AppendUint32(id, word)
	}
	return id
}

// Same reports whether an id, as Read gives it, is the one that the images have.
func Same(id []byte, reg *pb.RegFileEntry) bool {
	return bytes.Equal(slices.Concat(id, make([]byte, -len(id)&3)), OfImage(reg))
}

// begun is a file whose beginning has been read. What the search looks at is there in most files, and another read
// opens the file again.
type begun struct {
	first []byte
	rest  io.ReaderAt
}

const firstRead = 4 << 10

func (f *begun) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) <= int64(len(f.first)) {
		return copy(b, f.first[off:]), nil
	}
	return f.rest.ReadAt(b, off)
}

func align4(n uint32) uint64 { return (uint64(n) + 3) &^ 3 }

// readUpTo reads what there is of n bytes.
func readUpTo(r io.ReaderAt, off uint64, n int) []byte {
	if off >= Window {
		return nil
	}
	b := make([]byte, min(n, Window-int(off)))
	n, _ = r.ReadAt(b, int64(off)) // what cannot be read is not there
	return b[:n]
}
