package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/loader"
)

// reportGitHub writes workflow commands, which GitHub shows beside the source lines.
func reportGitHub(out io.Writer, results []checked) error {
	w := bufio.NewWriter(out)
	for _, c := range results {
		if c.err != nil {
			fmt.Fprintf(w, "::error file=%s,title=unreadable::%s\n", githubProperty(escape.Name(c.file)),
				githubText(escape.Error(c.err)))
		}
		for _, v := range c.found {
			githubCommand(w, "error", c.file, v)
		}
		for _, v := range c.notes {
			githubCommand(w, "notice", c.file, v)
		}
	}
	return w.Flush()
}

// Characters that end a workflow command or one of its properties, as GitHub's toolkit escapes them.
func githubText(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func githubProperty(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s)
}

// githubCommand writes a workflow command, which GitHub shows at the line of the source, if debug information has one.
func githubCommand(w io.Writer, level, object string, v loader.Violation) {
	where, text := "file="+githubProperty(escape.Name(object)), v.Error()
	if len(v.Places) > 0 && v.Places[0].File != "" {
		p := v.Places[0]
		where = fmt.Sprintf("file=%s,line=%d", githubProperty(p.File), p.Line)
		if p.Column > 0 {
			where += fmt.Sprintf(",col=%d", p.Column)
		}
	}
	if v.Fix != "" {
		text += "\nfix: " + v.Fix
	}
	title := githubProperty(string(v.Code) + " " + loader.Rule(v.Code).Title)
	fmt.Fprintf(w, "::%s %s,title=%s::%s\n", level, where, title, githubText(escape.Name(object)+": "+text))
}

// The part of JUnit's XML that CI systems read: a suite of one test per file. Package encoding/xml would cost each start
// of crpie more than what it would save here.
type (
	junitCase struct {
		name, class    string
		failure, error *junitProblem
		output         string
	}
	junitProblem struct{ message, kind, text string }
)

// reportJUnit writes a test suite with a test for each object.
func reportJUnit(w io.Writer, results []checked) error {
	var cases []junitCase
	var failures, errors int
	for _, c := range results {
		test := newJUnitCase(c)
		if test.failure != nil {
			failures++
		}
		if test.error != nil {
			errors++
		}
		cases = append(cases, test)
	}
	out := bufio.NewWriter(w)
	counts := fmt.Sprintf(`tests="%d" failures="%d" errors="%d"`, len(results), failures, errors)
	fmt.Fprintf(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites %s>\n", counts)
	fmt.Fprintf(out, "  <testsuite name=\"crpie check\" %s>\n", counts)
	for _, c := range cases {
		c.write(out)
	}
	fmt.Fprint(out, "  </testsuite>\n</testsuites>\n")
	return out.Flush()
}

// write keeps the order of elements in JUnit's schemas: the result, then system-out.
func (c *junitCase) write(w io.Writer) {
	fmt.Fprintf(w, "    <testcase name=\"%s\" classname=\"%s\">\n", xmlText(c.name), xmlText(c.class))
	c.failure.write(w, "failure")
	c.error.write(w, "error")
	if c.output != "" {
		fmt.Fprintf(w, "      <system-out>%s</system-out>\n", xmlText(c.output))
	}
	fmt.Fprint(w, "    </testcase>\n")
}

func (p *junitProblem) write(w io.Writer, element string) {
	if p != nil {
		fmt.Fprintf(w, "      <%s message=\"%s\" type=\"%s\">%s</%s>\n", element, xmlText(p.message), xmlText(p.kind),
			xmlText(p.text), element)
	}
}

// xmlText escapes text for an element or an attribute. Characters that XML 1.0 has no place for (section 2.2) become
// U+FFFD.
func xmlText(s string) string {
	return xmlEscapes().Replace(strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
			return utf8.RuneError
		}
		return r
	}, s))
}

// White space is written as numbers because parsers make spaces of it in attributes, section 3.3.3.
func xmlEscapes() *strings.Replacer {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;",
		"\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;")
}

// newJUnitCase tells an object that breaks rules (a failure) from one that could not be read (an error).
func newJUnitCase(c checked) junitCase {
	t := junitCase{name: escape.Name(c.file), class: "crpie.check"}
	switch {
	case c.err != nil:
		t.error = &junitProblem{message: escape.Error(c.err), kind: "unreadable"}
	case c.ok:
		t.output = c.summary()
	default:
		var text strings.Builder
		for _, v := range c.found {
			painter{}.violation(&text, escape.Name(c.file), v)
		}
		t.failure = &junitProblem{message: c.found[0].Error(), kind: string(c.found[0].Code),
			text: text.String()}
	}
	return t
}
