package plan

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/abi"
)

// Every member of the JSON document is described in docs/dry-run.md, and nothing else is.
func TestDocumentIsDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "dry-run.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## As JSON")
	var described []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1) {
		described = append(described, m[1])
	}
	members := members("", reflect.TypeFor[Document]())
	if !slices.Equal(described, members) {
		t.Errorf("docs/dry-run.md describes\n%s\nthe document has\n%s", strings.Join(described, " "),
			strings.Join(members, " "))
	}
}

// No list is null, whatever is empty: readers in other languages go through them without asking.
func TestDocumentHasNoNull(t *testing.T) {
	p := Plan{
		Zygote: []Op{{Code: abi.OpPark}}, Tasks: []*Task{{Hooks: []StageHooks{{}}}}, Cgroups: []CgroupDir{{}},
		Connections: []*Connection{{}},
	}
	for _, d := range []*Document{new(Plan).Document(), p.Document()} {
		var b bytes.Buffer
		if err := d.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), ": null") {
			t.Errorf("%s", b.String())
		}
	}
}

// members lists the paths of the JSON members of a struct: a[].b for member b of the elements of list a.
func members(path string, typ reflect.Type) (all []string) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		at, of := path+name, f.Type
		if of.Kind() == reflect.Slice {
			at, of = at+"[]", of.Elem()
		}
		if of.Kind() != reflect.Struct || strings.HasSuffix(at, "[]") {
			all = append(all, at)
		}
		if of.Kind() == reflect.Struct {
			all = append(all, members(at+".", of)...)
		}
	}
	return all
}
