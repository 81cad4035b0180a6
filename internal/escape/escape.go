// Package escape makes text printable that has names from objects, images or archives in it. None of them can move the
// cursor, turn the direction of writing, begin a line of its own, or speak to the runner of a CI job.
//
// What is printable stays as it is, and to escape twice changes nothing; so a backslash stays, too.
package escape

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Name escapes a name or a message, which has to be one line or a part of one.
func Name(s string) string {
	start := commands(s)
	if plain(s) && !strings.Contains(s, "##") && !start {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case start && r == ':', r == '#' && strings.HasSuffix(b.String(), "#"):
			// GitHub's runner reads lines that begin with ::, and ##[ anywhere; Azure's ##vso[,
			// TeamCity's ##teamcity[.
			fmt.Fprintf(&b, `\x%02x`, r)
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
		start = start && r == ' ' // the first colon is enough
		i += size
	}
	return b.String()
}

// commands reports whether a line with this at its start could be a command of GitHub's runner: another colon may
// follow.
func commands(s string) bool {
	s = strings.TrimLeft(s, " ")
	return s == ":" || strings.HasPrefix(s, "::")
}

// plain reports whether all of a text can be printed.
func plain(s string) bool {
	for _, r := range s {
		if !strconv.IsPrint(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// Printable reports whether a line of text can be shown as it is, tabs included.
func Printable(line string) bool { return plain(strings.ReplaceAll(line, "\t", " ")) }

// Text escapes what may have several lines. Whoever puts a name into it escapes the name, lest it make lines.
func Text(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		parts := strings.Split(line, "\t")
		for k := range parts {
			parts[k] = Name(parts[k])
		}
		lines[i] = strings.Join(parts, "\t")
	}
	return strings.Join(lines, "\n")
}

// Error is the text of an error. The names of files in the errors of system calls come from anywhere.
func Error(err error) string { return Words(err.Error(), paths(err)...) }

// Words is Text of a text in which the words, or what follows their dashes, were put as they are.
func Words(text string, words ...string) string {
	for _, word := range words {
		if word = strings.TrimLeft(word, "-"); word != "" && !plain(word) {
			text = strings.ReplaceAll(text, word, Name(word))
		}
	}
	return Text(text)
}

// paths lists the names of files in an error.
func paths(err error) []string {
	switch e := err.(type) {
	case *fs.PathError:
		return append(paths(e.Err), e.Path)
	case *os.LinkError:
		return append(paths(e.Err), e.Old, e.New)
	case interface{ Unwrap() []error }:
		return pathsOf(e.Unwrap())
	case interface{ WrappedErrors() []error }:
		return pathsOf(e.WrappedErrors())
	}
	if inner := errors.Unwrap(err); inner != nil {
		return paths(inner)
	}
	return nil
}

func pathsOf(errs []error) (all []string) {
	for _, one := range errs {
		all = append(all, paths(one)...)
	}
	return all
}

// JSON escapes the characters in the strings of a JSON document that encoding/json leaves: unprintable ones, and
// what the runners of CI jobs read.
func JSON(doc []byte) []byte {
	var b strings.Builder
	for _, r := range strings.ReplaceAll(string(doc), "##", `#\u0023`) {
		switch {
		case r < utf8.RuneSelf || strconv.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return []byte(b.String())
}

// WriteJSON writes a JSON document with escaped strings, indented.
func WriteJSON(w io.Writer, doc any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(doc); err != nil {
		return err
	}
	_, err := w.Write(JSON(b.Bytes()))
	return err
}

// Writer escapes the bytes written to w, as Text does; each call has to bring whole lines.
func Writer(w io.Writer) io.Writer { return writer{w} }

type writer struct{ to io.Writer }

func (w writer) Write(b []byte) (int, error) {
	if _, err := io.WriteString(w.to, Text(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}
