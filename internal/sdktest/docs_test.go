package sdktest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/loadertest"
	"github.com/crpie/crpie/internal/testenv"
)

// The plugins that the documentation shows are plugins.
func TestPluginsInTheDocumentationCompile(t *testing.T) {
	t.Parallel()
	block := regexp.MustCompile("(?s)```c\n(.*?)```")
	for _, name := range []string{"README.md", "docs/plugin-guide.md"} {
		found := block.FindAllSubmatch(read(t, name), -1)
		if len(found) == 0 {
			t.Errorf("%s shows no plugin", name)
		}
		for _, code := range found {
			mustBePlugin(t, loadertest.Compile(t,
				"gcc -O2 -fcf-protection=none "+pluginFlags+" -Wall -Wextra -Werror", ".c",
				string(code[1])))
		}
	}
}

// Every command and flag that crpie has is in its man page and its completions.
func TestManPageAndCompletionsKnowEveryFlag(t *testing.T) {
	t.Parallel()
	crpie := testenv.CRPIE(t)
	pages := map[string]string{}
	for _, name := range []string{"docs/man/crpie.1", "completions/crpie.bash", "completions/_crpie",
		"completions/crpie.fish"} {
		pages[name] = strings.ReplaceAll(string(read(t, name)), `\-`, "-")
	}
	for _, command := range names(t, crpie, `(?m)^  ([a-z]+) `, "help") {
		words := append([]string{command},
			names(t, crpie, `(?m)^ {2,6}(?:-[A-Za-z], )?--([a-z-]+)`, command, "--help")...)
		for page, text := range pages {
			for i, word := range words {
				if i > 0 && strings.HasSuffix(page, ".fish") {
					word = "-l " + word
				} else if i > 0 {
					word = "--" + word
				}
				if !strings.Contains(text, word) {
					t.Errorf("%s does not mention %s of crpie %s", page, word, command)
				}
			}
		}
	}
}

// What make install puts down is enough to build plugins with, for those who have no source tree, in a copy too.
func TestInstalledSDKBuildsTheExamples(t *testing.T) {
	t.Parallel()
	dir, copied := t.TempDir(), t.TempDir()
	run := func(args ...string) {
		if out, err := exec.Command(loadertest.Tool(t, "make"), args...).CombinedOutput(); err != nil {
			t.Fatalf("make %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	run("-C", root(t), "install", "DESTDIR="+dir, "PREFIX=/opt")
	examples := filepath.Join(dir, "opt/share/crpie/examples")
	run("-C", examples, "CC=gcc")
	mustBePlugin(t, filepath.Join(examples, "new-id.o"))

	run("-C", root(t), "install", "PREFIX="+filepath.Join(dir, "usr"))
	if err := os.CopyFS(copied, os.DirFS(filepath.Join(dir, "usr/share/crpie/examples"))); err != nil {
		t.Fatal(err)
	}
	run("-C", copied, "CC=gcc")
	mustBePlugin(t, filepath.Join(copied, "new-id.o"))

	if out, err := exec.Command(filepath.Join(dir, "opt/bin/crpie"), "version").CombinedOutput(); err != nil {
		t.Errorf("installed crpie: %v\n%s", err, out)
	}
}

// names runs crpie and returns what the pattern picks from its output.
func names(t *testing.T, crpie, pattern string, args ...string) []string {
	t.Helper()
	out, _ := exec.Command(crpie, args...).CombinedOutput()
	var all []string
	for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(out, -1) {
		if !bytes.Equal(m[1], []byte("help")) {
			all = append(all, string(m[1]))
		}
	}
	return all
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
