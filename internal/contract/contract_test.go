package contract

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/stage"
)

// The generated files are what the tables make.
func TestOutputsAreUpToDate(t *testing.T) {
	outputs, err := Outputs()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range outputs {
		if got, err := os.ReadFile(filepath.Join("..", "..", name)); err != nil || string(got) != want {
			t.Errorf("%s is not what internal/contract makes (%v): go generate ./internal/abi && make core", name, err)
		}
	}
}

// C compilers judge, for both machines.
func TestHeadersAgreeWithTheTables(t *testing.T) {
	n := whole()
	for _, cc := range []string{"gcc", "clang-14", "aarch64-linux-gnu-gcc"} {
		if wrong := n.differences(facts(t, cc, slices.Sorted(maps.Keys(n)))); wrong != nil {
			t.Errorf("%s:\n%s", cc, strings.Join(wrong, "\n"))
		}
	}
}

// The numbers in the Go file agree with the C headers.
func TestGoAgreesWithTheHeaders(t *testing.T) {
	consts := goConsts(t)
	c := layouts(t)
	checked := map[string]bool{}
	check := func(name, expr string) {
		if name == "" {
			return
		}
		value, ok := consts[name]
		if checked[name] = true; !ok || value != c[expr] {
			t.Errorf("abi.%s is %d, %s is %d", name, value, expr, c[expr])
		}
	}
	for _, g := range all() {
		for _, num := range g.Numbers {
			check(num.Go, num.C)
		}
		for _, e := range g.Enums {
			for _, m := range e.Members {
				check(m.Go, m.C)
			}
		}
		for _, s := range g.Structs {
			if s.Go == "" {
				continue
			}
			check(s.Go+"Size", "sizeof(struct "+s.C+")")
			for _, m := range s.Members {
				check(s.Go+camel(m.Name)+"Off", fmt.Sprintf("offsetof(struct %s, %s)", s.C, m.Name))
			}
		}
	}
	for name := range consts {
		if !checked[name] && name != "OpArgs" {
			t.Errorf("abi.%s has nothing in C", name)
		}
	}
}

// goConsts reads the constants of internal/abi/contract.go.
func goConsts(t *testing.T) map[string]int64 {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "abi", "contract.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	consts := map[string]int64{}
	ast.Inspect(file, func(n ast.Node) bool {
		if decl, ok := n.(*ast.GenDecl); ok && decl.Tok == token.CONST {
			for _, s := range decl.Specs {
				spec := s.(*ast.ValueSpec)
				value, err := strconv.ParseInt(spec.Values[0].(*ast.BasicLit).Value, 0, 64)
				if err != nil {
					t.Fatal(err)
				}
				consts[spec.Names[0].Name] = value
			}
		}
		return true
	})
	return consts
}

// Whatever two members, types, numbers, operations or arguments are exchanged in the tables, the headers disagree.
func TestEveryExchangeIsNoticed(t *testing.T) {
	c := layouts(t)
	tried := map[string]int{}
	try := func(kind, what string, n numbers) {
		t.Helper()
		if tried[kind]++; n.differences(c) == nil {
			t.Errorf("exchanged %s %s: nothing noticed it", kind, what)
		}
	}
	for g, group := range all() {
		for s := range group.Structs {
			exchangeMembers(g, s, try)
		}
	}
	exchangeNumbers(try)
	exchangeOperations(try)
	for kind, least := range map[string]int{"members": 500, "types": 200, "sizes": 300, "numbers": 2000,
		"operations": 400, "arguments": 40} {
		if tried[kind] < least {
			t.Errorf("%d exchanges of %s were tried, fewer than %d", tried[kind], kind, least)
		}
	}
	t.Log(tried)
}

// pairs calls f with every two of n indices.
func pairs(n int, f func(i, j int)) {
	for i := range n {
		for j := range i {
			f(i, j)
		}
	}
}

// exchangeMembers exchanges names, and types, of every two members of a struct.
func exchangeMembers(g, s int, try func(kind, what string, n numbers)) {
	name, members := all()[g].Structs[s].C, all()[g].Structs[s].Members
	exchanged := func(change func(m []Member)) numbers {
		groups := all()
		change(groups[g].Structs[s].Members)
		return claims(groups)
	}
	pairs(len(members), func(i, j int) {
		what := fmt.Sprintf("%s.%s and .%s", name, members[i].Name, members[j].Name)
		try("members", what, exchanged(func(m []Member) { m[i].Name, m[j].Name = m[j].Name, m[i].Name }))
		if a, b := members[i].Type, members[j].Type; a != b {
			try("types", what, exchanged(func(m []Member) { m[i].Type, m[j].Type = m[j].Type, m[i].Type }))
		}
	})
}

