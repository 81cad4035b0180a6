package dwarfline_test

import (
	"bytes"
	"debug/dwarf"
	"debug/elf"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/dwarfline"
	"github.com/crpie/crpie/internal/loadertest"
)

const source = `#include <stddef.h>
static inline int twice(int x)
{
	return x > 3 ? 2 * x
		: -x;
}
__attribute__((section(".text.other"))) int other(int n)
{
	int sum = 0;
	for (int i = 0; i < n; i++)
		sum += twice(i);
	return sum;
}
int _start(int n) { return other(n) + twice(n); }
`

// linked gives the line table of a linked program, and debug/dwarf's view of it.
func linked(t *testing.T, tool string) (dwarfline.Sections, *dwarf.Data, *elf.Section) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(
		loadertest.Link(t, tool+" -O2 -static -nostdlib -fno-pie -no-pie", ".c", source)))
	if err != nil {
		t.Fatal(err)
	}
	contents := func(name string) []byte {
		if s := f.Section(name); s != nil {
			b, err := s.Data()
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		return nil
	}
	d, err := f.DWARF()
	if err != nil {
		t.Fatal(err)
	}
	return dwarfline.Sections{Line: contents(".debug_line"), LineStr: contents(".debug_line_str"),
		Str: contents(".debug_str")}, d, f.Section(".text")
}

// TestLikeTheLibrary compares every address of programs with what debug/dwarf says.
func TestLikeTheLibrary(t *testing.T) {
	for _, tool := range []string{
		"gcc -gdwarf-2", "gcc -gdwarf-3", "gcc -gdwarf-4", "gcc -gdwarf-5", "gcc -gdwarf-5 -gdwarf64",
		"clang-14 -gdwarf-4", "clang-19 -gdwarf-5",
	} {
		s, d, text := linked(t, tool)
		var addresses []uint64
		for at := text.Addr - 2; at < text.Addr+text.Size+2; at++ {
			addresses = append(addresses, at)
		}
		known := 0
		for i, got := range s.Find(addresses) {
			want, ok := library(d, addresses[i])
			if !ok && addresses[i] >= text.Addr && addresses[i] < text.Addr+text.Size {
				// .debug_info of DWARF 2 cannot say that a unit has two pieces of code; that does not
				// matter here
				continue
			}
			known++
			// The library puts the directory of the compilation in front of paths, also of those that
			// need none.
			if got.Line != want.Line || got.Column != want.Column ||
				!strings.HasSuffix(want.File, got.File) || (got.File == "") != (want.File == "") {
				t.Errorf("%s: 0x%x is at %+v, want %+v", tool, addresses[i], got, want)
			}
		}
		if known < 20 {
			t.Errorf("%s: only %d addresses have lines", tool, known)
		}
	}
}

func library(d *dwarf.Data, address uint64) (p dwarfline.Position, ok bool) {
	unit, err := d.Reader().SeekPC(address)
	if err != nil {
		return p, false
	}
	r, err := d.LineReader(unit)
	var e dwarf.LineEntry
	if err != nil || r.SeekPC(address, &e) != nil {
		return p, false
	}
	return dwarfline.Position{File: e.File.Name, Line: e.Line, Column: e.Column}, true
}

// FuzzFind damages line tables: whatever they say, an answer costs little memory and each address once.
func FuzzFind(f *testing.F) {
	f.Add([]byte{0x1f, 0, 0, 0, 5, 0, 8, 0, 8, 0, 0, 0, 1, 1, 1, 0xfb, 14, 13, 0, 1}, []byte("a.c\x00"))
	f.Add(bytes.Repeat([]byte{0xff}, 64), []byte{})
	f.Fuzz(func(t *testing.T, line, text []byte) {
		s := dwarfline.Sections{Line: line, LineStr: text, Str: text}
		addresses := make([]uint64, 64)
		for i := range addresses {
			addresses[i] = uint64(i * i)
		}
		before := allocated()
		found := s.Find(addresses)
		if used := allocated() - before; used > 1<<20 {
			t.Errorf("%d bytes of memory for %d bytes", used, len(line)+len(text))
		}
		if len(found) != len(addresses) {
			t.Errorf("%d answers", len(found))
		}
	})
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
