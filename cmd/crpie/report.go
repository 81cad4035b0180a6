package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/internal/files"
	"github.com/crpie/crpie/loader"
)

// reporter writes the results of crpie check.
type reporter func(io.Writer, []checked) error

// format is a value of crpie check --format.
type format struct {
	write  reporter
	rooted bool // it goes to a service, which has the source tree elsewhere
}

func formats() map[string]format {
	return map[string]format{
		"text": {reportText, false}, "json": {reportJSON, false},
		"sarif": {reportSARIF, true}, "github": {reportGitHub, true}, "junit": {reportJUnit, true},
	}
}

// report writes the results with names that the reader of the format has for the files.
func (f format) report(w io.Writer, results []checked, root string) error {
	if f.rooted {
		r, err := newSourceRoot(root)
		if err != nil {
			return fmt.Errorf("source root: %w", err)
		}
		r.rename(results)
	}
	return f.write(w, results)
}

// painter colours text for a terminal; the zero painter does not.
type painter struct{ terminal bool }

const (
	red    = "1;31"
	green  = "1;32"
	yellow = "1;33"
	blue   = "1;34"
	bold   = "1"
)

func (p painter) paint(colour, s string) string {
	if !p.terminal {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// newPainter colours only what a person sees, and not for those who asked for none (no-color.org).
func newPainter(w io.Writer) painter {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return painter{}
	}
	info, err := f.Stat()
	return painter{err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// reportText writes what a person reads: each violation, where, and what to do; or one line of praise.
func reportText(out io.Writer, results []checked) error {
	w := bufio.NewWriter(out)
	paint := newPainter(out)
	for _, c := range results {
		file := escape.Name(c.file)
		for _, v := range c.found {
			paint.violation(w, file, v)
		}
		switch n := len(c.found) + c.omitted; {
		case c.ok:
			for _, v := range c.notes {
				fmt.Fprintf(w, "%s: %s: %s\n", file,
					paint.paint(blue, fmt.Sprintf("note[%s]", v.Code)), v.Message)
			}
			fmt.Fprintf(w, "%s: %s: %s\n", file, paint.paint(green, "ok"), c.summary())
		case n == 1:
			fmt.Fprintf(w, "%s: 1 error\n", file)
		case n > 1:
			fmt.Fprintf(w, "%s: %d errors\n", file, n)
		}
	}
	return w.Flush()
}

// summary says in a line what was accepted.
func (c checked) summary() string {
	hooks := "1 hook"
	if n := len(c.hooks); n != 1 {
		hooks = fmt.Sprintf("%d hooks", n)
	}
	line := fmt.Sprintf("plugin %s for %s, %s", escape.Name(c.plugin), c.machine, hooks)
	switch {
	case c.any:
	case len(c.params) == 0:
		line += ", no parameters"
	default:
		line += ", parameters " + synopsis(c.params)
	}
	if len(c.syscalls) > 0 {
		line += "; system calls " + strings.Join(c.syscalls, ", ")
	}
	if len(c.imports) > 0 {
		line += "; imports " + listImports(c.imports)
	}
	return line
}

// violation writes a violation with all its places. A terminal shows the source line of the first one, too.
func (p painter) violation(w io.Writer, file string, v loader.Violation) {
	fmt.Fprintf(w, "%s: %s: %s\n", file, p.paint(red, fmt.Sprintf("error[%s]", v.Code)), p.paint(bold, v.Message))
	for i, place := range v.Places {
		fmt.Fprintf(w, "  at %s\n", place)
		if i == 0 && p.terminal {
			p.excerpt(w, place, v.Symbol)
		}
	}
	if more := v.Count - len(v.Places); more > 0 {
		fmt.Fprintf(w, "  and %d more places\n", more)
	}
	if v.Fix != "" {
		fmt.Fprintf(w, "  %s: %s\n", p.paint(yellow, "fix"), v.Fix)
	}
}

// excerpt shows the source line of a place, if the file is still there, with carets below the symbol or the column.
func (p painter) excerpt(w io.Writer, place loader.Place, symbol string) {
	line, ok := sourceLine(place.File, place.Line)
	if !ok || !escape.Printable(line) {
		return
	}
	at, width := max(0, place.Column-1), 1
	if i := strings.Index(line, symbol); i >= 0 && symbol != "" {
		at, width = i, len(symbol)
	} else if place.Column == 0 {
		at = len(line) - len(strings.TrimLeft(line, " \t"))
	}
	if at > len(line) {
		return
	}
	number := fmt.Sprint(place.Line)
	pad := strings.Repeat(" ", len(number))
	lead := strings.Map(func(r rune) rune { // tabs stay, so that the caret is below what it points at
		if r == '\t' {
			return r
		}
		return ' '
	}, line[:at])
	fmt.Fprintf(w, "  %s | %s\n  %s | %s%s\n", number, line, pad, lead, p.paint(red, strings.Repeat("^", width)))
}

// sourceLine reads one line of a source file.
func sourceLine(file string, number int) (string, bool) {
	if file == "" || number <= 0 {
		return "", false
	}
	f, _, err := files.OpenRegular(file) // the object says which
	if err != nil {
		return "", false
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for ; number > 0; number-- {
		if !lines.Scan() {
			return "", false
		}
	}
	return lines.Text(), true
}
