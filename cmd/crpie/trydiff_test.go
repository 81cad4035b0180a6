//go:build linux && amd64

package main

import (
	"bytes"
	"encoding/hex"
	"strings"
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

// What a process has in its variables and its memory does not command the runner of a CI job.
func TestDiffSpeaksToNobody(t *testing.T) {
	const command = "##vso[task.setvariable]x"
	was, is := hex.EncodeToString([]byte(command)), hex.EncodeToString([]byte("##[error] of a hook.."))
	for what, d := range map[string]*inject.Diff{
		"variable": {Environment: []*inject.Change{{What: "A", Before: command, After: "::error::\n::error::"}}},
		"memory":   {Memory: []*inject.MemoryChange{{Address: "0x1000", Size: uint64(len(command)), Before: was, After: is}}},
		"mapping":  {Mappings: []*inject.Change{{What: "1000-2000", Before: "r--p /" + command, Gone: true}}},
	} {
		var out bytes.Buffer
		writeDiff(&out, d)
		if text := out.String(); strings.Contains(text, "##") || strings.Count(text, "\n") != 1 ||
			!strings.Contains(text, "vso[") {
			t.Errorf("%s: %s", what, text)
		}
	}
}
