package blob_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/internal/abi"
	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
)

const gcc = "gcc -g -O1 -fPIC -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables"

const core = `
static int scratch[3000];
const char banner[] = "core";
int crpie_start(int i) { return scratch[i]++; }
`

// plugin registers one function for two stages.
const plugin = `
#include <crpie/abi.h>
#define HOOK(id, prio) __attribute__((section("crpie_hooks"), used, aligned(8))) \
	static struct crpie_hook_record r_##id = {sizeof r_##id, 1, CR_PLUGIN_HOOK__##id, prio, hook}
static int state = 42;
const char *const words[] = {"one", "two"};
int hook(struct crpie_ctx *ctx) { return words[ctx->pid & 1][0] + state; }
HOOK(PIE_RST_PRE_SIGRETURN, PRIO);
HOOK(PIE_RST_POST_MEMORY, 0);
`

func image(t *testing.T, base blob.Addr) *blob.Image { return imageOf(t, gcc, base) }

func imageOf(t *testing.T, tool string, base blob.Addr) *blob.Image {
	t.Helper()
	c := loadertest.MustLoad(t, tool, ".c", core, loader.Options{Core: true})
	a := loadertest.MustLoad(t, tool+" -DPRIO=5", ".c", plugin, loader.Options{})
	b := loadertest.MustLoad(t, tool+" -DPRIO=-5", ".c", plugin, loader.Options{})
	l, err := blob.NewLayout(c, []blob.Input{{Plugin: a,
		Params: []blob.Param{{Key: "id", Value: "7"}, {Key: "x"}}}, {Plugin: b}})
	if err != nil {
		t.Fatal(err)
	}
	img, err := l.Relocate(base)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// memory reads an image as its process would.
type memory struct {
	t   *testing.T
	img *blob.Image
}

func (m memory) at(a blob.Addr) []byte {
	for _, s := range m.img.Segments {
		if a >= s.Addr && a < s.Addr+blob.Addr(len(s.Data)) {
			return s.Data[a-s.Addr:]
		}
	}
	m.t.Fatalf("0x%x is not in the image", a)
	return nil
}

func (m memory) u32(a blob.Addr) uint32     { return binary.LittleEndian.Uint32(m.at(a)) }
func (m memory) addr(a blob.Addr) blob.Addr { return blob.Addr(binary.LittleEndian.Uint64(m.at(a))) }
func (m memory) str(a blob.Addr) string {
	s, _, _ := strings.Cut(string(m.at(a)), "\x00")
	return s
}

func TestSegmentsAreSeparateByProtection(t *testing.T) {
	img := image(t, 0x7f0000000000)
	var prots []string
	next := img.Base
	for _, s := range img.Segments {
		prots = append(prots, s.Prot.String())
		if s.Addr != next || s.MemSize%blob.PageSize != 0 || uint64(len(s.Data)) > s.MemSize {
			t.Errorf("segment at 0x%x has %d bytes of 0x%x, the one before ends at 0x%x", s.Addr,
				len(s.Data), s.MemSize, next)
		}
		next += blob.Addr(s.MemSize)
	}
	if got := strings.Join(prots, " "); got != "r-x r-- rw-" || next != img.Base+blob.Addr(img.Size) {
		t.Errorf("protections are %s, end is 0x%x of 0x%x", got, next, img.Size)
	}
}

func TestHookTable(t *testing.T) {
	img := image(t, 0x7f0000000000)
	m := memory{t, img}
	if m.u32(img.Table) != abi.TableSize || m.u32(img.Table+abi.TableABIOff) != abi.Version ||
		m.addr(img.Table+abi.TableNrPluginsOff) != 2 || m.addr(img.Table+abi.TableNrHooksOff) != 4 {
		t.Fatalf("table begins with % x", m.at(img.Table)[:abi.TableSize])
	}
	first := m.addr(img.Table + abi.TablePluginsOff)
	params := m.addr(first + abi.TablePluginParamsOff)
	pair := func(at blob.Addr) string {
		return " " + m.str(m.addr(at+abi.ParamPairKeyOff)) + "=" + m.str(m.addr(at+abi.ParamPairValueOff))
	}
	got := m.str(m.addr(first+abi.TablePluginNameOff)) + pair(params) + pair(params+abi.ParamPairSize)
	if got != "plugin #1 id=7 x=" || m.addr(first+abi.TablePluginNrParamsOff) != 2 {
		t.Errorf("first plugin is %q with %d parameters", got, m.addr(first+abi.TablePluginNrParamsOff))
	}
	type hook struct {
		id       uint32
		priority int32
		plugin   uint32
	}
	for i, want := range []hook{{0x101, 0, 0}, {0x101, 0, 1}, {0x106, -5, 1}, {0x106, 5, 0}} {
		at := m.addr(img.Table+abi.TableHooksOff) + blob.Addr(i*abi.TableHookSize)
		if got := (hook{m.u32(at + abi.TableHookHookOff), int32(m.u32(at + abi.TableHookPriorityOff)),
			m.u32(at + abi.TableHookPluginOff)}); got != want {
			t.Errorf("hook %d is %+v, want %+v", i, got, want)
		}
		loc, ok := img.Locate(m.addr(at + abi.TableHookFnOff))
		if !ok || loc.Function != "hook" || loc.FunctionOffset != 0 || loc.Plugin != int(want.plugin) ||
			!strings.HasSuffix(loc.File, "plugin.c") || loc.Line != 7 {
			t.Errorf("hook %d is at %+v, %v", i, loc, ok)
		}
	}
}

func TestCoreSymbolsAndLocations(t *testing.T) {
	img := image(t, 0x10000)
	start, ok := img.CoreSymbol("crpie_start")
	loc, found := img.Locate(start + 1)
	if !ok || !found || loc.Plugin != -1 || !strings.HasPrefix(loc.String(), "plugin: crpie_start+0x1 (") {
		t.Errorf("crpie_start is at 0x%x, %v: %v, %v", start, ok, loc, found)
	}
	for _, nowhere := range []blob.Addr{0, img.Base - 1, img.Base + blob.Addr(img.Size), img.Table} {
		if loc, ok := img.Locate(nowhere); ok {
			t.Errorf("0x%x is %v", nowhere, loc)
		}
	}
}

func TestPlaceNeedsAPageAndRoom(t *testing.T) {
	c := loadertest.MustLoad(t, gcc, ".c", core, loader.Options{Core: true})
	l, err := blob.NewLayout(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, base := range []blob.Addr{1, 0xfffffffffffff000} {
		if img, err := l.Relocate(base); err == nil || img != nil {
			t.Errorf("placed at 0x%x", base)
		}
	}
}

func TestParametersCannotContainNUL(t *testing.T) {
	c := loadertest.MustLoad(t, gcc, ".c", core, loader.Options{Core: true})
	_, err := blob.NewLayout(c, []blob.Input{{Plugin: c, Params: []blob.Param{{Key: "a", Value: "b\x00"}}}})
	if want := `lay out plugin.o: parameter "a"="b\x00" of plugin 0 is empty or contains a NUL`; err == nil ||
		err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A plugin finds what it was given and the defaults of the rest.
func TestDefaultsAreHanded(t *testing.T) {
	c := loadertest.MustLoad(t, gcc, ".c", core, loader.Options{Core: true})
	p := loadertest.MustLoad(t, gcc+" -DPRIO=0", ".c", "#include <crpie/plugin.h>\n"+plugin+`
CRPIE_PARAM_STR("a", CRPIE_DEFAULT("alpha"), "")
CRPIE_PARAM_STR("b", CRPIE_DEFAULT("beta"), "")
CRPIE_PARAM_STR("c", CRPIE_OPTIONAL, "")
`, loader.Options{})
	in := []blob.Input{{Plugin: p, Params: []blob.Param{{Key: "b", Value: "given"}}}}
	l, err := blob.NewLayout(c, in)
	if err != nil {
		t.Fatal(err)
	}
	img, err := l.Relocate(0x10000)
	if err != nil {
		t.Fatal(err)
	}
	m := memory{t, img}
	entry := m.addr(img.Table + abi.TablePluginsOff)
	at, got := m.addr(entry+abi.TablePluginParamsOff), ""
	for i := range m.addr(entry + abi.TablePluginNrParamsOff) {
		pair := at + i*abi.ParamPairSize
		got += fmt.Sprintf("%s=%s ", m.str(m.addr(pair)), m.str(m.addr(pair+8)))
	}
	if want := "b=given a=alpha "; got != want || len(in[0].Params) != 1 {
		t.Errorf("the plugin finds %q, want %q; the input has %v", got, want, in[0].Params)
	}
}

// BenchmarkLink checks and places the objects of scripts/bench-objects: a hook of 2 KB, SQLite, OpenSSL's libcrypto. It
// makes them unless BENCH_OBJECTS is a directory that has them.
func BenchmarkLink(b *testing.B) {
	dir := os.Getenv("BENCH_OBJECTS")
	if dir == "" {
		dir = b.TempDir()
		if out, err := exec.Command("../scripts/bench-objects", dir).CombinedOutput(); err != nil {
			b.Fatalf("scripts/bench-objects: %v (scripts/install-test-deps --bench installs what it needs)\n%s", err, out)
		}
	}
	for _, name := range []string{"hook.o", "sqlite.o", "crypto.o"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) { benchmarkLink(b, data) })
	}
}

func benchmarkLink(b *testing.B, data []byte) {
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		p, err := loader.Parse(data, "plugin.o", loader.Options{Core: true, AllowAbs32: true})
		if err != nil {
			b.Fatal(err)
		}
		l, err := blob.NewLayout(p, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := l.Relocate(0x10000000); err != nil {
			b.Fatal(err)
		}
	}
}

// TestMisfitNamesTheNearestBase: each source fits at some bases only, or at none.
func TestMisfitNamesTheNearestBase(t *testing.T) {
	const text, noexec = ".text\nf: ", "\n.section .note.GNU-stack,\"\",@progbits\n"
	for _, c := range []struct {
		tool, source string
		base         blob.Addr
		// the end of the message, after "everything fits is "; empty if it must not be there
		want string
	}{
		{"gcc", ".long f", 1 << 33, "0xfffff000"},
		{"gcc", ".long f+0x1800", 1 << 33, "0xffffe000"},
		{"gcc", ".reloc ., R_X86_64_32S, f\n.long 0", 1 << 33, "0x7ffff000"},
		{"gcc", ".reloc ., R_X86_64_32S, f\n.long 0", 0xfffffffe00000000, "0xffffffff80000000"},
		{"gcc", "call far", 0x1000, "0x6fff80000000"},
		{"gcc", "call far", 0x7fff00000000, "0x70007ffff000"},
		// one near far, the other below 4 GiB
		{"gcc", "call far\n.long f", 0x1000, ""},
		{"gcc", "call far\ncall near", 1 << 50, ""},                            // both absolute, too far apart
		{"gcc", ".long 0\n.reloc f, R_X86_64_PC32, f+0x100000000", 0x1000, ""}, // both ends move
		{"gcc", ".word f", 0x20000, "0xf000"},
		{"aarch64-linux-gnu-gcc", "bl far", 0x1000, "0x6ffff8001000"},
		{"aarch64-linux-gnu-gcc", "movz x0, #:abs_g1:f", 1 << 33, "0xfffff000"},
		{"aarch64-linux-gnu-gcc", "adrp x0, far", 0x1000, "0x6fff00001000"},
	} {
		opts := loader.Options{Core: true, AllowAbs32: true,
			Defined: map[string]uint64{"far": 0x700000000000, "near": 0x1000}}
		l, err := blob.NewLayout(loadertest.MustLoad(t, c.tool, ".s", text+c.source+noexec, opts), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.Relocate(c.base)
		if err == nil {
			t.Errorf("%s: placed at 0x%x", c.source, c.base)
			continue
		}
		_, got, _ := strings.Cut(err.Error(), "\nthe nearest base at which everything fits is ")
		if got != c.want {
			t.Errorf("%s: got %q, want %q: %v", c.source, got, c.want, err)
		}
		if near, err := strconv.ParseUint(got, 0, 64); err == nil {
			if _, err := l.Relocate(blob.Addr(near)); err != nil {
				t.Error(err)
			}
			nearer := blob.Addr(near) + blob.PageSize
			if blob.Addr(near) > c.base {
				nearer = blob.Addr(near) - blob.PageSize
			}
			if _, err := l.Relocate(nearer); err == nil {
				t.Errorf("%s: 0x%x is nearer", c.source, nearer)
			}
		}
	}
}

func TestSectionsBetweenStartAndStopAreAdjacent(t *testing.T) {
	source := `
#define NUM __attribute__((section("nums"))) inline int
extern "C" int __start_nums[], __stop_nums[];
NUM a = 1; inline int between = 7; NUM b = 2; NUM c = 3;
int *bounds[] = {__start_nums, __stop_nums};
int sum() { return a + between + b + c; }`
	c := loadertest.MustLoad(t, "clang-19 -O1 -fPIC -ffreestanding -std=c++17", ".cc", source,
		loader.Options{Core: true})
	l, err := blob.NewLayout(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	img, err := l.Relocate(0x10000)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := img.CoreSymbol("bounds")
	bounds := img.Bytes(at, 16)
	start, stop := binary.LittleEndian.Uint64(bounds), binary.LittleEndian.Uint64(bounds[8:])
	if got := img.Bytes(blob.Addr(start),
		stop-start); string(got) != "\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00" {
		t.Errorf("from 0x%x to 0x%x: % x", start, stop, got)
	}
}
