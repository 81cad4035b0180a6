package blob_test

import (
	"fmt"
	"os"

	"github.com/crpie/crpie/blob"
	"github.com/crpie/crpie/loader"
)

// One object is both core and plugin here; a restore uses the embedded core.
func Example() {
	data, err := os.ReadFile("../loader/testdata/example.o")
	if err != nil {
		fmt.Println(err)
		return
	}
	core, err := loader.Parse(data, "core.o", loader.Options{Core: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	plugin, err := loader.Parse(data, "count.o", loader.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	layout, err := blob.NewLayout(core,
		[]blob.Input{{Plugin: plugin, Params: []blob.Param{{Key: "start", Value: "3"}}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d bytes, wherever it goes\n", layout.Size())
	img, err := layout.Relocate(0x7f0000000000)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range img.Segments {
		fmt.Printf("0x%x %v %d bytes of %d\n", s.Addr, s.Prot, len(s.Data), s.MemSize)
	}
	loc, _ := img.Locate(0x7f000000000b)
	fmt.Println(loc)
	// Output:
	// 12288 bytes, wherever it goes
	// 0x7f0000000000 r-x 4096 bytes of 4096
	// 0x7f0000001000 r-- 4096 bytes of 4096
	// 0x7f0000002000 rw- 8 bytes of 4096
	// count: hook+0x2
}
