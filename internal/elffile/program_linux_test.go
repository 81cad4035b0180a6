//go:build linux

package elffile

import (
	"debug/elf"
	"os"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

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
		p, err := OpenProgram("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
	}
	if now := descriptors(); now > before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
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
	big.Size, compressed.Flags = MaxHeaders, uint64(elf.SHF_COMPRESSED)
	for name, sections := range map[string][]elf.Section64{
		"names": {big}, "compressed names": {compressed},
		"symbols": {shstrtab, section(elf.SHT_SYMTAB, 0, MaxTables)},
		"strings": {shstrtab, section(elf.SHT_STRTAB, 0, MaxTables/2), section(elf.SHT_STRTAB, 0, MaxTables/2)},
	} {
		_, err := ReadProgram(testenv.ELF(t, names, sections...))
		if err == nil || !strings.HasPrefix(err.Error(), "its s") {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := testenv.ELF(t, names, shstrtab)
	const phentsize = 54 // of elf.Header64
	if _, err := f.WriteAt([]byte{0xff, 0xff, 0xff, 0xff}, phentsize); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadProgram(f); err == nil || err.Error() != "its segment headers are too large" {
		t.Error(err)
	}
	for name, tc := range map[string]struct {
		sections []elf.Section64
		want     bool
	}{
		"none":   {nil, false},
		"small":  {[]elf.Section64{section(elf.SHT_PROGBITS, info, 9), section(elf.SHT_PROGBITS, str, 9)}, true},
		"info":   {[]elf.Section64{section(elf.SHT_PROGBITS, info, MaxInfo+1)}, false},
		"str":    {[]elf.Section64{section(elf.SHT_PROGBITS, info, 9), section(elf.SHT_PROGBITS, str, MaxDebug)}, false},
		"packed": {[]elf.Section64{section(elf.SHT_PROGBITS, info, 9), section(elf.SHT_PROGBITS, packed, 9)}, false},
	} {
		p, err := ReadProgram(testenv.ELF(t, names, append([]elf.Section64{shstrtab}, tc.sections...)...))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := BoundedDWARF(p.File); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
