package testenv

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// ELF makes a file of sections with these headers, and of their names.
func ELF(t *testing.T, names string, sections ...elf.Section64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "elf"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	const ehsize, shentsize, holes = 64, 64, 1 << 32
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, &elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB),
			byte(elf.EV_CURRENT)},
		Type: uint16(elf.ET_DYN), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Shoff: ehsize, Ehsize: ehsize, Shentsize: shentsize, Shnum: uint16(1 + len(sections)), Shstrndx: 1})
	_ = binary.Write(&b, binary.LittleEndian, append([]elf.Section64{{}}, sections...))
	sections[0].Off = uint64(b.Len())
	b.Truncate(ehsize)
	_ = binary.Write(&b, binary.LittleEndian, append([]elf.Section64{{}}, sections...))
	b.WriteString(names)
	if _, err := f.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(holes); err != nil {
		t.Fatal(err)
	}
	return f
}
