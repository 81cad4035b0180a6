package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/creds"
	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/vma"
	"google.golang.org/protobuf/proto"

	"github.com/crpie/crpie/images"
)

// A supportRow is a row of the tables in support.md.
type supportRow struct {
	what, state     string
	images, shownBy []string
}

func supportRows(t *testing.T) []supportRow {
	t.Helper()
	data, err := os.ReadFile("support.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []supportRow
	quoted, shown := regexp.MustCompile("`([^`]+)`"), regexp.MustCompile("`([^`]+)`|(Test\\w+)")
	for _, line := range strings.Split(string(data), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "| ") || len(cells) != 4 || strings.HasPrefix(line, "| What ") {
			continue
		}
		row := supportRow{what: strings.TrimSpace(cells[0]), state: strings.TrimSpace(cells[2])}
		for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
			row.images = append(row.images, m[1])
		}
		for _, m := range shown.FindAllStringSubmatch(cells[3], -1) {
			row.shownBy = append(row.shownBy, m[1]+m[2])
		}
		rows = append(rows, row)
	}
	if len(rows) < 50 {
		t.Fatalf("support.md has %d rows", len(rows))
	}
	return rows
}

// Everything that CRIU writes is in the table.
func TestSupportTableIsComplete(t *testing.T) {
	var patterns []string
	for _, row := range supportRows(t) {
		patterns = append(patterns, row.images...)
	}
	for _, part := range dumped(t) {
		matches := func(pattern string) bool { ok, _ := path.Match(pattern, part); return ok }
		if !slices.ContainsFunc(patterns, matches) {
			t.Errorf("support.md does not say what becomes of %q", part)
		}
	}
	for _, pattern := range patterns {
		matches := func(part string) bool { ok, _ := path.Match(pattern, part); return ok }
		if pattern != "fown" && !slices.ContainsFunc(dumped(t), matches) {
			t.Errorf("support.md speaks of %q, which is no part of CRIU's images", pattern)
		}
	}
}

// dumped names the parts of CRIU's images: images, kinds of descriptors and mappings, and fields.
func dumped(t *testing.T) []string {
	t.Helper()
	parts := append(images.KindNames(), vmaKinds(t)...)
	kinds := fdinfo.FdTypes(0).Descriptor().Values()
	for i := range kinds.Len() {
		// CRIU's own
		if name := string(kinds.Get(i).Name()); name != "UND" && name != "CTL_TTY" && name != "AUTOFS_PIPE" {
			parts = append(parts, "fd "+name)
		}
	}
	for _, m := range []proto.Message{&criu_core.CoreEntry{}, &criu_core.TaskCoreEntry{},
		&criu_core.ThreadCoreEntry{}, &mm.MmEntry{},
		&creds.CredsEntry{}, &inventory.InventoryEntry{}, &vma.VmaEntry{}, &pstree.PstreeEntry{},
		&criu_core.TaskKobjIdsEntry{}} {
		d := m.ProtoReflect().Descriptor()
		for i := range d.Fields().Len() {
			parts = append(parts, string(d.Name())+"."+string(d.Fields().Get(i).Name()))
		}
	}
	return parts
}

// vmaKinds turns the constants of images/vma.go into words: VmaFilePrivate is "file private".
func vmaKinds(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "images", "vma.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	words := regexp.MustCompile(`[A-Z]([A-Z]+$|[a-z]*)`)
	for name, obj := range file.Scope.Objects { //nolint:staticcheck // the file alone has what is needed
		if kind, found := strings.CutPrefix(name, "Vma"); found && obj.Kind == ast.Con {
			kinds = append(kinds, strings.ToLower(strings.Join(words.FindAllString(kind, -1), " ")))
		}
	}
	return kinds
}

// Nothing is there twice, and so nothing twice with different results.
func TestSupportTableHasNoRowTwice(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range supportRows(t) {
		if seen[row.what] {
			t.Errorf("two rows: %s", row.what)
		}
		seen[row.what] = true
	}
}

// What is restored or refused has a victim or a test that shows it, and they exist.
func TestSupportTableNamesWhatShowsIt(t *testing.T) {
	tests := testNames(t)
	for _, row := range supportRows(t) {
		state, _, _ := strings.Cut(row.state, " ")
		if claims := strings.Contains(row.state, "refused") ||
			strings.Contains(row.state, "restored") && state != "not"; claims && len(row.shownBy) == 0 {
			t.Errorf("%s: nothing shows that it is %s", row.what, row.state)
		}
		for _, by := range row.shownBy {
			victims, _ := filepath.Glob(filepath.Join("..", "testdata", "victims", by+"*"))
			if strings.HasPrefix(by, "Test") && !tests[by] ||
				!strings.HasPrefix(by, "Test") && len(victims) == 0 {
				t.Errorf("%s: there is no %s", row.what, by)
			}
		}
	}
}

func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	files, _ := filepath.Glob("../*/*_test.go")
	for _, deeper := range []string{"../*/*/*_test.go", "../*/*/*/*_test.go", "../*/*/*/*/*_test.go"} {
		more, _ := filepath.Glob(deeper)
		files = append(files, more...)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range function.FindAllStringSubmatch(string(data), -1) {
			names[m[1]] = true
		}
	}
	return names
}
