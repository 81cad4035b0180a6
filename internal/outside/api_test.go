package outside_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/crpie/crpie"

// listed is a package as go list describes it.
type listed struct {
	ImportPath, Name, Dir, Export string
	GoFiles                       []string
	Module                        *struct{ Main bool }
}

// list compiles the module's packages and lists them with all that they import.
func list(t *testing.T) (all []listed) {
	t.Helper()
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Name,Dir,Export,GoFiles,Module",
		module+"/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// internal reports whether only packages of this module may import a path, "go help packages".
func internal(path string) bool { return slices.Contains(strings.Split(path, "/"), "internal") }

// public picks what another module can import.
func public(all []listed) []listed {
	return slices.DeleteFunc(slices.Clone(all), func(p listed) bool {
		return p.Module == nil || !p.Module.Main || p.Name == "main" || internal(p.ImportPath) ||
			len(p.GoFiles) == 0
	})
}

// TestPublicTypes walks everything that importers can reach from the exported names: no type of an internal package
// is there.
func TestPublicTypes(t *testing.T) {
	all := list(t)
	exports := map[string]string{}
	for _, p := range all {
		exports[p.ImportPath] = p.Export
	}
	compiled := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	w := walker{seen: map[types.Type]bool{}, used: map[string]bool{}}
	for _, p := range public(all) {
		pkg, err := compiled.Import(p.ImportPath)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range pkg.Scope().Names() {
			if o := pkg.Scope().Lookup(name); o.Exported() {
				w.walk(strings.TrimPrefix(pkg.Path(), module+"/")+"."+name, o.Type())
			}
		}
	}
	for _, leak := range w.leaks {
		t.Error(leak)
	}
	for _, path := range []string{"restorer", "graft", "report", "refusal", "stage", "loader", "relocator", "blob",
		"images"} {
		if !w.used[module+"/"+path] {
			t.Errorf("no exported name leads to a type of package %s", path)
		}
	}
}

// walker follows types to what an importer can name or select.
type walker struct {
	seen  map[types.Type]bool
	used  map[string]bool // packages of this module
	leaks []string
}

func (w *walker) walk(where string, typ types.Type) {
	if w.seen[typ] {
		return
	}
	w.seen[typ] = true
	switch typ := typ.(type) {
	case *types.Alias:
		w.walk(where, types.Unalias(typ))
	case *types.Named:
		w.named(where, typ)
	case *types.Struct:
		for f := range typ.Fields() {
			if f.Exported() || f.Embedded() {
				w.walk(where+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for m := range typ.Methods() {
			w.walk(where+"."+m.Name(), m.Type())
		}
	case *types.Signature:
		w.walk(where, typ.Params())
		w.walk(where, typ.Results())
	case *types.Tuple:
		for v := range typ.Variables() {
			w.walk(where, v.Type())
		}
	case *types.Map:
		w.walk(where, typ.Key())
		w.walk(where, typ.Elem())
	case *types.TypeParam:
		w.walk(where, typ.Constraint())
	case *types.Union:
		for term := range typ.Terms() {
			w.walk(where, term.Type())
		}
	case interface{ Elem() types.Type }: // pointer, slice, array, channel
		w.walk(where, typ.Elem())
	}
}

func (w *walker) named(where string, typ *types.Named) {
	pkg := typ.Obj().Pkg()
	if pkg == nil || !strings.HasPrefix(pkg.Path(), module) {
		return
	}
	if internal(pkg.Path()) {
		w.leaks = append(w.leaks, fmt.Sprintf("%s has type %v", where, typ))
		return
	}
	w.used[pkg.Path()] = true
	w.walk(where, typ.Underlying())
	for arg := range typ.TypeArgs().Types() {
		w.walk(where, arg)
	}
	methods := types.NewMethodSet(types.NewPointer(typ)) // with those of embedded fields
	for m := range methods.Methods() {
		if m.Obj().Exported() {
			w.walk(where+"."+m.Obj().Name(), m.Type())
		}
	}
}

// TestPublicDocs: each public package says on which systems it works, documents every exported name, and has an example
// whose output is compared.
func TestPublicDocs(t *testing.T) {
	dataOnly := []string{"restorer/core", "graft/core", "inject/core", "images/pb", "docs", "plugin-sdk"} // nothing to call
	for _, p := range public(list(t)) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		described := describe(t, p)
		text := strings.Join(strings.Fields(described.Doc), " ") // wherever its lines break
		if !strings.Contains(text, "every system") && !strings.Contains(text, "Linux on x86-64") {
			t.Errorf("package %s does not say on which systems it works", name)
		}
		if slices.Contains(dataOnly, name) {
			continue
		}
		undocumented(described, func(what string) { t.Errorf("%s.%s has no comment", name, what) })
		if !slices.ContainsFunc(described.Examples, func(e *doc.Example) bool { return e.Output != "" }) {
			t.Errorf("package %s has no example with an output", name)
		}
	}
}

// describe reads the documentation of a package, with the examples among its tests.
func describe(t *testing.T, p listed) *doc.Package {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var (
		files    []*ast.File
		examples []*doc.Example
	)
	fset := token.NewFileSet()
	for _, path := range paths {
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, "_test.go") {
			examples = append(examples, doc.Examples(f)...)
		} else {
			files = append(files, f)
		}
	}
	described, err := doc.NewFromFiles(fset, files, p.ImportPath)
	if err != nil {
		t.Fatal(err)
	}
	described.Examples = examples
	return described
}

// undocumented finds exported names without a comment: types, functions, and groups of constants and variables. A
// method that an interface of the standard library names needs none.
func undocumented(p *doc.Package, tell func(what string)) {
	known := []string{"Error", "String", "Unwrap", "Is", "As"}
	functions := func(prefix string, all []*doc.Func) {
		for _, f := range all {
			if f.Doc == "" && !slices.Contains(known, f.Name) {
				tell(prefix + f.Name)
			}
		}
	}
	values := func(all []*doc.Value) {
		for _, v := range all {
			if v.Doc == "" {
				tell(v.Names[0])
			}
		}
	}
	values(p.Consts)
	values(p.Vars)
	functions("", p.Funcs)
	for _, typ := range p.Types {
		if typ.Doc == "" {
			tell(typ.Name)
		}
		values(typ.Consts)
		values(typ.Vars)
		functions("", typ.Funcs)
		functions(typ.Name+".", typ.Methods)
	}
}
