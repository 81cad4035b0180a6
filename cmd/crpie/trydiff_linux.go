//go:build amd64

package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"

	"github.com/crpie/crpie/inject"
	"github.com/crpie/crpie/internal/escape"
)

// writeDiff writes what hooks have changed, for people.
func writeDiff(w io.Writer, d *inject.Diff) {
	if d == nil {
		return
	}
	lines := &diffLines{w: w}
	for _, c := range d.Memory {
		lines.memory(c)
	}
	if d.Omitted > 0 {
		lines.print("memory: %d changes more; %d bytes are others in all", d.Omitted, d.MemoryBytes)
	}
	for _, kind := range []struct {
		what    string
		changes []*inject.Change
	}{
		{"mapping", d.Mappings}, {"descriptor", d.Descriptors}, {"signal", d.Signals}, {"limit", d.Limits},
		{"variable", d.Environment}, {"register", d.Registers}, {"timer", d.Timers}, {"status", d.Attributes},
	} {
		for _, c := range kind.changes {
			lines.change(kind.what, c)
		}
	}
	for _, p := range d.Pointers {
		lines.print("warning: %s points to memory of the plugins, which is unmapped afterwards: %s", pointerPlace(p), p.Value)
	}
	for _, text := range d.Unknown {
		lines.print("not compared: %s", escape.Name(text))
	}
	if lines.n == 0 {
		lines.print("changed nothing")
	}
}

// diffLines writes and counts lines.
type diffLines struct {
	w io.Writer
	n int
}

func (l *diffLines) print(format string, args ...any) {
	fmt.Fprintf(l.w, "  "+format+"\n", args...)
	l.n++
}

func (l *diffLines) memory(c *inject.MemoryChange) {
	l.print("memory %s, %s: %s -> %s", placeText(&c.Place, c.Address), count(int(c.Size), "byte"), bytesText(c.Before, c.Size),
		bytesText(c.After, c.Size))
}

// change writes one difference. Variables of the environment are quoted: their values may hold spaces and line ends,
// environ(7).
func (l *diffLines) change(kind string, c *inject.Change) {
	show := escape.Name
	if kind == "variable" || !c.New && !c.Gone && (c.Before == "" || c.After == "") {
		show = quoted
	}
	undone := ""
	if c.Undone {
		undone = ", which the restore has changed again"
	}
	switch what := escape.Name(c.What); {
	case c.New:
		l.print("%s %s: new: %s%s", kind, what, show(c.After), undone)
	case c.Gone:
		l.print("%s %s: gone: %s%s", kind, what, show(c.Before), undone)
	default:
		l.print("%s %s: %s -> %s%s", kind, what, show(c.Before), show(c.After), undone)
	}
}

// quoted quotes text of the process, so that it neither ends a line nor speaks to the runner of a CI job.
func quoted(text string) string { return escape.Name(strconv.Quote(text)) }

func pointerPlace(p *inject.Pointer) string {
	if p.Address == "" {
		return escape.Name(p.Mapping)
	}
	return placeText(&p.Place, p.Address)
}

// placeText names memory as precisely as it is known.
func placeText(p *inject.Place, address string) string {
	text := fmt.Sprintf("%s in %s", address, escape.Name(p.Mapping))
	switch {
	case p.Variable != "":
		return fmt.Sprintf("%s (%s), %s", escape.Name(p.Variable), escape.Name(p.Type), text)
	case p.Symbol != "":
		return fmt.Sprintf("%s, %s", escape.Name(p.Symbol), text)
	}
	return text
}

// bytesText shows bytes: as a number if they are as many as one has, as text if they are that.
func bytesText(inHex string, size uint64) string {
	b, err := hex.DecodeString(inHex)
	if err != nil {
		return inHex
	}
	more := ""
	if uint64(len(b)) < size {
		more = "..."
	}
	switch {
	case len(b) > 2 && isText(b):
		return quoted(string(b)) + more
	case size == 1 || size == 2 || size == 4 || size == 8:
		return numberText(b)
	}
	return inHex + more
}

func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

func numberText(b []byte) string {
	n := binary.LittleEndian.Uint64(append(append([]byte{}, b...), make([]byte, 8-len(b))...))
	if n < 1<<32 {
		return strconv.FormatUint(n, 10)
	}
	return fmt.Sprintf("%#x", n)
}
