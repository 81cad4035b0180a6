package backtrace

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/taskview"
)

// manySymbols writes a file with functions whose names are all nearly as long as the table of names.
func manySymbols(t *testing.T, symbols, nameBytes int) *os.File {
	t.Helper()
	const names = "\x00.symtab\x00.strtab\x00"
	const ehsize, shentsize, at = 64, 64, 4096
	entries := uint64(symbols * elf.Sym64Size)
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, &elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB),
			byte(elf.EV_CURRENT)},
		Type: uint16(elf.ET_DYN), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Shoff: ehsize, Ehsize: ehsize, Shentsize: shentsize, Shnum: 4, Shstrndx: 1})
	_ = binary.Write(&b, binary.LittleEndian, []elf.Section64{{},
		{Type: uint32(elf.SHT_STRTAB), Off: ehsize + 4*shentsize, Size: uint64(len(names))},
		{Name: 1, Type: uint32(elf.SHT_SYMTAB), Link: 3, Off: at, Size: entries, Entsize: elf.Sym64Size},
		{Name: 9, Type: uint32(elf.SHT_STRTAB), Off: at + entries, Size: uint64(nameBytes)}})
	b.WriteString(names)
	b.Write(make([]byte, at-b.Len()))
	entry := make([]byte, elf.Sym64Size)
	entry[0], entry[4], entry[6], entry[16] = 1, byte(elf.STT_FUNC), 1, 8
	b.Write(slices.Repeat(entry, symbols))
	b.WriteByte(0)
	b.Write(bytes.Repeat([]byte("x"), nameBytes-2))
	b.WriteByte(0)
	f, err := os.Create(filepath.Join(t.TempDir(), "elf"))
	if err == nil {
		t.Cleanup(func() { f.Close() })
		_, err = f.Write(b.Bytes())
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Names of symbols are not copied, and a long one is cut.
func TestLongNamesOfSymbols(t *testing.T) {
	const nameBytes, symbols = 1 << 20, 1 << 9
	f := manySymbols(t, symbols, nameBytes)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	o := &object{}
	o.read(f, &taskview.VMA{})
	name, _, found := o.function(4)
	runtime.ReadMemStats(&after)
	if len(o.symbols) != symbols || !found || !strings.HasPrefix(name, "xx") || len(name) > 4096 {
		t.Errorf("%d symbols, found: %v, a name of %d bytes", len(o.symbols), found, len(name))
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 8*nameBytes {
		t.Errorf("took %d bytes", took)
	}
}
