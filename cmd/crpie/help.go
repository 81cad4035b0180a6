package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// manual is what a command says about itself.
type manual struct {
	usage    string // without "crpie"; a usage error shows it
	about    string
	groups   []flagGroup // nil: all in one
	examples string
	more     string // after everything
}

// flagGroup is a part of a command's flags, under a title.
type flagGroup struct {
	title    string
	register func(*pflag.FlagSet)
}

const helpColumns = 100

// print writes the whole help. f are the flags of a command that has them in one group.
func (m *manual) print(w io.Writer, f *pflag.FlagSet) {
	fmt.Fprintf(w, "usage: crpie %s\n", m.usage)
	if m.about != "" {
		fmt.Fprintf(w, "\n%s\n", m.about)
	}
	groups := m.groups
	if groups == nil {
		groups = []flagGroup{{"Flags", func(empty *pflag.FlagSet) { empty.AddFlagSet(f) }}}
	}
	for _, g := range groups {
		f := flagSet()
		g.register(f)
		if f.HasAvailableFlags() {
			fmt.Fprintf(w, "\n%s:\n", g.title)
			printFlags(w, f)
		}
	}
	if m.examples != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", indent(m.examples, "  "))
	}
	if m.more != "" {
		fmt.Fprintf(w, "\n%s\n", m.more)
	}
}

// printFlags writes each flag and, in a column of its own, what it does.
func printFlags(w io.Writer, f *pflag.FlagSet) {
	var heads, texts []string
	width := 0
	f.VisitAll(func(one *pflag.Flag) {
		if one.Hidden {
			return
		}
		head, text := describeFlag(one)
		heads, texts = append(heads, head), append(texts, text)
		if n := len(head); n <= maxHead {
			width = max(width, n)
		}
	})
	for i, head := range heads {
		text := indent(strings.Join(wrap(texts[i], helpColumns-width-3), "\n"), strings.Repeat(" ", width+3))
		if len(head) > width {
			fmt.Fprintf(w, "%s\n%s\n", head, text)
			continue
		}
		fmt.Fprintf(w, "%-*s   %s\n", width, head, strings.TrimLeft(text, " "))
	}
}

// maxHead is the longest "-x, --flag ARGUMENT" beside which there is text; behind a longer one it is in the next line.
const maxHead = 38

// describeFlag gives "-x, --flag ARGUMENT" and what the flag does. The argument is the part of the text in `back
// quotes`.
func describeFlag(one *pflag.Flag) (head, text string) {
	head = "      --" + one.Name
	if one.Shorthand != "" {
		head = "  -" + one.Shorthand + ", --" + one.Name
	}
	argument, text := pflag.UnquoteUsage(one)
	boolean := one.Value.Type() == "bool"
	switch {
	case boolean:
	case one.NoOptDefVal != "":
		head += "[=" + argument + "]"
	default:
		head += " " + argument
	}
	if !boolean && one.DefValue != "" && one.DefValue != "[]" && !strings.Contains(text, "default") {
		text += " (default: " + one.DefValue + ")"
	}
	return head, text
}

func indent(text, by string) string { return by + strings.ReplaceAll(text, "\n", "\n"+by) }

// wrap breaks text at spaces into lines of at most width columns.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
