package main

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/loader"
)

// reportGitHub writes workflow commands, which GitHub shows beside the source lines.
func reportGitHub(out io.Writer, results []checked) error {
	w := bufio.NewWriter(out)
	for _, c := range results {
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
var (
	githubText     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

func githubCommand(w io.Writer, level, object string, v loader.Violation) {
	where, text := "file="+githubProperty.Replace(escape.Name(object)), v.Error()
	if len(v.Places) > 0 && v.Places[0].File != "" {
		p := v.Places[0]
		where = fmt.Sprintf("file=%s,line=%d", githubProperty.Replace(p.File), p.Line)
		if p.Column > 0 {
			where += fmt.Sprintf(",col=%d", p.Column)
		}
	}
	if v.Fix != "" {
		text += "\nfix: " + v.Fix
	}
	title := githubProperty.Replace(string(v.Code) + " " + loader.Rule(v.Code).Title)
	fmt.Fprintf(w, "::%s %s,title=%s::%s\n", level, where, title, githubText.Replace(escape.Name(object)+": "+text))
}

// The part of JUnit's XML that CI systems read: a suite of one test per file.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Failure *junitProblem `xml:"failure"`
		Error   *junitProblem `xml:"error"`
		Output  string        `xml:"system-out,omitempty"`
	}
	junitProblem struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

func reportJUnit(w io.Writer, results []checked) error {
	suite := junitSuite{Name: "crpie check", Tests: len(results)}
	for _, c := range results {
		test := newJUnitCase(c)
		if test.Failure != nil {
			suite.Failures++
		}
		if test.Error != nil {
			suite.Errors++
		}
		suite.Cases = append(suite.Cases, test)
	}
	doc := junitSuites{Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors,
		Suites: []junitSuite{suite}}
	text, err := xml.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, text)
	return err
}

func newJUnitCase(c checked) junitCase {
	t := junitCase{Name: escape.Name(c.file), Class: "crpie.check"}
	switch {
	case c.err != nil:
		t.Error = &junitProblem{Message: escape.Error(c.err), Type: "unreadable"}
	case c.ok:
		t.Output = c.summary()
	default:
		var text strings.Builder
		for _, v := range c.found {
			painter{}.violation(&text, escape.Name(c.file), v)
		}
		t.Failure = &junitProblem{Message: c.found[0].Error(), Type: string(c.found[0].Code),
			Text: text.String()}
	}
	return t
}
