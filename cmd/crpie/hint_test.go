//go:build linux && amd64

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/crpie/crpie/internal/testenv"
	"github.com/crpie/crpie/report"
)

// What the level leaves out of a plugin's information is counted; -v3 leaves out nothing, debug lines are not missed.
func TestHintAtHiddenLines(t *testing.T) {
	for _, c := range []struct {
		level report.LogLevel
		lines []report.LogLevel
		want  string
	}{
		{report.LogWarning, []report.LogLevel{report.LogInfo},
			"crpie: 1 line that a plugin logged is not shown: -v3 shows it\n"},
		{report.LogWarning, []report.LogLevel{report.LogInfo, report.LogError, report.LogInfo},
			"crpie: 2 lines that plugins logged are not shown: -v3 shows them\n"},
		{report.LogInfo, []report.LogLevel{report.LogInfo, report.LogDebug}, ""},
		{report.LogWarning, []report.LogLevel{report.LogDebug}, ""},
	} {
		l := newLogger(io.Discard, c.level)
		for _, level := range c.lines {
			l.plugin(report.Line{Plugin: "p", Level: level, Text: "x"})
		}
		var out strings.Builder
		if l.hint(&out); out.String() != c.want {
			t.Errorf("%v at %v: %q, want %q", c.lines, c.level, &out, c.want)
		}
	}
}

// A first plugin's pr_info is not lost without a word where somebody looks, and nothing is added elsewhere.
func TestHintAtATerminal(t *testing.T) {
	testenv.NeedCRIU(t)
	im := testenv.Start(t, "static").Dump(t)
	words := []string{os.Args[0], "restore", "-d", "-D", im.Dir, "--pie-plugin", trace(t)}
	for _, c := range []struct {
		command []string
		says    bool
	}{
		{[]string{testenv.NeedTool(t, "script"), "-qec", strings.Join(words, " "), "/dev/null"}, true},
		{words, false},
	} {
		cmd := im.Command(t, c.command[0], c.command[1:]...)
		cmd.Env = append(cmd.Env, asTool+"=1")
		out, err := cmd.CombinedOutput()
		want := fmt.Sprintf("crpie: %d lines that plugins logged are not shown: -v3 shows them",
			len(stageOrder))
		if err != nil || strings.Contains(string(out), want) != c.says ||
			strings.Contains(string(out), "stage=") {
			t.Errorf("%q: %v\n%s", c.command, err, out)
		}
		im.Adopt(t).MustPass(t)
	}
}
