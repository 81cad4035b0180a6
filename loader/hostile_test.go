package loader_test

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
)

// hostile builds an object of raw sections: 0 is empty, 1 the names of sections and symbols, 2 is empty, 3 the
// symbols, and any number of others that share the names.
func hostile(names, symbols []byte, others int) []byte {
	le := binary.LittleEndian
	ehdr := []byte("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 57))
	sections := 4 + others
	le.PutUint16(ehdr[16:], 1)  // ET_REL
	le.PutUint16(ehdr[18:], 62) // EM_X86_64
	le.PutUint32(ehdr[20:], 1)
	le.PutUint64(ehdr[40:], 64)
	le.PutUint16(ehdr[52:], 64)
	le.PutUint16(ehdr[58:], 64)
	le.PutUint16(ehdr[60:], uint16(sections))
	le.PutUint16(ehdr[62:], 1)
	table := make([]byte, 64*sections)
	at := uint64(64 + len(table))
	put := func(i int, name, typ uint32, off, size, entry uint64, link uint32) {
		h := table[64*i:]
		le.PutUint32(h, name)
		le.PutUint32(h[4:], typ)
		le.PutUint64(h[24:], off)
		le.PutUint64(h[32:], size)
		le.PutUint32(h[40:], link)
		le.PutUint32(h[44:], 1) // the first global symbol
		le.PutUint64(h[56:], entry)
	}
	put(1, 0, 3, at, uint64(len(names)), 0, 0)
	put(2, 0, 3, at, 0, 0, 0)
	put(3, 0, 2, at+uint64(len(names)), uint64(len(symbols)), 24, 1)
	for i := 4; i < sections; i++ {
		put(i, uint32(len(names)-2-i), 1, 0, 0, 0, 0) // empty SHT_PROGBITS
	}
	return append(append(append(ehdr, table...), names...), symbols...)
}

// TestOverlappingNamesCostNothing loads 1.2 MB in which 20,000 symbols, or 8,000 sections, have names that are all
// suffixes of one long string. Copied, as debug/elf does, the names take gigabytes; only to look at them takes
// seconds.
func TestOverlappingNamesCostNothing(t *testing.T) {
	names := []byte("\x00" + strings.Repeat("n", 200_000) + "\x00")
	symbols := make([]byte, 24*20_000)
	for i := 1; i < 20_000; i++ {
		binary.LittleEndian.PutUint32(symbols[24*i:], uint32(140_000+i)) // shorter than the limit of a name
		symbols[24*i+4] = 1 << 4                                         // STB_GLOBAL
		binary.LittleEndian.PutUint16(symbols[24*i+6:], 0xfff2)          // SHN_COMMON
	}
	for others, want := range map[int]string{
		0:    "PIE206 the names of the symbols overlap: those of the first ",
		8000: "PIE111 the names of the sections overlap: those of the first ",
	} {
		data := hostile(names, symbols, others)
		var err error
		memory, cpu := spend(t, func() { _, err = loader.Parse(data, "hostile.o", loader.Options{}) })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %.200v, want %s", err, want)
		}
		if memory > 16<<20 || cpu > mostTime {
			t.Errorf("%d bytes of memory and %v of processor time for an object of %d", memory, cpu,
				len(data))
		}
	}
}

// TestHugeCountsAreRefusedBeforeTheyAreAllocated has header fields that promise more than the file holds.
func TestHugeCountsAreRefusedBeforeTheyAreAllocated(t *testing.T) {
	good, err := os.ReadFile(loadertest.Compile(t, gcc, ".c", "int x = 1;"))
	if err != nil {
		t.Fatal(err)
	}
	o := object{good}
	shoff := int(binary.LittleEndian.Uint64(good[40:]))
	o.u16(60, 0)           // e_shnum: see section 0
	o.u64(shoff+32, 1<<40) // sh_size of section 0: the number of sections
	before := allocated()
	_, err = loader.Parse(o.data, "hostile.o", loader.Options{})
	if err == nil || !strings.Contains(err.Error(), "PIE010 1099511627776 section headers at 0x") {
		t.Errorf("got %v", err)
	}
	if used := allocated() - before; used > 1<<20 {
		t.Errorf("%d bytes of memory", used)
	}
}

// TestUndefinedSymbolsAreGrouped: every undefined symbol once, however often it is used.
func TestUndefinedSymbolsAreGrouped(t *testing.T) {
	source := ".text\n.rept 5000\ncall nowhere\n.endr\n" + stack
	_, err := loadertest.Load(t, "gcc", ".s", source, loader.Options{Core: true})
	want := "load plugin.o: PIE201 undefined symbol `nowhere` at .text+0x1 and 4999 more\n\tfix: "
	if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), "PIE") != 1 {
		t.Errorf("got %.300v", err)
	}
}

func BenchmarkParse(b *testing.B) {
	data, err := os.ReadFile(loadertest.Compile(b, gcc, ".c", records))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := loader.Parse(data, "plugin.o", loader.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestCompressedDebugInformationCannotCostMuch: every section claims 31 MiB and has less; 32 are the most that is
// unpacked.
func TestCompressedDebugInformationCannotCostMuch(t *testing.T) {
	for _, tool := range []string{clang19 + " -g -gz=zlib", clang19 + " -g -gz=zstd"} {
		data, err := os.ReadFile(loadertest.Compile(t, tool, ".c",
			"int missing(int); int f(int x) { return missing(x); }\n"+manyFunctions))
		if err != nil {
			t.Fatal(err)
		}
		o := object{data}
		for _, name := range []string{".debug_abbrev", ".debug_info", ".debug_line", ".debug_str"} {
			h := o.section(name)
			if flags := binary.LittleEndian.Uint64(data[h+8:]); flags&uint64(elf.SHF_COMPRESSED) != 0 {
				o.u64(int(binary.LittleEndian.Uint64(data[h+24:]))+8, 31<<20)
			}
		}
		before := allocated()
		if _, err := loader.Parse(data, "plugin.o", loader.Options{Core: true}); err == nil {
			t.Errorf("%s: accepted", tool)
		}
		if used := allocated() - before; used > 64<<20 || used < 31<<20 {
			t.Errorf("%s: %d bytes of memory", tool, used)
		}
	}
}
