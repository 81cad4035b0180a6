package uapi

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// folded is what a constant's name in C and in Go have in common.
func folded(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

// A number that prints by a name is written in one place: a constant of this package, if code uses it, and otherwise
// beside its name.
func TestNumbersAreWrittenOnce(t *testing.T) {
	names := map[string]string{}
	for name := range allNames() {
		names[folded(name)] = name
	}
	fset, ours := token.NewFileSet(), map[string]bool{}
	walk(t, fset, ".", func(f *ast.File) {
		for _, c := range constants(f) {
			ours[folded(c.Name)] = true
		}
	})
	walk(t, fset, ".", func(f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			value, name := named(n)
			if value != nil && ours[folded(name)] {
				t.Errorf("%v: the number of %s, which is a constant, too", fset.Position(value.Pos()),
					name)
			}
			return true
		})
	})
	files := 0
	walk(t, fset, "../..", func(f *ast.File) {
		if f.Name.Name == "uapi" {
			return
		}
		files++
		for _, c := range constants(f) {
			if name := names[folded(c.Name)]; name != "" {
				t.Errorf("%v: %s has its number in package uapi", fset.Position(c.Pos()), name)
			}
		}
	})
	if files < 300 || len(ours) < 300 {
		t.Errorf("looked at %d files and %d constants", files, len(ours))
	}
}

// walk parses the Go files below a directory, without tests.
func walk(t *testing.T, fset *token.FileSet, dir string, do func(f *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != dir && foreign(d.Name()) {
			return fs.SkipDir
		}
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err == nil {
			do(f)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// foreign reports whether a folder has what does not import this module: caches, programs for tests, plugins.
func foreign(name string) bool {
	return strings.HasPrefix(name, ".") || name == "testdata" || name == "plugin-sdk"
}

// constants finds the constants that a file declares, also those in functions.
func constants(f *ast.File) (all []*ast.Ident) {
	ast.Inspect(f, func(n ast.Node) bool {
		if decl, ok := n.(*ast.GenDecl); ok && decl.Tok == token.CONST {
			for _, spec := range decl.Specs {
				all = append(all, spec.(*ast.ValueSpec).Names...)
			}
		}
		return true
	})
	return all
}

// named returns number and name of a Named that is written with a number.
func named(n ast.Node) (value ast.Expr, name string) {
	lit, ok := n.(*ast.CompositeLit)
	if !ok || len(lit.Elts) < 2 {
		return nil, ""
	}
	number, text := element(lit.Elts[0]), element(lit.Elts[1])
	quoted, ok := text.(*ast.BasicLit)
	if !ok || quoted.Kind != token.STRING || hasName(number) {
		return nil, ""
	}
	name, err := strconv.Unquote(quoted.Value)
	if err != nil {
		return nil, ""
	}
	return number, name
}

func element(e ast.Expr) ast.Expr {
	if kv, ok := e.(*ast.KeyValueExpr); ok {
		return kv.Value
	}
	return e
}

// hasName reports whether an expression uses a constant.
func hasName(e ast.Expr) (has bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		_, is := n.(*ast.Ident)
		has = has || is
		return !has
	})
	return has
}
