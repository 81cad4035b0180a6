//go:build linux && amd64

package changes

import (
	"debug/elf"
	"os"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/memory"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/report"
)

func addressOf(b []byte) uint64 { return uint64(reflect.ValueOf(b).Pointer()) }

// Both ways to find pages find them, in an address space of which most is reserved.
func TestOwnPages(t *testing.T) {
	const size, touched = 64 << 30, 5 * memory.PageSize
	empty, err := unix.Mmap(-1, 0, size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(empty) }()
	used, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err == nil {
		err = unix.Madvise(used, unix.MADV_NOHUGEPAGE)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(used) }()
	used[touched] = 1
	m, err := OpenPageMap(sys.PID(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	span := func(b []byte) memory.Span { return memory.Span{Start: addressOf(b), End: addressOf(b) + size} }
	page := memory.Span{Start: addressOf(used) + touched, End: addressOf(used) + touched + memory.PageSize}
	if !m.Walked {
		if got := m.Own(span(used)); !slices.Equal(got, []memory.Span{page}) {
			t.Errorf("%#x", got)
		}
		if got := m.Own(span(empty)); len(got) != 0 {
			t.Errorf("%#x", got)
		}
	}
	m.findResident()
	if got := m.Own(page); !slices.Equal(got, []memory.Span{page}) {
		t.Errorf("%#x", got)
	}
	if got := m.Own(span(empty)); len(got) != 0 {
		t.Errorf("%#x", got)
	}
}

// Names of symbols are not copied: here each is as long as the table of names.
func TestLongNamesOfSymbols(t *testing.T) {
	const nameBytes, symbols = 16 << 20, 1 << 12
	const names = "\x00.symtab\x00.strtab\x00"
	section := func(kind elf.SectionType, name, link uint32, off, size uint64) elf.Section64 {
		return elf.Section64{Name: name, Type: uint32(kind), Off: off, Size: size, Link: link,
			Entsize: elf.Sym64Size}
	}
	const at = 4096
	f := testenv.ELF(t, names, elf.Section64{Type: uint32(elf.SHT_STRTAB), Size: uint64(len(names))},
		section(elf.SHT_SYMTAB, 1, 3, at, symbols*elf.Sym64Size),
		section(elf.SHT_STRTAB, 9, 0, at+symbols*elf.Sym64Size, nameBytes))
	entry := make([]byte, elf.Sym64Size)
	entry[0], entry[4], entry[6], entry[16] = 1, byte(elf.STT_OBJECT), 1, 8
	all := append(slices.Repeat(entry, symbols), 0)
	all = append(all, slices.Repeat([]byte("x"), nameBytes-1)...)
	if _, err := f.WriteAt(all, at); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	o := &object{file: f}
	o.load()
	_, found := o.program.Variable([]string{"environ"})
	runtime.ReadMemStats(&after)
	if len(o.symbols) != symbols || found {
		t.Errorf("%d symbols, found: %v", len(o.symbols), found)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 8*nameBytes {
		t.Errorf("took %d bytes", took)
	}
}

// What is set to nothing is there.
func TestChanges(t *testing.T) {
	got := Tables(map[string]string{"A": "1", "B": "1", "D": "", "E": "", "F": "1"},
		map[string]string{"A": "", "C": "", "D": "1", "F": "1"})
	want := []*report.Change{{What: "A", Before: "1"}, {What: "B", Before: "1", Gone: true}, {What: "C", New: true},
		{What: "D", After: "1"}, {What: "E", Gone: true}}
	if !reflect.DeepEqual(got, want) {
		for _, c := range got {
			t.Errorf("%+v", *c)
		}
	}
}
