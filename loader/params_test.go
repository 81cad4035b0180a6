package loader_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/loader"
)

const declared = sdkHook + `
CR_PLUGIN_REGISTER_DUMMY("p")
CRPIE_PARAM_STR("name", CRPIE_REQUIRED, "a name")
CRPIE_PARAM_STR("note", CRPIE_OPTIONAL, "")
CRPIE_PARAM_INT("count", CRPIE_OPTIONAL, 2, 16, "")
CRPIE_PARAM_SIZE("room", CRPIE_OPTIONAL, 1, 1 << 20, "")
CRPIE_PARAM_BOOL("quiet", CRPIE_OPTIONAL, "")
CRPIE_PARAM_ENUM("mode", CRPIE_OPTIONAL, "set add", "")
CRPIE_PARAM_STR("left", CRPIE_OPTIONAL, "")
CRPIE_PARAM_STR("right", CRPIE_OPTIONAL, "")
CRPIE_PARAM_ONE_OF("left right", CRPIE_REQUIRED)
`

func TestCheckParam(t *testing.T) {
	p := loadertest.MustLoad(t, cc, ".c", declared, loader.Options{})
	for _, c := range []struct{ name, value, want string }{
		{"name", "x", ""}, {"name", "", `plugin p: parameter name="" is empty`}, {"note", "", ""},
		{"count", "2", ""}, {"count", "0x10", ""}, {"count", "0X0f", ""},
		{"count", "1", `parameter count="1" is not in [2, 16]`}, {"count", "17", "is not in"},
		{"count", "", "is not a number"}, {"count", "+3", "is not a number"},
		{"count", "3 ", "is not a number"}, {"count", "0x", "is not a number"},
		{"count", "18446744073709551616", "is not in [2, 16]"},
		{"count", "99999999999999999999x", "is not in"}, {"count", "3\x1b", `count="3\x1b" is not a number`},
		{"room", "1M", ""}, {"room", "1m", ""}, {"room", "0x400K", ""},
		{"room", "2M", "is not in [1, 1048576]"}, {"room", "1MB", "is not a size"},
		{"room", "99999999999T", "is not in"}, {"room", "K", "is not a size"},
		{"room", "1\x0b", "is not a size"},
		{"quiet", "", ""}, {"quiet", "on", ""}, {"quiet", "maybe", "is neither yes nor no"},
		{"mode", "add", ""}, {"mode", "ad", `parameter mode="ad" is not known: did you mean add?`},
		{"mode", "", "it can be set, add"},
		{"cuont", "3", `plugin p has no parameter "cuont": did you mean count?`},
		{"zzz", "", `plugin p has no parameter "zzz": it has name, note, count, room, quiet, mode, left, right`},
		{"", "left right", "has no parameter"},
	} {
		err := p.CheckParam(c.name, c.value)
		if c.want == "" && err != nil ||
			c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s=%q: %v, want %q", c.name, c.value, err, c.want)
		}
	}
}

// Only strings that are declared so are read from a file in the task.
func TestCheckInTask(t *testing.T) {
	p := loadertest.MustLoad(t, cc, ".c", sdkHook+`
CR_PLUGIN_REGISTER_DUMMY("p")
CRPIE_PARAM_STR("now", CRPIE_REQUIRED, "")
CRPIE_PARAM_STR("later", CRPIE_REQUIRED | CRPIE_IN_TASK, "")
`, loader.Options{})
	any := loadertest.MustLoad(t, cc, ".c", sdkHook, loader.Options{})
	for _, c := range []struct {
		p          *loader.Plugin
		name, want string
	}{
		{p, "later", "<nil>"}, {p, "now", "plugin p: parameter now is not one that the plugin reads from a file in the task"},
		{p, "lather", `plugin p has no parameter "lather": did you mean later?`},
		{any, "x", "plugin plugin: parameter x is not one that the plugin reads from a file in the task"},
	} {
		if got := fmt.Sprint(c.p.CheckInTask(c.name)); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestCheckGiven(t *testing.T) {
	p := loadertest.MustLoad(t, cc, ".c", declared, loader.Options{})
	for _, c := range []struct{ given, want string }{
		{"name left", ""},
		{"name right note", ""},
		{"left", "plugin p: parameter name is missing: a name"},
		{"", "plugin p: parameter name is missing: a name; plugin p: one of the parameters left, right is missing"},
		{"name left right", "plugin p: parameters left and right exclude each other"},
	} {
		var got []string
		for _, err := range p.CheckGiven(func(name string) bool {
			return slices.Contains(strings.Fields(c.given), name)
		}) {
			got = append(got, err.Error())
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("given %q: %q, want %q", c.given, text, c.want)
		}
	}
}

// Who declares nothing is given anything, who declares that there is none nothing.
func TestPluginsWithoutParams(t *testing.T) {
	p := loadertest.MustLoad(t, cc, ".c", sdkHook, loader.Options{})
	if err := p.CheckParam("anything", "x"); err != nil || p.DeclaresParams {
		t.Error(err)
	}
	p = loadertest.MustLoad(t, cc, ".c", sdkHook+"CRPIE_NO_PARAMS", loader.Options{})
	if err := p.CheckParam("anything", "x"); err == nil ||
		!strings.Contains(err.Error(), `has no parameter "anything": it takes none`) {
		t.Error(err)
	}
	if slices.ContainsFunc(p.Sections, func(s loader.Section) bool { return s.Name == "crpie_params" }) {
		t.Error("the declarations are laid out")
	}
}

// Records of before version 3 end where the default is, and stay valid; those with one need version 3.
func TestDefaults(t *testing.T) {
	for _, tool := range []string{cc, clang19} {
		p := loadertest.MustLoad(t, tool, ".c", sdkHook+`
CRPIE_PARAM_STR("a", CRPIE_DEFAULT(""), "")
CRPIE_PARAM_ENUM("b", CRPIE_DEFAULT("two"), "one two", "")
CRPIE_PARAM_SIZE("c", CRPIE_DEFAULT("4K"), 1, 1 << 20, "")
CRPIE_PARAM_BOOL("d", CRPIE_OPTIONAL, "")
`, loader.Options{})
		var got []string
		for _, d := range p.Params {
			got = append(got, fmt.Sprintf("%s %t %q", d.Name, d.Defaulted, d.Default))
		}
		want := []string{`a true ""`, `b true "two"`, `c true "4K"`, `d false ""`}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", tool, got, want)
		}
	}
	old := `.section crpie_params,"aw",@progbits
.long 288, 2, 1, 0
.quad 0, 0
.asciz "old"
.zero 252
.long 352, 3, 1, 2
.quad 0, 0
.asciz "new"
.zero 252
.asciz "x"
.zero 62
.section crpie_hooks,"aw",@progbits
.long 24, 1, 0x106, 0
.quad hook
.text
hook: ret
.section .note.GNU-stack,"",@progbits
`
	p := loadertest.MustLoad(t, "gcc", ".s", old, loader.Options{})
	if len(p.Params) != 2 || p.Params[0].Name != "old" || p.Params[0].Defaulted || p.Params[1].Default != "x" {
		t.Errorf("parameters %+v", p.Params)
	}
}
