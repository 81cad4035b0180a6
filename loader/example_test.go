package loader_test

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/crpie/crpie/loader"
)

// A plugin is loaded once; what the rules have against it comes as one error with every violation in it.
func ExampleLoad() {
	text := "int hook(void) { return 0; }"
	_, err := loader.Load(strings.NewReader(text), int64(len(text)), "hook.c", loader.Options{})

	var all *loader.Error
	if errors.As(err, &all) {
		for _, v := range all.Violations {
			fmt.Printf("%s: %s\n", v.Code, v.Message)
			fmt.Printf("fix: %s\n", v.Fix)
		}
	}
	// Output:
	// PIE001: not an ELF object: begins with 69 6e 74 20
	// fix: compile with -c and give the .o
}

// Walking the relocations of an object.
func ExampleRelocations_All() {
	data, err := os.ReadFile("testdata/example.o")
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := loader.Parse(data, "example.o", loader.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, h := range p.Hooks {
		fmt.Printf("hook %v: %s\n", h.ID, h.Fn.Symbol)
	}
	for i := range p.Sections {
		s := &p.Sections[i]
		for r := range s.Relocs.All() {
			fmt.Printf("%s+0x%x %s %s%+d\n", s.Name, r.Offset, loader.LookupReloc(p.Machine, r.Type).Name,
				p.SymbolLabel(r.Symbol), r.Addend)
		}
	}
	// Output:
	// hook PIE_RST_PRE_SIGRETURN: hook
	// .text+0x2 R_X86_64_PC32 counter-4
}
