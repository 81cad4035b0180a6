package loader_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crpie/crpie/loader"
)

// What an object may cost, whatever is in it: memory beyond the object, and processor time, which other work on the
// machine does not change. Tests with objects of some megabytes come to about a tenth; what they are about came to
// minutes.
const (
	mostMemory = 64 << 20
	mostTime   = 3 * time.Second
)

// spend runs a function and reports what it cost this process.
func spend(t testing.TB, f func()) (memory uint64, cpu time.Duration) {
	t.Helper()
	memory, cpu = allocated(), cpuTime(t)
	f()
	return allocated() - memory, cpuTime(t) - cpu
}

func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// affordable fails if loading an object costs more than it may, and returns what was said about it.
func affordable(t testing.TB, data []byte, opts loader.Options) (err error) {
	t.Helper()
	memory, cpu := spend(t, func() { _, err = loader.Parse(data, "hostile.o", opts) })
	if memory > mostMemory || cpu > mostTime {
		t.Errorf("%d bytes of memory and %v of processor time for an object of %d bytes: %.200v", memory, cpu,
			len(data), err)
	}
	return err
}

// part is a section of an object that no compiler writes.
type part struct {
	name       string
	typ        elf.SectionType
	flags      elf.SectionFlag
	data       []byte
	size       uint64 // if it is not that of data
	link, info uint32
}

var entrySize = map[elf.SectionType]uint64{elf.SHT_SYMTAB: 24, elf.SHT_RELA: 24, elf.SHT_GROUP: 4}

// craft makes an x86-64 object of sections, the first of which has the index 1. The names of sections come last.
func craft(parts []part) []byte {
	le := binary.LittleEndian
	names, known := []byte{0}, map[string]uint32{"": 0}
	parts = append(parts, part{name: ".shstrtab", typ: elf.SHT_STRTAB})
	for _, p := range parts {
		if _, ok := known[p.name]; !ok {
			known[p.name] = uint32(len(names))
			names = append(append(names, p.name...), 0)
		}
	}
	parts[len(parts)-1].data = names
	table := make([]elf.Section64, len(parts)+1)
	table[0] = elf.Section64{Size: uint64(len(table)), Link: uint32(len(parts))}
	bytes := make([]byte, 64, 64+64*len(table))
	for i, p := range parts {
		size := max(p.size, uint64(len(p.data)))
		table[i+1] = elf.Section64{Name: known[p.name], Type: uint32(p.typ), Flags: uint64(p.flags),
			Off:  uint64(len(bytes)),
			Size: size, Link: p.link, Info: p.info, Addralign: 1, Entsize: entrySize[p.typ]}
		bytes = append(bytes, p.data...)
	}
	h := elf.Header64{Ident: [16]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, Type: 1, Machine: 62, Version: 1,
		Shoff:  uint64(len(bytes)),
		Ehsize: 64, Shentsize: 64, Shstrndx: uint16(elf.SHN_XINDEX)}
	head, _ := binary.Append(nil, le, h)
	copy(bytes, head)
	bytes, _ = binary.Append(bytes, le, table)
	return bytes
}

// symbols makes a symbol table, with a null symbol in front and all others global.
func symbols(all ...elf.Sym64) []byte {
	b, _ := binary.Append(nil, binary.LittleEndian, append([]elf.Sym64{{}}, all...))
	return b
}

func relocations(n int, one func(i int) elf.Rela64) []byte {
	var b []byte
	for i := range n {
		b, _ = binary.Append(b, binary.LittleEndian, one(i))
	}
	return b
}

const global = uint8(elf.STB_GLOBAL)<<4 | uint8(elf.STT_FUNC)

// base is a plugin of five sections: code, names, symbols, then what a test adds. Symbol 1 is f, at the start of the
// code.
func base(code int, more ...part) []part {
	return append([]part{
		{name: ".text", typ: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR,
			data: make([]byte, code)},
		{name: ".strtab", typ: elf.SHT_STRTAB, data: []byte("\x00f\x00memcpy\x00_ZN1a1bEv\x00")},
		{name: ".symtab", typ: elf.SHT_SYMTAB, link: 2, info: 1,
			data: symbols(elf.Sym64{Name: 1, Info: global, Shndx: 1, Size: uint64(code)})},
		{name: ".note.GNU-stack", typ: elf.SHT_PROGBITS},
	}, more...)
}

func repeat(n int, p part) []part {
	all := make([]part, n)
	for i := range all {
		all[i] = p
	}
	return all
}

const many = 60_000

