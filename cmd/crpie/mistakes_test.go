//go:build linux && amd64

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
)

// mistake is a row of docs/mistakes.md.
type mistake struct {
	source, seen string
	says         []string // message and fix
}

func mistakes(t *testing.T) (all []mistake) {
	t.Helper()
	text, err := os.ReadFile("../../docs/mistakes.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| (\S+\.\w+) \| .* \| (\S+) \| (.*) \|$`)
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		all = append(all, mistake{m[1], m[2], strings.Split(m[3], " / ")})
	}
	if len(all) != 21 {
		t.Fatalf("docs/mistakes.md has %d rows", len(all))
	}
	return all
}

// The table of mistakes says what is said.
func TestMistakes(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "glibc").Dump(t)
	for _, m := range mistakes(t) {
		t.Run(m.source+" "+m.seen, func(t *testing.T) {
			object, said := buildMistake(t, m.source)
			switch m.seen {
			case "check":
				if object == "" {
					t.Fatalf("does not compile:\n%s", said)
				}
				spec := object
				if m.source == "count.c" {
					spec += ",count=11"
				}
				_, said, _ = crpie(t, "check", spec)
			case "restore":
				var status int
				status, said = tool(t, im, "restore", "-d", "-D", im.Dir, "--pie-plugin", object)
				if status != exitFailed {
					t.Errorf("status %d", status)
				}
				said = regexp.MustCompile(`at address 0x[0-9a-f]+`).ReplaceAllString(said, "at address ADDRESS")
				said = strings.ReplaceAll(said, testenv.Root()+"/", "")
			default:
				if object != "" {
					t.Error("compiles")
				}
			}
			for _, part := range m.says {
				if !strings.Contains(said, part) {
					t.Errorf("no %q in\n%s", part, said)
				}
			}
		})
	}
}

// buildMistake builds a source as authors do, with plugin.mk; object is empty if the compiler refuses it.
func buildMistake(t *testing.T, source string) (object, said string) {
	t.Helper()
	dir := t.TempDir()
	name := strings.TrimSuffix(source, filepath.Ext(source)) + ".o"
	sdk := filepath.Join(testenv.Root(), "plugin-sdk", "plugin.mk")
	from := filepath.Join(testenv.Root(), "testdata", "mistakes")
	cmd := exec.Command("make", "-C", dir, "-f", sdk, "CC=gcc", "CXX=g++", "VPATH="+from, name)
	if filepath.Ext(source) == ".rs" {
		testenv.NeedTool(t, "rustc")
	}
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", string(out)
	}
	return filepath.Join(dir, name), string(out)
}
