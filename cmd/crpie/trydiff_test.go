//go:build linux && amd64

package main

import (
	"bytes"
	"testing"

	"github.com/crpie/crpie/inject"
)

// A difference says whether a thing was there or was empty.
func TestWriteChanges(t *testing.T) {
	var out bytes.Buffer
	writeDiff(&out, &inject.Diff{
		Descriptors: []*inject.Change{{What: "3", After: "/a b", New: true}, {What: "4", Before: "/c", Gone: true}},
		Environment: []*inject.Change{{What: "A", Before: "1"}, {What: "B", New: true}, {What: "C", Before: "x", Gone: true}},
		Attributes:  []*inject.Change{{What: "Groups", After: "0"}},
	})
	want := "  descriptor 3: new: /a b\n  descriptor 4: gone: /c\n  variable A: \"1\" -> \"\"\n  variable B: new: \"\"\n" +
		"  variable C: gone: \"x\"\n  status Groups: \"\" -> \"0\"\n"
	if out.String() != want {
		t.Errorf("%s", out.String())
	}
}
