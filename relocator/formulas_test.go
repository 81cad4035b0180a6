package relocator_test

import (
	"debug/elf"
	"os"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/relocator"
)

// TestARM64Formulas puts S, A and P into the formulas of AAELF64 by hand: x is at 0x12010, the place at 0x4000, the
// slot of x at 0x23000, and the symbol far at -8.
func TestARM64Formulas(t *testing.T) {
	for _, c := range []struct {
		source string
		want   uint64 // little-endian word, or two
	}{
		{".xword x+3", 0x12013},
		{".word x", 0x12010},
		{".xword x-.", 0xe010},
		{".word x-.", 0xe010},
		{"adr x0, x", 0x10070080},
		{"adrp x0, x", 0xd0000060},
		{"adrp x0, x-0x10000", 0xd0ffffe0},
		{"add x0, x0, :lo12:x", 0x91004000},
		{"ldrb w0, [x0, :lo12:x]", 0x39404000},
		{"ldrh w0, [x0, :lo12:x]", 0x79402000},
		{"ldr w0, [x0, :lo12:x]", 0xb9401000},
		{"ldr x0, [x0, :lo12:x]", 0xf9400800},
		{"ldr q0, [x0, :lo12:x]", 0x3dc00400},
		{"ldr x0, x", 0x58070080},
		{"bl x", 0x94003804},
		{"b x", 0x14003804},
		{"b.eq x", 0x54070080},
		{"cbz x0, x", 0xb4070080},
		{"movz x0, #:abs_g1:x", 0xd2a00020},
		{"movk x0, #:abs_g0_nc:x", 0xf2840200},
		{"movz x0, #:abs_g3:x", 0xd2e00000},
		{"movz x0, #:abs_g1_s:x", 0xd2a00020},
		{"movz x0, #:abs_g0_s:far", 0x928000e0},
		{"movz x0, #:prel_g0:x", 0xd29c0200},
		{"movk x0, #:prel_g0_nc:x", 0xf29c0200},
		{"adrp x0, :got:x", 0xf00000e0},
		{"ldr x0, [x0, :got_lo12:x]", 0xf9400000},
		{"ldr x0, [x0, :gotpage_lo15:x]", 0xf9400000},
		{"ldr x0, :got:x", 0x580f8000},
	} {
		source := ".text\n" + c.source + "\n.data\n.skip 16\n.globl x, far\nx: .quad 0\n.set far, -8\n" + noexec
		p := loadertest.MustLoad(t, "aarch64-linux-gnu-gcc", ".s", source,
			loader.Options{Core: true, AllowAbs32: true})
		out, err := place(p, 0x23000, map[string]relocator.Addr{".text": 0x4000, ".data": 0x12000})
		var got uint64
		for i, b := range out[".text"] {
			got |= uint64(b) << (8 * i)
		}
		if err != nil || got != c.want {
			t.Errorf("%s: got 0x%x, %v, want 0x%x", c.source, got, err, c.want)
		}
	}
}

// TestARM64Ranges goes one step outside of each interval.
func TestARM64Ranges(t *testing.T) {
	for _, c := range []struct {
		source string
		x      relocator.Addr
		want   string
	}{
		{"bl x", 0x4000 + 1<<27, "R_AARCH64_CALL26 against `x`: S = 0x8004000, A = 0, P = 0x4000 give 134217728, which is not in [-134217728, 134217728)"},
		{"b.eq x", 0x4000 + 1<<20, "give 1048576, which is not in [-1048576, 1048576)"},
		{"tbz x0, #1, x", 0x4000 + 1<<15, "give 32768, which is not in [-32768, 32768)"},
		{"adr x0, x", 0x4000 + 1<<20, "give 1048576, which is not in [-1048576, 1048576)"},
		{"adrp x0, x", 0x4000 + 1<<32, "give 4294967296, which is not in [-4294967296, 4294967296)"},
		{".word x-.", 0x4000 + 1<<31, "give 2147483648, which is not in [-2147483648, 2147483648)"},
		{".word x", 1 << 32, "give 4294967296, which is not in [-2147483648, 4294967296)"},
		{"movz x0, #:abs_g0:x", 1 << 16, "give 65536, which is not in [0, 65536)"},
		{"ldr x0, [x0, :lo12:x+4]", 0x8000, "give 0x4, which is not a multiple of 8"},
		{"bl x+2", 0x8000, "give 0x4002, which is not a multiple of 4"},
	} {
		source := ".text\n" + c.source + "\n.data\n.globl x\nx: .quad 0\n" + noexec
		p := loadertest.MustLoad(t, "aarch64-linux-gnu-gcc", ".s", source,
			loader.Options{Core: true, AllowAbs32: true})
		_, err := place(p, 0, map[string]relocator.Addr{".text": 0x4000, ".data": c.x})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.source, err, c.want)
		}
	}
}

// TestEveryAppliedTypeHasAFormula gives each relocation type that the loader accepts to the relocator: one that it does
// not know would leave the zeros of the place.
func TestEveryAppliedTypeHasAFormula(t *testing.T) {
	for _, m := range []struct {
		machine elf.Machine
		tool    string
		types   uint32
	}{{elf.EM_X86_64, "gcc", 64}, {elf.EM_AARCH64, "aarch64-linux-gnu-gcc", 600}} {
		source := ".text\n.globl f\n.size f, 8\nf: .quad 0\n.data\n.globl x\n.size x, 8\nx: .quad 0\n.quad f\n" + noexec
		data, err := os.ReadFile(loadertest.Compile(t, m.tool, ".s", source))
		if err != nil {
			t.Fatal(err)
		}
		for typ := range m.types {
			r := loader.LookupReloc(m.machine, typ)
			if r.Class == loader.RelocUnknown || r.Size == 0 || isSlotOffset(m.machine, typ) {
				continue
			}
			p, err := loader.Parse(retype(t, data, typ), "typed.o",
				loader.Options{Core: true, AllowAbs32: true})
			if err != nil {
				// The instruction does not fit (aarch64), or the addend of a GOT access: the tables
				// above have those.
				if code := err.(*loader.Error).Violations[0].Code; code != loader.CodeInstruction &&
					code != loader.CodeGOTAddend {
					t.Errorf("%s: %v", r.Name, err)
				}
				continue
			}
			out, err := place(p, 0x3010, map[string]relocator.Addr{".text": 0x21, ".data": 0x1000})
			if err != nil && strings.Contains(err.Error(), "which is not in") {
				continue
			}
			if err != nil || strings.Trim(string(out[".data"]), "\x00") == "" {
				t.Errorf("%s: nothing was written, %v", r.Name, err)
			}
		}
	}
}

// isSlotOffset knows the types whose value here is the offset of the first slot, which is 0; TestAMD64Formulas has
// them.
func isSlotOffset(m elf.Machine, typ uint32) bool {
	switch elf.R_X86_64(typ) {
	case elf.R_X86_64_GOT32, elf.R_X86_64_GOT64, elf.R_X86_64_GOTPLT64:
		return m == elf.EM_X86_64
	}
	return false
}

// retype changes the type of the only relocation of an object.
func retype(t *testing.T, data []byte, typ uint32) []byte {
	t.Helper()
	f, err := elf.NewFile(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	out := []byte(string(data))
	at := f.Section(".rela.data").Offset + 8
	out[at], out[at+1] = byte(typ), byte(typ>>8)
	return out
}
