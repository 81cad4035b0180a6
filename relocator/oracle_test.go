package relocator_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/loader"
)

// The oracle: the same object, placed at the same addresses by us and by a linker, must be the same bytes.
//
// The linker gets a copy of the object in which every section has a name of its own, so that a script can give each
// its address, and in which strings are not merged and groups not dropped. GOT accesses are compared by what they
// reach: the linker's table has other slots in another order.

var oracleSet = flag.String("oracle", "small",
	"objects to compare with linkers: small or full (needs scripts/get-oracle-corpus)")

const (
	oracleBase = 0x10000000 // everything within the 128 MiB of aarch64 branches
	oracleGOT  = 0x16000000 // of the linker
	oracleAbs  = 0x14000000 // undefined symbols, 64 bytes apart
)

// tally counts what became of the objects of one corpus.
type tally struct {
	sync.Mutex
	objects, same, bytes, got int
	left                      map[string]int // reason -> objects left out
	failures                  []string
}

func TestOracle(t *testing.T) {
	totals := map[string]*tally{}
	for _, c := range oracleCorpora(t) {
		for _, linker := range c.linkers {
			n := compareAll(c, linker)
			t.Log(n.report(c.name, linker[0]))
			key := c.arch + ", " + filepath.Base(linker[0])
			if totals[key] == nil {
				totals[key] = &tally{left: map[string]int{}}
			}
			totals[key].join(n)
		}
	}
	for key, n := range totals {
		t.Log(n.report("total for "+key, "all"))
		for i, f := range n.failures {
			if i == 30 {
				t.Errorf("... and %d more", len(n.failures)-i)
				break
			}
			t.Error(f)
		}
		if n.same == 0 {
			t.Errorf("%s: nothing was compared", key)
		}
		for reason, count := range n.left {
			if code, _, _ := strings.Cut(reason, " "); !slices.Contains(mayBeLeftOut, code) {
				t.Errorf("%s: %d objects refused for %s", key, count, reason)
			}
		}
	}
}

// mayBeLeftOut are the rules that real libraries break, all for a true reason: 32-bit members, constructors,
// thread-local data, assembly without a stack note, instrumentation, COMMON, IFUNC, bounds of sections of other
// objects. Any other refusal would be a false one.
var mayBeLeftOut = []string{"PIE006", "PIE104", "PIE105", "PIE107", "PIE115", "PIE203", "PIE204", "PIE205", "PIE210"}

func (n *tally) join(m *tally) {
	n.objects, n.same, n.bytes, n.got = n.objects+m.objects, n.same+m.same, n.bytes+m.bytes, n.got+m.got
	n.failures = append(n.failures, m.failures...)
	for reason, count := range m.left {
		n.left[reason] += count
	}
}

func (n *tally) report(name, linker string) string {
	s := fmt.Sprintf("%s: %s: %d objects: %d same, %d differ, %d bytes, %d GOT accesses", name, linker,
		n.objects, n.same, len(n.failures), n.bytes, n.got)
	reasons := make([]string, 0, len(n.left))
	for r := range n.left {
		reasons = append(reasons, r)
	}
	slices.Sort(reasons)
	for _, r := range reasons {
		s += fmt.Sprintf("; left out %d: %s", n.left[r], r)
	}
	return s
}

// compareAll compares all objects of a corpus with one linker, on two threads.
func compareAll(c corpus, linker []string) *tally {
	n := &tally{left: map[string]int{}}
	work := make(chan member)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			dir, err := os.MkdirTemp("", "oracle")
			if err != nil {
				panic(err)
			}
			defer os.RemoveAll(dir)
			for m := range work {
				n.add(m, compareOne(m, linker, dir))
			}
		})
	}
	c.each(func(m member) { work <- m })
	close(work)
	wg.Wait()
	return n
}

// outcome is what comparing one object gave.
type outcome struct {
	leftOut    string
	err        error
	bytes, got int
}

func (n *tally) add(m member, o outcome) {
	n.Lock()
	defer n.Unlock()
	n.objects++
	switch {
	case o.leftOut != "":
		n.left[o.leftOut]++
	case o.err != nil:
		n.failures = append(n.failures, fmt.Sprintf("%s: %v", m.name, o.err))
	default:
		n.same++
		n.bytes += o.bytes
		n.got += o.got
	}
}

// compareOne places one object both ways.
func compareOne(m member, linker []string, dir string) outcome {
	defined := undefinedSymbols(m.data)
	p, err := loader.Parse(m.data, m.name,
		loader.Options{Core: true, AllowAbs32: true, Defined: defined, NoLines: true})
	if err != nil {
		v := err.(*loader.Error).Violations[0]
		return outcome{leftOut: string(v.Code) + " " + loader.Rule(v.Code).Title}
	}
	layout, err := blob.NewLayout(p, nil)
	if err != nil {
		return outcome{err: err}
	}
	img, err := layout.Relocate(oracleBase)
	if err != nil {
		return outcome{err: err}
	}
	theirs, err := linkByOracle(m, p, img, defined, linker, dir)
	if err != nil {
		return outcome{err: err}
	}
	return compareSections(p, img, theirs)
}

// undefinedSymbols gives every undefined symbol an address.
func undefinedSymbols(data []byte) map[string]uint64 {
	defined := map[string]uint64{}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return defined
	}
	syms, _ := f.Symbols()
	for _, s := range syms {
		known := s.Name == "_GLOBAL_OFFSET_TABLE_" || strings.HasPrefix(s.Name, "__start_") ||
			strings.HasPrefix(s.Name, "__stop_")
		if s.Section == elf.SHN_UNDEF && s.Name != "" && !known && elf.ST_TYPE(s.Info) != elf.STT_TLS {
			if _, seen := defined[s.Name]; !seen {
				defined[s.Name] = oracleAbs + uint64(64*len(defined))
			}
		}
	}
	return defined
}

