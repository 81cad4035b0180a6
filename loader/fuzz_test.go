package loader_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
)

// The fuzz targets damage one part of a good object each: random bytes as a whole object would never get past its
// header.
//
// What holds for all of them: loading ends with a plugin that can be placed and asked for its lines, or with an error;
// and it takes at most mostMemory and mostTime, whatever it is made of.

// fuzzSource has something of everything: groups, GOT accesses, notes, hooks, debug information.
const fuzzSource = records + `
extern int shared; int shared = 5;
inline const char *name(int i) { return i ? "one" : "two"; }
const char *const table[] = {"a", "b"};
static int zeros[100];
__attribute__((section("nums"), used)) static int num = 3;
extern int __start_nums[], __stop_nums[];
int use(int i) { return shared + name(i)[0] + table[i][0] + zeros[i] + (int)(__stop_nums - __start_nums); }
`

// region is a stretch of the file.
type region struct{ start, size uint64 }

// fuzzRegion runs a target on the parts of an object that pick chooses by section; the header is passed as index 0.
func fuzzRegion(f *testing.F, pick func(i int, s *elf.Section) bool) {
	var objects [][]byte
	var regions [][]region
	for _, tool := range []string{"g++ -g -O1 -fPIC -fcf-protection=full -fno-stack-protector -fpermissive -w",
		"aarch64-linux-gnu-gcc -g -O1 -fPIC"} {
		suffix := ".c"
		source := fuzzSource
		if tool[0] == 'g' {
			suffix = ".cc"
		}
		data, err := os.ReadFile(loadertest.Compile(f, tool, suffix, source))
		if err != nil {
			f.Fatal(err)
		}
		objects = append(objects, data)
		regions = append(regions, findRegions(f, data, pick))
	}
	f.Add(uint8(0), []byte{})
	f.Add(uint8(1), []byte{0, 0, 0xff, 8, 0, 0x80})
	f.Fuzz(func(t *testing.T, which uint8, edits []byte) {
		i := int(which) % len(objects)
		data := bytes.Clone(objects[i])
		damageRegions(data, regions[i], edits)
		loadAndUse(t, data)
	})
}

func findRegions(f *testing.F, data []byte, pick func(int, *elf.Section) bool) (found []region) {
	e, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		f.Fatal(err)
	}
	if pick(0, e.Sections[0]) {
		found = append(found, region{0, 64},
			region{binary.LittleEndian.Uint64(data[40:]), uint64(64 * len(e.Sections))})
	}
	for i, s := range e.Sections[1:] {
		if s.Type != elf.SHT_NOBITS && s.Size > 0 && pick(i+1, s) {
			found = append(found, region{s.Offset, s.FileSize})
		}
	}
	if len(found) == 0 {
		f.Fatal("the object has nothing to damage")
	}
	return found
}

// damageRegions overwrites single bytes: each edit is an offset into the regions (2 bytes) and a value.
func damageRegions(data []byte, regions []region, edits []byte) {
	var total uint64
	for _, r := range regions {
		total += r.size
	}
	for ; len(edits) >= 3; edits = edits[3:] {
		at := uint64(binary.LittleEndian.Uint16(edits)) % total
		for _, r := range regions {
			if at < r.size {
				data[r.start+at] = edits[2]
				break
			}
			at -= r.size
		}
	}
}

// loadAndUse does everything with the bytes that crpie would.
func loadAndUse(t *testing.T, data []byte) {
	memory, cpu := spend(t, func() {
		p, err := loader.Parse(data, "fuzz.o", loader.Options{MaxMemory: 1 << 20})
		if (p == nil) == (err == nil) {
			t.Fatalf("plugin %v and error %v", p, err)
		}
		if err != nil && err.Error() == "" {
			t.Fatal("an error without words")
		}
		if p != nil {
			use(t, p)
		}
	})
	if memory > mostMemory || cpu > mostTime {
		t.Fatalf("%d bytes of memory and %v of processor time for an object of %d", memory, cpu, len(data))
	}
}

func use(t *testing.T, p *loader.Plugin) {
	layout, err := blob.NewLayout(p, []blob.Input{{Plugin: p}})
	if err != nil {
		t.Fatal(err)
	}
	img, err := layout.Relocate(0x7f0000000000)
	if err != nil {
		return // a value out of range
	}
	for i := range p.Sections {
		for off := uint64(0); off < p.Sections[i].Size && off < 256; off += 16 {
			img.Locate(img.SectionAddr(0, i) + blob.Addr(off))
		}
	}
}

// allocated is the number of bytes ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func FuzzHeader(f *testing.F) {
	fuzzRegion(f, func(i int, s *elf.Section) bool { return i == 0 || s.Name == ".shstrtab" })
}

func FuzzSymbols(f *testing.F) {
	fuzzRegion(f, func(i int, s *elf.Section) bool {
		return i > 0 && (s.Type == elf.SHT_SYMTAB || s.Name == ".strtab")
	})
}

func FuzzRelocations(f *testing.F) {
	fuzzRegion(f, func(i int, s *elf.Section) bool {
		return i > 0 && s.Type == elf.SHT_RELA && !strings.HasPrefix(s.Name, ".rela.debug")
	})
}

func FuzzGroups(f *testing.F) {
	fuzzRegion(f, func(i int, s *elf.Section) bool { return i == 0 || s.Type == elf.SHT_GROUP })
}

func FuzzNotes(f *testing.F) {
	fuzzRegion(f, func(i int, s *elf.Section) bool {
		return i > 0 && (s.Type == elf.SHT_NOTE || s.Name == "crpie_plugin" || s.Name == "crpie_hooks" ||
			s.Name == ".rela.crpie_hooks")
	})
}

func FuzzLines(f *testing.F) {
	fuzzRegion(f, func(i int, s *elf.Section) bool { return i > 0 && strings.HasPrefix(s.Name, ".debug") })
}

func FuzzFrames(f *testing.F) {
	fuzzRegion(f, func(i int, s *elf.Section) bool {
		return i > 0 && (strings.HasSuffix(s.Name, "_frame") || s.Name == ".stack_sizes")
	})
}

// FuzzParse takes whole objects.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{records, "int x;", "static int z; int *p(void) { return &z; }"} {
		data, err := os.ReadFile(loadertest.Compile(f, gcc, ".c", seed))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, data := range expensive(500) {
		f.Add(data)
	}
	f.Add(craft(lineBomb(200)))
	f.Add(craft(base(8, part{name: ".bss", typ: elf.SHT_NOBITS, flags: elf.SHF_ALLOC | elf.SHF_WRITE,
		size: 1<<64 - 8})))
	f.Fuzz(loadAndUse)
}
