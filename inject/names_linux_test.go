//go:build linux && amd64

package inject

import (
	"bytes"
	"debug/dwarf"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/elffile"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
)

// A FIFO at the path of what a process has mapped is not opened. Its other end is open here, lest a mistake wait.
func TestFIFOInPlaceOfAnObject(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f (deleted)")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	end, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	if _, err := openProgram(name); err == nil || !strings.Contains(err.Error(), "it is a FIFO") {
		t.Errorf("opened as a program: %v", err)
	}
	n := &names{vmas: []taskview.VMA{{Start: 0x1000, End: 0x2000, Name: name}}, objects: map[string]*object{}}
	n.open(&target{self: process{pid: sys.PID(os.Getpid())}}, 0x1000)
	if o := n.objects[name]; o == nil || o.file != nil {
		t.Errorf("opened for names: %+v", o)
	}
	n.close()
}

// A program that is closed leaves no descriptor behind.
func TestProgramCloses(t *testing.T) {
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := descriptors()
	for range 8 {
		p, err := openProgram("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		p.close()
	}
	if now := descriptors(); now > before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
}

// firstType is behind the header of the one unit, 11 bytes, and the unit's entry, DWARF 4, section 7.5.
const firstType = 12

// typesOf makes DWARF of types: their codes in .debug_abbrev, each with the offset of the type that it refers to.
func typesOf(t *testing.T, entries ...byte) *dwarf.Data {
	t.Helper()
	const compileUnit, withChildren = 0x11, 1
	abbrev := []byte{1, compileUnit, withChildren, 0, 0}
	for i, tag := range []dwarf.Tag{dwarf.TagPointerType, dwarf.TagTypedef, dwarf.TagConstType,
		dwarf.TagArrayType} {
		const typeAttribute, ref1 = 0x49, 0x11
		abbrev = append(abbrev, byte(2+i), byte(tag), 0, typeAttribute, ref1, 0, 0)
	}
	abbrev = append(abbrev, 0)
	// The version, where its abbreviations are, the size of an address; the unit.
	info := append([]byte{4, 0, 0, 0, 0, 0, 8, 1}, entries...)
	info = append(info, 0)
	info = append([]byte{byte(len(info)), 0, 0, 0}, info...)
	data, err := dwarf.New(abbrev, nil, nil, info, nil, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A type that is made of itself has no end; its variable has one.
func TestTypesOfThemselves(t *testing.T) {
	const pointer, typedef, constant, array = 2, 3, 4, 5
	for name, entries := range map[string][]byte{
		"pointer": {pointer, firstType}, "typedef": {typedef, firstType}, "const": {constant, firstType},
		"array":   {array, firstType},
		"pair":    {typedef, firstType + 2, constant, firstType},
		"pointed": {pointer, firstType + 2, constant, firstType},
	} {
		kind, err := newTypes(typesOf(t, entries...)).at(firstType)
		if strings.HasPrefix(name, "point") {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			v := &dwarfVariable{name: "v", kind: kind}
			if _, text, _, _ := v.member(0, 1); text != errTypes.Error() {
				t.Errorf("%s: %q", name, text)
			}
		} else if err != errTypes {
			t.Errorf("%s: %v, %v", name, kind, err)
		}
	}
	end := append([]byte{typedef, firstType + 2}, pointer, firstType+4, constant, firstType)
	if kind, err := newTypes(typesOf(t, end...)).at(firstType); err != nil || kind.Size() != 8 {
		t.Errorf("%v, %v", kind, err)
	}
}

// elfOf makes a file of sections with these headers, and of their names.
func elfOf(t *testing.T, names string, sections ...elf.Section64) *os.File {
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

// Sizes that a file only claims to have are not read.
func TestSizesOfSections(t *testing.T) {
	const names = "\x00.debug_info\x00.debug_str\x00.zdebug_str\x00"
	const info, str, packed = 1, 13, 24
	shstrtab := elf.Section64{Type: uint32(elf.SHT_STRTAB), Size: uint64(len(names))}
	section := func(kind elf.SectionType, name uint32, size uint64) elf.Section64 {
		return elf.Section64{Name: name, Type: uint32(kind), Off: 4096, Size: size}
	}
	big, compressed := shstrtab, shstrtab
	big.Size, compressed.Flags = elffile.MaxHeaders, uint64(elf.SHF_COMPRESSED)
	for name, sections := range map[string][]elf.Section64{
		"names": {big}, "compressed names": {compressed},
		"symbols": {shstrtab, section(elf.SHT_SYMTAB, 0, elffile.MaxTables)},
		"strings": {shstrtab, section(elf.SHT_STRTAB, 0, elffile.MaxTables/2), section(elf.SHT_STRTAB, 0, elffile.MaxTables/2)},
	} {
		_, err := readProgram(elfOf(t, names, sections...))
		if err == nil || !strings.HasPrefix(err.Error(), "its s") {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := elfOf(t, names, shstrtab)
	const phentsize = 54 // of elf.Header64
	if _, err := f.WriteAt([]byte{0xff, 0xff, 0xff, 0xff}, phentsize); err != nil {
		t.Fatal(err)
	}
	if _, err := readProgram(f); err == nil || err.Error() != "its segment headers are too large" {
		t.Error(err)
	}
	for name, tc := range map[string]struct {
		sections []elf.Section64
		want     bool
	}{
		"none":   {nil, false},
		"small":  {[]elf.Section64{section(elf.SHT_PROGBITS, info, 9), section(elf.SHT_PROGBITS, str, 9)}, true},
		"info":   {[]elf.Section64{section(elf.SHT_PROGBITS, info, elffile.MaxInfo+1)}, false},
		"str":    {[]elf.Section64{section(elf.SHT_PROGBITS, info, 9), section(elf.SHT_PROGBITS, str, elffile.MaxDebug)}, false},
		"packed": {[]elf.Section64{section(elf.SHT_PROGBITS, info, 9), section(elf.SHT_PROGBITS, packed, 9)}, false},
	} {
		p, err := readProgram(elfOf(t, names, append([]elf.Section64{shstrtab}, tc.sections...)...))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := elffile.BoundedDWARF(p.file); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
