package loader_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
)

const importing = sdkHook + `
int RAND_poll(void);
extern char **environ;
CRPIE_IMPORT(RAND_poll, "libcrypto.so.3", CRPIE_OPTIONAL)
CRPIE_IMPORT(environ, "libc.so.6", CRPIE_REQUIRED)
CRPIE_IMPORT_AS(shuffle, int(long), "_ZN4game7shuffleEl@@GAME_2", "", CRPIE_REQUIRED)
__attribute__((used)) static int uses(void)
{
	return crpie_import_RAND_poll && *crpie_import_environ ? crpie_import_RAND_poll() : shuffle(1);
}
`

// Imports are read with their slots, which lie in data; the object has no undefined symbol for them.
func TestImports(t *testing.T) {
	for _, tool := range []string{cc, cc + " -O0", clang19, clang14 + " -O0", cxx + " -fcf-protection=none",
		"aarch64-linux-gnu-gcc -O1 -fPIC -ffreestanding -mno-outline-atomics"} {
		suffix, source := ".c", importing
		if strings.HasPrefix(tool, "g++") {
			suffix, source = ".cc", strings.Replace(importing, "int RAND", `extern "C" int RAND`, 1)
		}
		p := loadertest.MustLoad(t, tool, suffix, source, loader.Options{})
		var got []string
		for _, in := range p.Imports {
			got = append(got, fmt.Sprint(in.String(), " ", in.Required))
			if s := p.Sections[in.Section]; s.Segment() != loader.Data ||
				uint64(in.Offset)+8 > uint64(len(s.Data)) {
				t.Errorf("%s: the slot of %s is at %s+%#x", tool, in.String(), s.Name, in.Offset)
			}
		}
		want := []string{"RAND_poll of libcrypto.so.3 false", "environ of libc.so.6 true",
			"game::shuffle(long)@GAME_2 of the program true"}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", tool, got, want)
		}
		for _, s := range p.Sections {
			if s.Name == "crpie_imports" {
				t.Errorf("%s: the declarations are laid out", tool)
			}
		}
	}
}

// A record that cannot be right is refused, with what is wrong with it.
func TestDamagedImports(t *testing.T) {
	const good = "crpie_import slot, \"f\", \"l.so\"\n.data\n.balign 8\nslot: .quad 0\nmore: .quad 1, hook\n.text\nhook: ret\n"
	head := "#include <crpie/asm.h>\ncrpie_hook CR_PLUGIN_HOOK__PIE_RST_PRE_SIGRETURN, hook\n"
	for _, c := range []struct{ old, new, want string }{
		{`"f"`, `"f"`, ""},
		{`"f"`, `"@V"`, `import "@V": that is not SYMBOL`},
		{`"f"`, `"f@"`, `import "f@": that is not SYMBOL`},
		{`"l.so"`, `"l.so", 8`, `import "f" has flags 0x8`},
		{`"f"`, `"f\t"`, "its texts are not ended, or have characters that cannot be printed"},
		{"import slot", "import 0", "import f of l.so has no slot in this object"},
		{"import slot", "import more", "the slot of import f of l.so is initialised"},
		{"import slot", "import more+8", "the slot of an import is initialised"},
		{"import slot", "import slot+4", "slot of import f of l.so at .data+0x4 is not 8 aligned bytes"},
		{"import slot", "import slot+24", "slot of import f of l.so at .data+0x18 is not 8 aligned bytes"},
		{"import slot", "import slot-8", "is not 8 aligned bytes"},
		{"import slot", "import hook", "is in section .text, which is not writable"},
		{".data", ".bss", "is in section .bss, which is not writable or has no contents"},
		{"crpie_import", "crpie_import slot, \"g\", \"l.so\"\ncrpie_import", "is that of another one, too"},
	} {
		source := head + strings.Replace(good, c.old, c.new, 1)
		if c.new == ".bss" {
			source = strings.Replace(source, "more: .quad 1, hook\n", "", 1)
		}
		_, err := loadertest.Load(t, as, ".S", source, loader.Options{})
		if c.want == "" && err != nil ||
			c.want != "" && (err == nil || !strings.Contains(err.Error(), "PIE411") ||
				!strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s for %s: %v, want %q", c.new, c.old, err, c.want)
		}
	}
}
