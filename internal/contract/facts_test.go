package contract

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
)

// numbers are C expressions and their values.
type numbers map[string]int64

// all is the contract as the tables have it.
func all() []*Group { return []*Group{Public(), Resident(), Restorer(), Graft()} }

// claims are what the tables say of C.
func claims(groups []*Group) numbers {
	n := numbers{}
	for _, g := range groups {
		for _, num := range g.Numbers {
			n[num.C] = int64(num.Value)
		}
		for _, e := range g.Enums {
			for _, m := range e.Members {
				n[m.C] = int64(m.Value)
			}
		}
		for _, s := range g.Structs {
			n.addStruct(&s)
		}
	}
	return n
}

func (n numbers) addStruct(s *Struct) {
	l := s.Layout()
	typ := "struct " + s.C
	n["sizeof("+typ+")"], n["_Alignof("+typ+")"] = int64(l.Size), int64(l.Align)
	for i, m := range s.Members {
		member := fmt.Sprintf("((%s *)0)->%s", typ, m.Name)
		if m.Type.Ends {
			member += "[0]"
		}
		n[fmt.Sprintf("offsetof(%s, %s)", typ, m.Name)] = int64(l.Offsets[i])
		n["sizeof("+member+")"] = int64(m.Type.Size * max(m.Type.Len, 1))
		if m.Type.C != "" {
			array := ""
			if m.Type.Len > 0 {
				array = m.Type.brackets()
			}
			n[fmt.Sprintf("__builtin_types_compatible_p(__typeof__(%s), %s%s)", member, m.Type.C, array)] = 1
		}
		if s.Asm {
			n[s.macro(m.Name)] = int64(l.Offsets[i])
			n[s.macro("size")+"OF"] = int64(l.Size)
		}
	}
}

// addArguments adds where the arguments of the operations lie.
func (n numbers) addArguments(ops []Op) {
	l := opRecord().Layout()
	first := l.Offsets[slices.IndexFunc(opRecord().Members, func(m Member) bool { return m.Type.Union })]
	for _, op := range ops {
		for i, a := range op.Args {
			n[fmt.Sprintf("offsetof(struct crpie_op, %s.%s)", op.member(), a.C)] = int64(first + 8*i)
			n[fmt.Sprintf("sizeof(((struct crpie_op *)0)->%s.%s)", op.member(), a.C)] = 8
		}
	}
}

func opRecord() *Struct {
	all := restorerStructs()
	return &all[slices.IndexFunc(all, func(s Struct) bool { return s.C == "crpie_op" })]
}

// whole is everything that the tables say.
func whole() numbers {
	n := claims(all())
	n.addArguments(Ops())
	return n
}

// differences lists what C does not have as claimed.
func (n numbers) differences(c numbers) (wrong []string) {
	for _, expr := range slices.Sorted(maps.Keys(n)) {
		if value, ok := c[expr]; !ok || value != n[expr] {
			wrong = append(wrong, fmt.Sprintf("%s: C has %d, Go %d", expr, value, n[expr]))
		}
	}
	return wrong
}

// facts has a C compiler evaluate expressions with the headers as they are committed.
func facts(t *testing.T, cc string, exprs []string) numbers {
	t.Helper()
	source := "#include <stddef.h>\n#include <crpie/abi.h>\n#include <crpie/resident.h>\n" +
		"#include \"contract.h\"\n#include \"graft_contract.h\"\n" +
		"const long long facts[] __attribute__((section(\".facts\"))) = {\n\t" + strings.Join(exprs, ",\n\t") + "\n};\n"
	dir := t.TempDir()
	file, object := filepath.Join(dir, "facts.c"), filepath.Join(dir, "facts.o")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	include := loadertest.Include(t)
	root := filepath.Join(include, "..", "..")
	cmd := exec.Command(loadertest.Tool(t, cc), "-c", "-Werror", "-ffreestanding", "-I", include, "-I",
		filepath.Join(root, "restorer", "core", "src"),
		"-I", filepath.Join(root, "graft", "core", "src"), "-o", object, file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cc, err, out)
	}
	f, err := elf.Open(object)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := f.Section(".facts").Data()
	if err != nil || len(data) != 8*len(exprs) {
		t.Fatalf("%s: %d bytes of facts for %d expressions, %v", cc, len(data), len(exprs), err)
	}
	n := numbers{}
	for i, expr := range exprs {
		n[expr] = int64(binary.LittleEndian.Uint64(data[8*i:]))
	}
	return n
}
