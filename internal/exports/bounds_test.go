package exports_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/exports"
	"github.com/crpie/crpie/internal/taskview"
)

// versioned makes a file that exports a symbol "x" in n versions, whose names all end where the table of names does.
func versioned(n int, length int) []byte {
	const header, section = 64, 64
	names := append([]byte("\x00x\x00"), bytes.Repeat([]byte("v"), length+n)...)
	names = append(names, 0)
	var symbols, versym, verdef []byte
	for i := range n {
		symbols = binary.LittleEndian.AppendUint32(symbols, 1)
		symbols = append(symbols, byte(elf.STB_GLOBAL)<<4|byte(elf.STT_FUNC), 0, 1, 0)
		symbols = append(symbols, make([]byte, 16)...)
		versym = binary.LittleEndian.AppendUint16(versym, uint16(i+2)|0x8000)
		entry := binary.LittleEndian.AppendUint16(nil, 1)
		for _, half := range []int{0, i + 2, 1} {
			entry = binary.LittleEndian.AppendUint16(entry, uint16(half))
		}
		for _, word := range []int{0, 20, 28, 3 + i, 0} {
			entry = binary.LittleEndian.AppendUint32(entry, uint32(word))
		}
		verdef = append(verdef, entry...)
	}
	out := make([]byte, header+56+5*section)
	head := elf.Header64{Type: uint16(elf.ET_DYN), Phoff: header, Phnum: 1, Phentsize: 56,
		Shoff: header + 56, Shnum: 5, Shentsize: section}
	copy(head.Ident[:], "\x7fELF\x02\x01\x01")
	_, _ = binary.Encode(out, binary.LittleEndian, head)
	_, _ = binary.Encode(out[header:], binary.LittleEndian, elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: 5,
		Filesz: 4096, Memsz: 4096})
	for i, s := range []struct {
		kind elf.SectionType
		b    []byte
	}{{elf.SHT_NULL, nil}, {elf.SHT_STRTAB, names}, {elf.SHT_DYNSYM, symbols}, {elf.SHT_GNU_VERSYM, versym},
		{elf.SHT_GNU_VERDEF, verdef}} {
		_, _ = binary.Encode(out[header+56+i*section:], binary.LittleEndian, elf.Section64{
			Type: uint32(s.kind), Link: 1, Off: uint64(len(out)), Size: uint64(len(s.b))})
		out = append(out, s.b...)
	}
	return out
}

// Versions of which a file has many, or whose names are long, do not make a long message.
func TestHostileVersions(t *testing.T) {
	for _, c := range []struct {
		versions, length int
		want             string
	}{
		{3, 2, "@vvv, @vvvv, @vvvvv"},
		{8, 1, "@vvvvvvvv"},
		{9, 1, ", and others"},
		{300, 3000, ", and others"},
		{300, 1 << 20, "without versions"},
		{1, 4095, "v"}, // 4096 with the one that versioned adds
		{1, 4096, "without versions"},
	} {
		f, err := exports.Read(bytes.NewReader(versioned(c.versions, c.length)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Lookup("x", "none")
		if c.versions > 1 && !strings.Contains(c.want, "without") && !strings.Contains(c.want, "others") {
			_, err = f.Lookup("x", "")
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 8*4098+100 {
			t.Errorf("%d versions of %d bytes: %d bytes of message, want %q: %.200v", c.versions, c.length,
				len(fmt.Sprint(err)), c.want, err)
		}
	}
}

// counted is a file whose bytes are counted as they are read.
type counted struct {
	io.ReaderAt
	read *int
}

func (c counted) ReadAt(b []byte, off int64) (int, error) {
	*c.read += len(b)
	return c.ReaderAt.ReadAt(b, off)
}

// What is read of one plan's files is bounded for all of them together, and read once for all tasks.
func TestReadsAreBounded(t *testing.T) {
	lib := read(t, build(t))
	files, total := exports.Files{}, 0
	find := func(name string) error {
		s := exports.Space{Mappings: mapped(t, name, lib, 1<<40), Program: "/bin/none", Files: &files,
			Open: func(string) (io.ReaderAt, error) { return counted{bytes.NewReader(lib), &total}, nil }}
		_, err := s.Find("libgame.so.1", "twice", "")
		return err
	}
	if err := find("/a"); err != nil {
		t.Fatal(err)
	}
	once := total
	if err := find("/a"); err != nil || total != once {
		t.Errorf("a second task's look reads %d bytes more: %v", total-once, err)
	}
	files.Spend()
	var err error
	for i := 0; i < 1000 && err == nil; i++ {
		err = find(fmt.Sprintf("/b%d", i))
	}
	if err == nil || !strings.Contains(err.Error(), "all files together") || total-once > 100<<10 {
		t.Errorf("%d bytes are read where 100 KiB are left: %v", total-once, err)
	}
}

// Files are listed once each, in the order of their addresses.
func TestNames(t *testing.T) {
	s := exports.Space{}
	for i := range 60000 {
		s.Mappings = append(s.Mappings, taskview.VMA{Start: uint64(i) << 12, End: uint64(i+1) << 12, Prot: 5,
			Name: fmt.Sprintf("/%d", i%30000)})
	}
	names := s.Names()
	if len(names) != 30000 || names[1] != "/1" || names[29999] != "/29999" {
		t.Errorf("%d names, %.3q", len(names), names)
	}
}
