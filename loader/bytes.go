package loader

import (
	"encoding/binary"
	"strings"
)

func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// maxName bounds a name in a string table. The longest of a few million C++ and Rust names were some tens of kilobytes;
// without a bound, a hundred thousand symbols that all point at one long string cost quadratic time.
const maxName = 64 << 10

// nameFactor bounds the bytes of all names of sections or symbols by the bytes of the file: names may share their
// ends in a string table, but in no object of a compiler do more than a few.
const nameFactor = 16

// nameBudget is how many bytes of names are left.
type nameBudget struct{ left uint64 }

func newNameBudget(data []byte) nameBudget { return nameBudget{nameFactor * uint64(len(data))} }

// spend takes the bytes of a name, or reports that there are not so many left.
func (b *nameBudget) spend(name string) bool {
	if uint64(len(name)) > b.left {
		return false
	}
	b.left -= uint64(len(name))
	return true
}

// nameAt gives the NUL-terminated string at off of a string table.
func nameAt(table string, off uint32) (string, bool) {
	if uint64(off) >= uint64(len(table)) {
		return "", off == 0 // offset 0 is the empty name, gABI "String Table", even of an empty table
	}
	window := table[off:]
	if len(window) > maxName {
		window = window[:maxName]
	}
	end := strings.IndexByte(window, 0)
	if end < 0 {
		return "", false
	}
	return window[:end], true
}

// span cuts size bytes at off, or reports that the file does not have them.
func span(data []byte, off, size uint64) ([]byte, bool) {
	if off > uint64(len(data)) || size > uint64(len(data))-off {
		return nil, false
	}
	return data[off : off+size : off+size], true
}

// isCIdentifier reports whether linkers provide __start_ and __stop_ for a section of this name.
func isCIdentifier(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// isRelro reports whether a section is read-only once its relocations are applied. Ours are, before it is mapped.
func isRelro(name string) bool {
	return name == ".data.rel.ro" || strings.HasPrefix(name, ".data.rel.ro.")
}
