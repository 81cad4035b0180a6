//go:build linux && amd64

package changes

import (
	"debug/dwarf"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/elffile"
	"github.com/crpie/crpie/internal/sys"
	"github.com/crpie/crpie/internal/taskview"
)

// A FIFO at the path of what a process has mapped is not opened. Its other end is open here, lest a mistake wait.
func TestFIFOInPlaceOfAnObject(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f (deleted)")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	end, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	if _, err := elffile.OpenProgram(name); err == nil || !strings.Contains(err.Error(), "it is a FIFO") {
		t.Errorf("opened as a program: %v", err)
	}
	n := &Names{vmas: []taskview.VMA{{Start: 0x1000, End: 0x2000, Name: name}}, objects: map[string]*object{}}
	n.open(sys.PID(os.Getpid()), 0x1000)
	if o := n.objects[name]; o == nil || o.file != nil {
		t.Errorf("opened for names: %+v", o)
	}
	n.Close()
}

// firstType is behind the header of the one unit, 11 bytes, and the unit's entry, DWARF 4, section 7.5.
const firstType = 12

// typesOf makes DWARF of types: their codes in .debug_abbrev, each with the offset of the type that it refers to.
func typesOf(t *testing.T, entries ...byte) *dwarf.Data {
	t.Helper()
	const compileUnit, withChildren = 0x11, 1
	abbrev := []byte{1, compileUnit, withChildren, 0, 0}
	for i, tag := range []dwarf.Tag{dwarf.TagPointerType, dwarf.TagTypedef, dwarf.TagConstType,
		dwarf.TagArrayType} {
		const typeAttribute, ref1 = 0x49, 0x11
		abbrev = append(abbrev, byte(2+i), byte(tag), 0, typeAttribute, ref1, 0, 0)
	}
	abbrev = append(abbrev, 0)
	// The version, where its abbreviations are, the size of an address; the unit.
	info := append([]byte{4, 0, 0, 0, 0, 0, 8, 1}, entries...)
	info = append(info, 0)
	info = append([]byte{byte(len(info)), 0, 0, 0}, info...)
	data, err := dwarf.New(abbrev, nil, nil, info, nil, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A type that is made of itself has no end; its variable has one.
func TestTypesOfThemselves(t *testing.T) {
	const pointer, typedef, constant, array = 2, 3, 4, 5
	for name, entries := range map[string][]byte{
		"pointer": {pointer, firstType}, "typedef": {typedef, firstType}, "const": {constant, firstType},
		"array":   {array, firstType},
		"pair":    {typedef, firstType + 2, constant, firstType},
		"pointed": {pointer, firstType + 2, constant, firstType},
	} {
		kind, err := newTypes(typesOf(t, entries...)).at(firstType)
		if strings.HasPrefix(name, "point") {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			v := &dwarfVariable{name: "v", kind: kind}
			if _, text, _, _ := v.member(0, 1); text != errTypes.Error() {
				t.Errorf("%s: %q", name, text)
			}
		} else if err != errTypes {
			t.Errorf("%s: %v, %v", name, kind, err)
		}
	}
	end := append([]byte{typedef, firstType + 2}, pointer, firstType+4, constant, firstType)
	if kind, err := newTypes(typesOf(t, end...)).at(firstType); err != nil || kind.Size() != 8 {
		t.Errorf("%v, %v", kind, err)
	}
}
