package relocator_test

import (
	"os"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
)

// oracleSource has what makes compilers write relocations: calls, jumps, tables, data of all sizes, addresses of all
// of it.
const oracleSource = `
typedef unsigned long size_t;
extern int outside(int), missing[]; int visible = 3; static char bytes[64]; static short halves[8] = {1, 2};
static long words[70000]; __attribute__((aligned(16))) static int quads[16] = {1};
static const char *const names[] = {"a", "bc", "def"}; static int f(int); int (*const table[])(int) = {f, outside};
long *const p = &words[5]; void *self = &self; extern __attribute__((visibility("hidden"))) int near[];
static int f(int i) { switch (i) { case 0: return bytes[i]; case 1: return outside(2); case 2: return visible; case 3: return words[7];
 case 4: return names[i & 1][0]; case 5: return quads[i]; case 6: return halves[i]; case 7: return missing[i]; } return near[i]; }
__attribute__((noinline)) int g(int i) { for (int k = 0; k < 16; k++) quads[k] += i; return f(i) + table[i & 1](i); }
int *h(int i) { return i ? &visible : missing; } size_t distance(void) { return (char *)&words[3] - bytes; }
__attribute__((section(".text.cold"), noinline)) int cold(int i) { return g(i) + (outside == f); }
int k(int i) { if (__builtin_expect(i == 77, 0)) return cold(i); words[i] = i; bytes[i & 63] = i; return outside(i); }
`

// TestOracleOnCodeModels compares code models and options that no library of a distribution uses.
func TestOracleOnCodeModels(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range []struct {
		linkers [][]string
		tools   []string
	}{
		{[][]string{gnuAMD64}, []string{"gcc -fPIC", "gcc -fpie", "gcc -fno-pic -no-pie",
			"gcc -fPIC -mcmodel=medium", "gcc -fPIC -mcmodel=large",
			"gcc -fno-pic -mcmodel=large", "gcc -fPIC -fno-plt",
			"gcc -fPIC -ffunction-sections -fdata-sections", "clang-14 -fPIC",
			"clang-14 -fPIC -mcmodel=medium",
			"clang-14 -fPIC -mcmodel=large", "clang-19 -fPIC -fno-plt", "clang-19 -fPIC -mcmodel=large",
			"clang-19 -fno-pic -mcmodel=kernel"}},
		{[][]string{gnuARM64}, []string{"aarch64-linux-gnu-gcc -fPIC", "aarch64-linux-gnu-gcc -fpic",
			"aarch64-linux-gnu-gcc -fpie",
			"aarch64-linux-gnu-gcc -fno-pic", "aarch64-linux-gnu-gcc -fno-pic -mcmodel=large",
			"aarch64-linux-gnu-gcc -fPIC -fno-plt",
			"clang-14 --target=aarch64-linux-gnu -fPIC", "clang-19 --target=aarch64-linux-gnu -fno-pic",
			"clang-19 --target=aarch64-linux-gnu -fno-pic -mcmodel=large",
			"clang-14 --target=aarch64-linux-gnu -fno-pic -mcmodel=large"}},
	} {
		for _, tool := range c.tools {
			for _, level := range []string{" -O0", " -O2", " -Os"} {
				compareSource(t, tool+level, c.linkers, seen)
			}
		}
	}
	for _, want := range []string{"R_X86_64_GOTOFF64", "R_X86_64_GOTPC64", "R_X86_64_GOT64", "R_X86_64_32S",
		"R_X86_64_PLTOFF64",
		"R_AARCH64_MOVW_UABS_G3", "R_AARCH64_MOVW_UABS_G0_NC", "R_AARCH64_LD64_GOTPAGE_LO15",
		"R_AARCH64_ADR_GOT_PAGE"} {
		if !seen[want] {
			t.Errorf("no compiler made a %s", want)
		}
	}
}

// compareSource compiles the source and compares the object; seen gathers the relocation types.
func compareSource(t *testing.T, tool string, linkers [][]string, seen map[string]bool) {
	t.Helper()
	data, err := os.ReadFile(loadertest.Compile(t,
		tool+" -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables -w", ".c", oracleSource))
	if err != nil {
		t.Fatal(err)
	}
	m := member{tool, data}
	for _, linker := range linkers {
		if o := compareOne(m, linker, t.TempDir()); o.err != nil || o.leftOut != "" || o.bytes == 0 {
			t.Errorf("%s, %s: %v, left out: %q, %d bytes", tool, linker[0], o.err, o.leftOut, o.bytes)
		}
	}
	p, err := loader.Parse(data, tool,
		loader.Options{Core: true, AllowAbs32: true, Defined: undefinedSymbols(data)})
	if err != nil {
		return // compareOne has said so
	}
	for i := range p.Sections {
		for r := range p.Sections[i].Relocs.All() {
			seen[strings.TrimSpace(loader.LookupReloc(p.Machine, r.Type).Name)] = true
		}
	}
}