// exchangeNumbers exchanges the names of every two constants that differ, and those of every two structs that differ in
// size.
func exchangeNumbers(try func(kind, what string, n numbers)) {
	names := func(groups []*Group) (all []*string, values []int) {
		for _, g := range groups {
			for i := range g.Numbers {
				all, values = append(all, &g.Numbers[i].C), append(values, g.Numbers[i].Value)
			}
			for _, e := range g.Enums {
				for i := range e.Members {
					all, values = append(all, &e.Members[i].C), append(values, e.Members[i].Value)
				}
			}
		}
		return all, values
	}
	structs := func(groups []*Group) (all []*Struct) {
		for _, g := range groups {
			for i := range g.Structs {
				all = append(all, &g.Structs[i])
			}
		}
		return all
	}
	_, values := names(all())
	pairs(len(values), func(i, j int) {
		if values[i] == values[j] {
			return
		}
		groups := all()
		for _, g := range groups {
			g.Structs = nil // they take no part
		}
		n, _ := names(groups)
		*n[i], *n[j] = *n[j], *n[i]
		try("numbers", *n[i]+" and "+*n[j], claims(groups))
	})
	pairs(len(structs(all())), func(i, j int) {
		groups := all()
		s := structs(groups)
		if s[i].Layout().Size == s[j].Layout().Size {
			return
		}
		s[i].C, s[j].C = s[j].C, s[i].C
		try("sizes", s[i].C+" and "+s[j].C, claims(groups))
	})
}

// exchangeOperations exchanges every two operations, and every two arguments of one.
func exchangeOperations(try func(kind, what string, n numbers)) {
	ops := Ops()
	pairs(len(ops), func(i, j int) {
		ops := Ops()
		ops[i], ops[j] = ops[j], ops[i]
		try("operations", ops[i].C+" and "+ops[j].C, claims([]*Group{{Enums: []Enum{opCodes(ops)}}}))
	})
	for k := range ops {
		pairs(len(ops[k].Args), func(i, j int) {
			ops := Ops()
			args := ops[k].Args
			args[i], args[j] = args[j], args[i]
			n := numbers{}
			n.addArguments(ops)
			try("arguments", ops[k].C+" "+args[i].C+" and "+args[j].C, n)
		})
	}
}

// Go's names are unique, and operations have room for their arguments.
func TestTablesAreSound(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range all() {
		for _, name := range g.names() {
			if seen[name] {
				t.Errorf("two have the name %s in Go", name)
			}
			seen[name] = true
		}
	}
	for _, op := range Ops() {
		if len(op.Args) > MaxArgs || seen[op.Go] || op.About == "" {
			t.Errorf("operation %s: %d arguments, name %s, about %q", op.C, len(op.Args), op.Go, op.About)
		}
		seen[op.Go] = true
	}
}

// Every struct with all members, every enumerator and every number of the header for plugins is in the tables.
func TestPublicHeaderIsComplete(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(loadertest.Include(t), "crpie", "abi.h"))
	if err != nil {
		t.Fatal(err)
	}
	header := regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(string(data), "")
	var got, want []string
	for _, m := range regexp.MustCompile(`(?m)^#define (\w+) +[\d(]`).FindAllStringSubmatch(header, -1) {
		got = append(got, m[1])
	}
	for _, m := range regexp.MustCompile(`(?m)^\t(\w+) = [x\da-f]+,\s*$`).FindAllStringSubmatch(header, -1) {
		got = append(got, m[1])
	}
	for _, m := range regexp.MustCompile(`(?sm)^struct (\w+) \{(.*?)^\};`).FindAllStringSubmatch(header, -1) {
		for _, member := range declared(m[2]) {
			got = append(got, m[1]+"."+member)
		}
	}
	p := Public()
	for _, n := range p.Numbers {
		want = append(want, n.C)
	}
	for _, e := range p.Enums {
		for _, m := range e.Members {
			want = append(want, m.C)
		}
	}
	for _, s := range p.Structs {
		for _, m := range s.Members {
			want = append(want, s.C+"."+m.Name)
		}
	}
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("abi.h has %s, the tables do not", name)
		}
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("the tables have %s, abi.h does not", name)
		}
	}
}

// declared lists the names that the body of a struct declares: uint64_t a, b[4]; int (*f)(int); const char *s;
func declared(body string) (names []string) {
	function := regexp.MustCompile(`\(\*(\w+)\)`)
	plain := regexp.MustCompile(`(\w+)(?:\[\w+\])?$`)
	for _, d := range strings.Split(strings.TrimSpace(body), ";") {
		if d = strings.TrimSpace(d); d == "" {
			continue
		}
		if m := function.FindStringSubmatch(d); m != nil {
			names = append(names, m[1])
			continue
		}
		for _, one := range strings.Split(d, ",") {
			names = append(names, plain.FindStringSubmatch(strings.TrimSpace(one))[1])
		}
	}
	return names
}

// Package stage has the numbers of the hooks.
func TestStagesAgree(t *testing.T) {
	n := claims([]*Group{Public()})
	hooks := append(stage.All(), stage.Dump()...)
	for _, h := range hooks {
		if n["CR_PLUGIN_HOOK__"+h.String()] != int64(h) {
			t.Errorf("stage %v is %d, the header has %d", h, h, n["CR_PLUGIN_HOOK__"+h.String()])
		}
	}
	if n["CRPIE_HOOK_INIT"] != int64(stage.Init) || n["CRPIE_HOOK_EXIT"] != int64(stage.Exit) || len(hooks) != len(stages)+len(dumpStages)-2 {
		t.Errorf("init %d, exit %d, %d stages", stage.Init, stage.Exit, len(hooks))
	}
}

// The tables are for the generator and tests: the command holds only what is generated.
func TestTheCommandHasNoTables(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "github.com/crpie/crpie/cmd/crpie").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.Lines(string(out)) {
		if strings.Contains(name, "internal/contract") {
			t.Errorf("crpie imports %s", strings.TrimSpace(name))
		}
	}
}
