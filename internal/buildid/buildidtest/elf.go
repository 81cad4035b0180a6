// Package buildidtest makes as much of ELF files as the search for build ids looks at, for tests.
package buildidtest

import (
	"bytes"
	"encoding/binary"

	"github.com/crpie/crpie/internal/buildid"
)

// Note is one of elf(5): header, owner and description, both filled up to words.
func Note(owner string, kind uint32, desc []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(owner)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(desc)))
	b = binary.LittleEndian.AppendUint32(b, kind)
	return append(append(b, padded([]byte(owner))...), padded(bytes.Clone(desc))...)
}

// BuildID is the note of a build id.
func BuildID(id []byte) []byte { return Note("GNU\x00", buildid.Type, id) }

// ELF64 is as much of a file as the search for build ids looks at: a header, and a segment of notes for each argument.
func ELF64(segments ...[]byte) []byte { return ELF(2, 0, segments) }

// ELF makes such a file of a class, elf(5), with a gap before the notes.
func ELF(class byte, gap int, segments [][]byte) []byte {
	l := buildid.Layouts[class]
	file := make([]byte, l.Header+len(segments)*l.Phdr+gap)
	copy(file, "\x7fELF")
	file[4] = class
	put := func(at int, v uint64) { // a word of either class: what follows is written later, or zero
		binary.LittleEndian.PutUint32(file[at:], uint32(v))
	}
	put(l.Phoff, uint64(l.Header))
	binary.LittleEndian.PutUint16(file[l.Phnum:], uint16(len(segments)))
	for i, s := range segments {
		at := l.Header + i*l.Phdr
		put(at, buildid.PtNote)
		put(at+l.POffset, uint64(len(file)))
		put(at+l.PFilesz, uint64(len(s)))
		file = append(file, s...)
	}
	return file
}

func padded(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }
