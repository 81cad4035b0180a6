package graft_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"testing/fstest"

	"github.com/crpie/crpie/graft"
	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/refusal"
)

// dumped is what criu dump wrote, with zeros for the contents of memory.
func dumped() fs.FS {
	files := fstest.MapFS{"pages-1.img": {Data: make([]byte, 1110016)}}
	images := os.DirFS("../testdata/images/static")
	names, _ := fs.Glob(images, "*")
	for _, name := range names {
		data, _ := fs.ReadFile(images, name)
		files[path.Base(name)] = &fstest.MapFile{Data: data}
	}
	return files
}

// What cannot be grafted is refused before anything is written, all of it at once.
func ExampleNew() {
	dir, err := images.Open(dumped())
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = graft.New(dir, &graft.Options{})
	var refused *refusal.Refusal
	if errors.As(err, &refused) {
		for _, p := range refused.Problems {
			fmt.Printf("%s: %s\n", p.Where, p.What)
		}
	}
	// Output:
	// plugins: no hook is left that a graft could run: PIE_RST_PRE_SIGRETURN_THREAD or PIE_RST_PRE_SIGRETURN
}