// linkByOracle has the linker place the object as we did, and returns its output.
func linkByOracle(m member, p *loader.Plugin, img *blob.Image, defined map[string]uint64, linker []string,
	dir string) (*elf.File, error) {
	obj, script, out := filepath.Join(dir, "a.o"), filepath.Join(dir, "a.ld"), filepath.Join(dir, "a.out")
	if err := os.WriteFile(obj, renameSections(m.data, p), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(script, []byte(linkerScript(p, img, defined)), 0o644); err != nil {
		return nil, err
	}
	args := append(slices.Clone(linker[1:]), "-T", script, "-o", out, obj)
	if text, err := exec.Command(linker[0], args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", linker[0], err, text)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	return elf.NewFile(bytes.NewReader(data))
}

// renameSections calls section i of the object .oI if it is laid out, else .drop, and clears what makes linkers treat
// sections other than as bytes: SHF_MERGE, SHF_STRINGS, SHF_LINK_ORDER, SHF_GROUP.
func renameSections(data []byte, p *loader.Plugin) []byte {
	le := binary.LittleEndian
	out := bytes.Clone(data)
	shoff, count := le.Uint64(out[40:]), int(le.Uint16(out[60:]))
	if count == 0 {
		count = int(le.Uint64(out[shoff+32:]))
	}
	index := int(le.Uint16(out[62:]))
	if index == int(elf.SHN_XINDEX) {
		index = int(le.Uint32(out[shoff+40:]))
	}
	h := out[shoff+uint64(64*index):]
	names := bytes.Clone(out[le.Uint64(h[24:]):][:le.Uint64(h[32:])]) // LLVM has one table for sections and symbols
	names = append(names, "\x00.drop\x00.shstrtab\x00.symtab\x00.strtab\x00.symtab_shndx\x00"...)
	fixed := map[elf.SectionType]string{elf.SHT_SYMTAB: ".symtab\x00", elf.SHT_STRTAB: ".strtab\x00",
		elf.SHT_SYMTAB_SHNDX: ".symtab_shndx\x00"}
	for i := range count {
		h := out[shoff+uint64(64*i):][:64]
		typ := elf.SectionType(le.Uint32(h[4:]))
		name := fixed[typ]
		if typ == elf.SHT_GROUP {
			le.PutUint32(h[4:], uint32(elf.SHT_NULL))
		}
		if name == "" {
			name = ".drop\x00"
		}
		at := bytes.Index(names, []byte("\x00"+name)) + 1
		if k, ok := p.SectionByIndex(i); ok {
			at = len(names)
			names = fmt.Appendf(names, ".o%d\x00", p.Sections[k].Index)
		}
		if i == 0 {
			at = 0
		}
		le.PutUint32(h, uint32(at))
		const clear = elf.SHF_MERGE | elf.SHF_STRINGS | elf.SHF_LINK_ORDER | elf.SHF_GROUP
		if typ != elf.SHT_RELA && typ != elf.SHT_SYMTAB {
			le.PutUint64(h[8:], le.Uint64(h[8:])&^uint64(clear))
			if typ == elf.SHT_PROGBITS {
				le.PutUint64(h[56:], 0)
			}
		} else {
			le.PutUint64(h[8:], le.Uint64(h[8:])&^uint64(elf.SHF_GROUP))
		}
	}
	le.PutUint64(h[24:], uint64(len(out)))
	le.PutUint64(h[32:], uint64(len(names)))
	return append(out, names...)
}

func linkerScript(p *loader.Plugin, img *blob.Image, defined map[string]uint64) string {
	type line struct {
		at   blob.Addr
		text string
	}
	var lines []line
	for i := range p.Sections {
		at, n := img.SectionAddr(-1, i), p.Sections[i].Index
		lines = append(lines, line{at, fmt.Sprintf(" .o%d 0x%x : { KEEP(*(.o%d)) }\n", n, at, n)})
	}
	slices.SortStableFunc(lines, func(a, b line) int { return int(int64(a.at) - int64(b.at)) })
	var b strings.Builder
	b.WriteString("SECTIONS {\n")
	for _, l := range lines {
		b.WriteString(l.text)
	}
	// Not together: GNU ld counts R_X86_64_GOT64 from the wrong place if .got.plt is not at the start of its
	// section.
	fmt.Fprintf(&b, " .got 0x%x : { *(.got) *(.igot) }\n .got.plt 0x%x : { *(.got.plt) *(.igot.plt) }\n",
		oracleGOT, oracleGOT+0x100000)
	b.WriteString(" /DISCARD/ : { *(.drop) *(.comment) *(.note*) *(.eh_frame) }\n}\n")
	for name, addr := range defined {
		fmt.Fprintf(&b, "%q = 0x%x;\n", name, addr)
	}
	for i := range p.Symbols { // renamed sections have no __start_ of the linker's
		s := &p.Symbols[i]
		if s.Section >= 0 && (strings.HasPrefix(s.Name, "__start_") || strings.HasPrefix(s.Name, "__stop_")) {
			fmt.Fprintf(&b, "%q = 0x%x;\n", s.Name, img.SectionAddr(-1, int(s.Section))+blob.Addr(s.Value))
		}
	}
	return b.String()
}
