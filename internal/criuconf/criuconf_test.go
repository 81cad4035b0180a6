package criuconf

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	text := "# a comment\n" +
		"tcp-established\n" +
		"\n" +
		"work-dir \"/home/me/my \\\"work\\\" directory\"\n" +
		"  log-file\tx#y   # another comment\n" +
		"no-restore-sibling   # this too\n" +
		"lsm-mount-context \"\"\n" +
		"libdir \"a\\b\\\\\"\n" +
		"manage-cgroups=ignore\n" +
		"tcp-close --shell-job extra\n" +
		"#crpie: pie-plugin \"/a b.o,key=v\"\n" +
		"##crpie: pie-timeout 1s\n" +
		"# crpie: pie-timeout 1s\n"
	want := `f:2 ["--tcp-established"]
f:4 ["--work-dir" "/home/me/my \"work\" directory"]
f:5 ["--log-file" "x#y"]
f:6 ["--no-restore-sibling"]
f:7 ["--lsm-mount-context" ""]
f:9 ["--manage-cgroups=ignore"]
f:10 ["--tcp-close" "--shell-job" "extra"]
f:11 ["--pie-plugin" "/a b.o,key=v"]
`
	all, problems := Parse("f", text)
	var got strings.Builder
	for _, s := range all {
		fmt.Fprintf(&got, "%s %q\n", s.Source, s.Words)
	}
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
	// as criu: \" is a quote, whatever stands before
	if len(problems) != 1 || !strings.HasPrefix(problems[0], "f:8: no closing quote") {
		t.Errorf("problems %q", problems)
	}
}

// Everything that is wrong with a file comes out in one run.
func TestProblems(t *testing.T) {
	_, problems := Parse("f", "--tcp-close\nwork-dir \"a\n-d\nroot \"x")
	want := []string{
		`f:1: "--tcp-close": options are written without dashes here: tcp-close`,
		`f:2: no closing quote after "a"`,
		`f:3: "-d": options are written without dashes here: d`,
		`f:4: no closing quote after "x"`,
	}
	if !slices.Equal(problems, want) {
		t.Errorf("got %q, want %q", problems, want)
	}
}

func TestFiles(t *testing.T) {
	env := map[string]string{"HOME": "/h", "CRIU_CONFIG_FILE": "/e"}
	for _, tc := range []struct {
		search Search
		want   string
	}{
		{Search{}, "[{/etc/criu/default.conf false} {/h/.criu/default.conf false} {/e true}]"},
		{Search{NoDefault: true}, "[{/e true}]"},
		{Search{Config: "/c"}, "[{/e true} {/c true}]"},
		{Search{Secure: true}, "[{/etc/criu/default.conf false}]"},
		{Search{Secure: true, Config: "/c"}, "[{/c true}]"},
	} {
		tc.search.Getenv = func(name string) string { return env[name] }
		if got := fmt.Sprint(tc.search.Files()); got != tc.want {
			t.Errorf("%+v: %s, want %s", tc.search, got, tc.want)
		}
	}
}
