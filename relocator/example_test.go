package relocator_test

import (
	"fmt"
	"os"

	"github.com/crpie/crpie/loader"
	"github.com/crpie/crpie/relocator"
)

// Apply needs an address and a buffer for every section. Package blob chooses them for a whole image.
func ExampleApply() {
	data, err := os.ReadFile("../loader/testdata/example.o")
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := loader.Parse(data, "example.o", loader.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	target := relocator.Target{GOTBytes: make([]byte, len(p.GOT)*relocator.SlotSize)}
	for i := range p.Sections {
		target.Sections = append(target.Sections, relocator.Addr(0x10000+0x1000*i))
		target.Bytes = append(target.Bytes, make([]byte, len(p.Sections[i].Data)))
	}
	if err := relocator.Apply(p, target); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s at 0x%x: % x\n", p.Sections[0].Name, target.Sections[0], target.Bytes[0])
	// Output:
	// .text at 0x10000: 01 05 fa 0f 00 00 31 c0 c3
}