// expensive are objects, with many of something, each of which has cost time with the square of its size.
func expensive(many int) map[string][]byte {
	word := make([]byte, 8)
	hooks := make([]byte, 0, 24*many)
	for range many {
		hooks, _ = binary.Append(hooks, binary.LittleEndian, [6]uint32{24, 1, 0x106, 0, 0, 0})
	}
	claim, _ := binary.Append(nil, binary.LittleEndian,
		[8]uint32{4, 16, 5, 'G' | 'N'<<8 | 'U'<<16, 0xc0000002, 4, 3, 0})
	same := make([]elf.Sym64, many)
	for i := range same {
		same[i] = elf.Sym64{Name: 3, Info: uint8(elf.STB_WEAK)<<4 | uint8(elf.STT_FUNC), Shndx: 1,
			Size: uint64(8 * many)}
	}
	copies := base(8 * many)
	copies[2].data = symbols(same...)
	twice := base(8)
	for i := range same {
		same[i] = elf.Sym64{Name: 10, Info: global, Shndx: 1}
	}
	twice[2].data = symbols(same...)
	call := func(i int) elf.Rela64 { return elf.Rela64{Off: uint64(8 * i), Info: 1<<32 | 1} }
	return map[string][]byte{
		"constructors": craft(base(8, repeat(many,
			part{name: ".init_array", typ: elf.SHT_INIT_ARRAY, flags: elf.SHF_ALLOC, data: word})...)),
		"hooks": craft(base(8, repeat(many,
			part{name: "crpie_hooks", typ: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC})...)),
		"sections": craft(base(8, repeat(many,
			part{name: "joined", typ: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC, data: word})...)),
		"groups": craft(base(8, repeat(many,
			part{name: ".group", typ: elf.SHT_GROUP, data: []byte{1, 0, 0, 0, 1, 0, 0, 0}})...)),
		"notes": craft(base(8,
			part{name: "crpie_hooks", typ: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC, data: hooks},
			part{name: ".rela.crpie_hooks", typ: elf.SHT_RELA, link: 3, info: 5,
				data: relocations(many, func(i int) elf.Rela64 {
					return elf.Rela64{Off: uint64(24*i + 16), Info: 1<<32 | 1}
				})},
			part{name: ".note.gnu.property", typ: elf.SHT_NOTE, flags: elf.SHF_ALLOC,
				data: bytes.Repeat(claim, many)})),
		"self calls": craft(append(copies,
			part{name: ".rela.text", typ: elf.SHT_RELA, link: 3, info: 1, data: relocations(many, call)})),
		"one name": craft(twice),
		"tables": craft(base(8, repeat(many,
			part{name: ".data", typ: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_WRITE,
				data: word})...)),
	}
}

func TestTimeIsLinear(t *testing.T) {
	for name, data := range expensive(many) {
		t.Run(name, func(t *testing.T) {
			var all *loader.Error
			if err := affordable(t, data, loader.Options{}); !errors.As(err, &all) {
				t.Errorf("got %.300v, want an object that is refused", err)
			}
		})
	}
}

// TestSharedBytesAreReadOnce has as many relocation tables as sections, all in the same bytes.
func TestSharedBytesAreReadOnce(t *testing.T) {
	parts := base(8, repeat(many, part{name: ".data", typ: elf.SHT_PROGBITS,
		flags: elf.SHF_ALLOC | elf.SHF_WRITE})...)
	for i := range many {
		parts = append(parts, part{name: ".rela.data", typ: elf.SHT_RELA, link: 3, info: uint32(5 + i),
			size: 24 * 10_000})
	}
	err := affordable(t, craft(append(parts,
		part{name: "room", typ: elf.SHT_PROGBITS, data: make([]byte, 24*10_000)})), loader.Options{})
	if err == nil || !strings.Contains(err.Error(),
		"PIE118 sections .rela.data and .rela.data share bytes of the file at 0x") {
		t.Errorf("got %.300v", err)
	}
}

// TestLinesCostLittle asks for a line of an object whose line table claims more directories and files than it has
// bytes.
func TestLinesCostLittle(t *testing.T) {
	err := affordable(t, craft(lineBomb(20_000)), loader.Options{})
	if err == nil || !strings.Contains(err.Error(), "undefined symbol `memcpy` at f+0x0") {
		t.Errorf("got %.300v", err)
	}
}

// lineBomb has a call of an undefined function, and a line table of hostile units.
func lineBomb(units int) []part {
	parts, unit := base(8), hostileUnit()
	parts[2].data = symbols(elf.Sym64{Name: 1, Info: global, Shndx: 1, Size: 8}, elf.Sym64{Name: 3, Info: global})
	return append(parts,
		part{name: ".rela.text", typ: elf.SHT_RELA, link: 3, info: 1,
			data: relocations(1, func(int) elf.Rela64 {
				return elf.Rela64{Info: 2<<32 | 4, Addend: -4}
			})},
		part{name: ".debug_line", typ: elf.SHT_PROGBITS, data: bytes.Repeat(unit, units)},
		part{name: ".debug_line_str", typ: elf.SHT_PROGBITS, data: bytes.Repeat([]byte{'n'}, 50*units)},
		part{name: ".rela.debug_line", typ: elf.SHT_RELA, link: 3, info: 6,
			data: relocations(units, func(i int) elf.Rela64 {
				return elf.Rela64{Off: uint64(i*len(unit) + len(unit) - 13), Info: 1<<32 | 1}
			})})
}

// hostileUnit is a unit of DWARF 5 whose tables claim 2^62 directories without members; it has an address at its end.
func hostileUnit() []byte {
	count := binary.AppendUvarint(nil, 1<<62)
	tables := append(append([]byte{0}, count...), append([]byte{1, 1, 0x1f}, count...)...)
	head := append([]byte{1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1}, tables...)
	unit := binary.LittleEndian.AppendUint32([]byte{5, 0, 8, 0}, uint32(len(head)))
	unit = append(append(unit, head...), 0, 9, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1)
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(unit))), unit...)
}

// TestSizesDoNotWrap: the sum of the sizes of the sections passes no limit by being larger than 2^64.
func TestSizesDoNotWrap(t *testing.T) {
	for _, sizes := range [][]uint64{{1<<64 - 8}, {1 << 63, 1 << 63}, {1<<64 - 1, 1<<64 - 1, 2},
		{1 << 62, 1 << 62, 1 << 62, 1 << 62}} {
		parts := base(8)
		for i, size := range sizes {
			parts = append(parts, part{name: fmt.Sprint(".bss.", i), typ: elf.SHT_NOBITS,
				flags: elf.SHF_ALLOC | elf.SHF_WRITE, size: size})
		}
		_, err := loader.Parse(craft(parts), "hostile.o", loader.Options{})
		if err == nil || !strings.Contains(err.Error(), "PIE113 ") {
			t.Errorf("%x: got %v", sizes, err)
		}
	}
}
