package loader_test

import (
	"bytes"
	"debug/elf"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
)

// What compilers say of a frame is found in whichever table they say it, also where ld -r has joined objects; where
// they keep a frame pointer they say nothing of it.
func TestFramesOfCompilers(t *testing.T) {
	for _, tc := range []struct {
		tool string
		says bool
	}{
		{cc + " -g", true},
		{cc + " -gdwarf-2", true},
		{cc + " -g -gz -mcmodel=large", true},
		{cc + " -fasynchronous-unwind-tables", true},
		{cc + " -fstack-clash-protection -g", true},
		{clang19 + " -g", true},
		{clang14 + " -fasynchronous-unwind-tables", true},
		{clang14 + " -fstack-size-section", true},
		{arm + " -g", true},
		{arm + " -fasynchronous-unwind-tables", true},
		{cc, false},
		{cc + " -g -fno-omit-frame-pointer", false},
	} {
		p := loadertest.MustLoad(t, tc.tool, ".c", records+bigFrame, loader.Options{})
		var found []string
		for _, n := range p.Notes {
			if n.Code == loader.CodeFrame {
				found = append(found, n.Message+" at "+n.Places[0].Function)
			}
		}
		switch all := strings.Join(found, "\n"); {
		case !tc.says && len(found) > 0, tc.says && len(found) != 1,
			tc.says && (!strings.HasPrefix(all, "the frame of f has ") || !strings.HasSuffix(all, " at f")):
			t.Errorf("%s: %q", tc.tool, found)
		}
	}
}

// Many entries, of many kinds, cost no more than their bytes.
func TestHostileFramesAreCheap(t *testing.T) {
	const entry = 13
	tiny := make([]byte, 0, entry*1_000_000)
	for i := range cap(tiny) / entry { // common entries, each with the version 1 and nothing else
		tiny = append(tiny, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, byte(i), 16)
	}
	remember := append([]byte{0, 0, 16, 0, 0, 0, 0, 0, 1, 0, 1, 0, 16}, bytes.Repeat([]byte{0x0a}, 1<<20)...)
	sizes := bytes.Repeat([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 1}, 1<<20)
	for name, data := range map[string][]byte{".eh_frame": tiny, ".debug_frame": remember, ".stack_sizes": sizes} {
		affordable(t, craft(base(8, part{name: name, typ: elf.SHT_PROGBITS, data: data})),
			loader.Options{Core: true})
	}
}
