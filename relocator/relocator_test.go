package relocator_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/relocator"
)

// place puts the sections of p at the given addresses and applies the relocations.
func place(p *loader.Plugin, got relocator.Addr, at map[string]relocator.Addr) (map[string][]byte, error) {
	t := relocator.Target{GOT: got, GOTBytes: make([]byte, relocator.SlotSize*len(p.GOT))}
	out := map[string][]byte{"GOT": t.GOTBytes}
	for _, s := range p.Sections {
		b := make([]byte, len(s.Data))
		t.Sections, t.Bytes, out[s.Name] = append(t.Sections, at[s.Name]), append(t.Bytes, b), b
	}
	return out, relocator.Apply(p, t)
}

const noexec = "\n.section .note.GNU-stack,\"\",@progbits\n"

func TestAMD64Formulas(t *testing.T) {
	// Every value is S, A and P put into the formula of the psABI by hand: x is at 0x2010, the place at 0x1000.
	for _, c := range []struct{ source, want string }{
		{".quad x+3", "\x13\x20\x00\x00\x00\x00\x00\x00"},
		{".long x-.", "\x10\x10\x00\x00"},
		{".long x@PLT-4", "\x0c\x10\x00\x00"},
		{".quad x-.", "\x10\x10\x00\x00\x00\x00\x00\x00"},
		{".long x", "\x10\x20\x00\x00"},
		{".word x", "\x10\x20"},
		{".word x-.", "\x10\x10"},
		{".long x@SIZE", "\x04\x00\x00\x00"},
		{".quad x@SIZE+1", "\x05\x00\x00\x00\x00\x00\x00\x00"},
		{"movq x@GOTPCREL(%rip), %rax", "\x48\x8b\x05\xf9\x1f\x00\x00"},
		{"cmpq $0, x@GOTPCREL(%rip)", "\x48\x83\x3d\xf8\x1f\x00\x00\x00"},
		{".quad x@GOTOFF", "\x10\xf0\xff\xff\xff\xff\xff\xff"},
		{"movq y@GOTPCREL(%rip), %rax\n.quad x@GOT\n.long x@GOT\n.quad x@GOTPLT",
			"\x48\x8b\x05\xf9\x1f\x00\x00" + "\x08\x00\x00\x00\x00\x00\x00\x00" + "\x08\x00\x00\x00" +
				"\x08\x00\x00\x00\x00\x00\x00\x00"},
		{".quad x@GOTPCREL", "\x00\x20\x00\x00\x00\x00\x00\x00"},
		{".quad x@PLTOFF", "\x10\xf0\xff\xff\xff\xff\xff\xff"},
		{".long _GLOBAL_OFFSET_TABLE_-.", "\x00\x20\x00\x00"},
		{".quad _GLOBAL_OFFSET_TABLE_-.", "\x00\x20\x00\x00\x00\x00\x00\x00"},
	} {
		source := ".text\n" + c.source +
			"\n.data\n.skip 16\n.globl x, y\n.size x,4\nx: .long 0\ny: .long 0\n" + noexec
		p := loadertest.MustLoad(t, "gcc", ".s", source, loader.Options{Core: true, AllowAbs32: true})
		out, err := place(p, 0x3000, map[string]relocator.Addr{".text": 0x1000, ".data": 0x2000})
		if err != nil || string(out[".text"]) != c.want {
			t.Errorf("%s: got % x, %v, want % x", c.source, out[".text"], err, c.want)
		}
	}
}

func TestGOTSlotsHoldAddresses(t *testing.T) {
	source := ".text\nmovq x@GOTPCREL(%rip), %rax\nmovq y@GOTPCREL(%rip), %rax\nmovq x@GOTPCREL(%rip), %rcx\n" +
		".data\n.globl x, y\nx: .quad 0\ny: .quad 0\n" + noexec
	p := loadertest.MustLoad(t, "gcc", ".s", source, loader.Options{Core: true})
	out, err := place(p, 0x3000, map[string]relocator.Addr{".text": 0x1000, ".data": 0x2000})
	want := "\x00\x20\x00\x00\x00\x00\x00\x00\x08\x20\x00\x00\x00\x00\x00\x00"
	if err != nil || string(out["GOT"]) != want {
		t.Errorf("GOT is % x, %v, want % x", out["GOT"], err, want)
	}
}

func TestNothingIsWrittenWhenAValueDoesNotFit(t *testing.T) {
	source := ".text\n.globl f\n.type f,@function\nf: .quad x\n.long x-.\n.data\n.globl x\nx: .quad 1\n" + noexec
	p := loadertest.MustLoad(t, "gcc", ".s", source, loader.Options{Core: true})
	out, err := place(p, 0, map[string]relocator.Addr{".text": 0x1000, ".data": 0x7fff00002000})
	want := "load plugin.o: PIE311 relocation R_X86_64_PC32 against `x`: S = 0x7fff00002000, A = 0, P = 0x1008 give " +
		"140733193392120, which is not in [-2147483648, 2147483648), 140731045908473 too much at f+0x8, .text+0x8\n" +
		"\tfix: compile with -fPIC; make the plugin smaller"
	var all *loader.Error
	if !errors.As(err, &all) || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	for name, b := range out {
		if len(bytes.Trim(b, "\x00")) > 0 {
			t.Errorf("%s has been written: % x", name, b)
		}
	}
}
