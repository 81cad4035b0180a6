//go:build linux && amd64

package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// helps are the commands with their help.
func helps(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, c := range commands() {
		status, out, stderr := crpie(t, c.name, "--help")
		if status != exitOK || stderr != "" {
			t.Errorf("crpie %s --help: status %d, %s", c.name, status, stderr)
		}
		all[c.name] = out
	}
	return all
}

func TestHelp(t *testing.T) {
	for name, out := range helps(t) {
		if _, again, _ := crpie(t, "help", name); again != out {
			t.Errorf("crpie help %s is not crpie %s --help:\n%s", name, name, again)
		}
		for _, ugly := range []string{"......", "true|false", "[=+]", "\n\n\n", "()"} {
			if strings.Contains(out, ugly) {
				t.Errorf("crpie %s --help has %q:\n%s", name, ugly, out)
			}
		}
		if !strings.HasPrefix(out, "usage: crpie "+name) {
			t.Errorf("crpie %s --help:\n%s", name, out)
		}
		if name != "link" && name != "version" && !strings.Contains(out, "\nExamples:\n  crpie "+name) {
			t.Errorf("crpie %s --help has no example:\n%s", name, out)
		}
	}
	if status, _, stderr := crpie(t, "help", "nonsense"); status != exitUsage ||
		!strings.Contains(stderr, "unknown command") {
		t.Errorf("crpie help nonsense: status %d, %s", status, stderr)
	}
}

// The synopsis of the manual page has everything that a command can be given instead of something else.
func TestManualSynopsis(t *testing.T) {
	page, err := os.ReadFile("../../docs/man/crpie.1")
	if err != nil {
		t.Fatal(err)
	}
	_, synopsis, _ := strings.Cut(string(page), ".SH SYNOPSIS\n")
	synopsis, _, _ = strings.Cut(synopsis, ".SH ")
	of := map[string]string{}
	for _, form := range strings.Split(synopsis, ".B crpie ")[1:] {
		name, rest, _ := strings.Cut(form, "\n")
		of[name] += strings.ReplaceAll(rest, "\\-", "-")
	}
	for name, out := range helps(t) {
		usage, _, _ := strings.Cut(out, "\n\n")
		for _, word := range []string{"-D", "--archive", "FILE.o"} {
			if strings.Contains(usage, word) &&
				!strings.Contains(of[name], strings.Replace(word, "FILE.o", "hook.o", 1)) {
				t.Errorf("crpie %s takes %s, which the synopsis of crpie(1) lacks:\n%s", name, word,
					of[name])
			}
		}
		if _, ok := of[name]; !ok {
			t.Errorf("crpie(1) has no synopsis of crpie %s", name)
		}
	}
}

// A usage error shows how the command is called, and no part of its help.
func TestUsageErrors(t *testing.T) {
	for _, c := range commands() {
		_, _, stderr := crpie(t, c.name, "--nonsense")
		if strings.Contains(stderr, "Flags:") || strings.Contains(stderr, "Examples") ||
			strings.Contains(stderr, "\n\n") {
			t.Errorf("crpie %s --nonsense:\n%s", c.name, stderr)
		}
	}
}

var longFlag = regexp.MustCompile(`(?m)^  (?:-\w, |    )--([a-z-]+)`)

// Man page and completions have every flag that help shows, and the man page every other that restore accepts.
func TestFlagsAreInManPageAndCompletions(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	man := strings.ReplaceAll(read("docs/man/crpie.1"), `\-`, "-")
	section := func(name string) string {
		_, rest, _ := strings.Cut(man, "\n.SH "+strings.ToUpper(name)+"\n")
		text, _, _ := strings.Cut(rest, "\n.SH ")
		return text
	}
	parts := map[string]func(command, flag string) bool{
		"docs/man/crpie.1": func(command, flag string) bool {
			return regexp.MustCompile(`--` + flag + `\b`).MatchString(section(command))
		},
		"completions/crpie.bash": func(command, flag string) bool {
			m := regexp.MustCompile(`(?s)\n\t` + command + `\)\s.*?;;`).FindString(
				read("completions/crpie.bash"))
			return regexp.MustCompile(`--` + flag + `[\s']`).MatchString(m)
		},
		"completions/_crpie": func(command, flag string) bool {
			m := regexp.MustCompile(`(?s)\n\t` + command + `\)\n.*?;;`).FindString(
				read("completions/_crpie"))
			return regexp.MustCompile(`--` + flag + `[[='*}-]`).MatchString(m)
		},
		"completions/crpie.fish": func(command, flag string) bool {
			return regexp.MustCompile(`(?m)^.*__fish_seen_subcommand_from [a-z ]*\b` + command +
				`\b.* -l ` + flag + `\b.*$`).
				MatchString(read("completions/crpie.fish"))
		},
	}
	for command, help := range helps(t) {
		for _, m := range longFlag.FindAllStringSubmatch(help, -1) {
			for name, has := range parts {
				if !has(command, m[1]) {
					t.Errorf("%s lacks crpie %s --%s", name, command, m[1])
				}
			}
		}
	}
	var r restoreFlags
	r.flags().VisitAll(func(f *pflag.Flag) {
		if taken := strings.HasPrefix(f.Name, "no-") && f.Name != "no-default-config"; !taken &&
			!parts["docs/man/crpie.1"]("restore", f.Name) {
			t.Errorf("the man page lacks crpie restore --%s", f.Name)
		}
	})
}
