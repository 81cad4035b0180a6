package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/crpie/crpie/docs"
	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/loader"
)

// The part of SARIF 2.1.0 that code scanning services read.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool            `json:"tool"`
		Invocations []sarifInvocation    `json:"invocations"`
		Bases       map[string]sarifBase `json:"originalUriBaseIds"`
		Results     []sarifResult        `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string       `json:"id"`
		Name             string       `json:"name"`
		ShortDescription sarifMessage `json:"shortDescription"`
		FullDescription  sarifMessage `json:"fullDescription"`
		Help             sarifMessage `json:"help"`
	}
	sarifMessage struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown,omitempty"`
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level     string          `json:"level"`
		Message   sarifMessage    `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
	}
	sarifBase struct {
		Description sarifMessage `json:"description"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifMessage    `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
	}
	sarifLocation struct {
		PhysicalLocation sarifPhysical  `json:"physicalLocation"`
		LogicalLocations []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		ArtifactLocation sarifArtifact `json:"artifactLocation"`
		Region           sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI  string `json:"uri"`
		Base string `json:"uriBaseId,omitempty"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
	sarifLogical struct {
		FullyQualifiedName string `json:"fullyQualifiedName"`
		Kind               string `json:"kind"`
	}
)

// sarifRoot is the name that SARIF's own examples (section 3.14.14) and GitHub have for the root of the sources.
const sarifRoot = "%SRCROOT%"

// reportSARIF writes SARIF 2.1.0, in which results name rules by their place in a list.
func reportSARIF(w io.Writer, results []checked) error {
	rules, index := sarifRules()
	run := sarifRun{
		Tool: sarifTool{sarifDriver{
			Name: "crpie", Version: toolVersion(), InformationURI: "https://github.com/crpie/crpie", Rules: rules,
		}},
		Invocations: []sarifInvocation{newSARIFInvocation(results)},
		Bases: map[string]sarifBase{
			sarifRoot: {sarifMessage{Text: "The root of the source tree that the objects belong to."}},
		},
		Results: []sarifResult{},
	}
	for _, c := range results {
		for _, v := range c.found {
			run.Results = append(run.Results, newSARIFResult(c.file, "error", index[v.Code], v))
		}
		for _, v := range c.notes {
			run.Results = append(run.Results, newSARIFResult(c.file, "note", index[v.Code], v))
		}
	}
	return writeJSON(w, sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}

// sarifRules lists all rules, with what crpie explain says of each.
func sarifRules() (rules []sarifRule, index map[loader.Code]int) {
	index = map[loader.Code]int{}
	for i, r := range loader.Rules() {
		index[r.Code] = i
		text, _ := section(docs.Rules, string(r.Code))
		_, text, _ = strings.Cut(strings.TrimSpace(text), "\n\n")
		about, _, _ := strings.Cut(text, "\n\n")
		rules = append(rules, sarifRule{
			ID: string(r.Code), Name: pascalCase(r.Title), Help: sarifMessage{text, text},
			ShortDescription: sarifMessage{Text: sentence(r.Title)},
			FullDescription:  sarifMessage{Text: oneLine(about)},
		})
	}
	return rules, index
}

// pascalCase makes the friendly name of a rule, SARIF section 3.49.7: "not an ELF object" is NotAnELFObject.
func pascalCase(title string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(title, func(r rune) bool { return !isLetter(r) }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

func isLetter(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// sentence ends with a full stop, as SARIF (section 3.11.3) has it.
func sentence(title string) string { return strings.ToUpper(title[:1]) + title[1:] + "." }

func oneLine(paragraph string) string { return strings.Join(strings.Fields(paragraph), " ") }

// newSARIFInvocation notifies of what is no result: objects that could not be read, and violations left out.
func newSARIFInvocation(results []checked) sarifInvocation {
	one := sarifInvocation{Successful: true}
	for _, c := range results {
		if c.err != nil {
			one.Successful = false
			one.notify("error", c.file, escape.Error(c.err))
		}
		if c.omitted > 0 {
			one.notify("warning", c.file, fmt.Sprintf("%d more violations are not listed.", c.omitted))
		}
	}
	return one
}

func (one *sarifInvocation) notify(level, file, text string) {
	one.Notifications = append(one.Notifications, sarifNotification{
		Level: level, Message: sarifMessage{Text: text}, Locations: sarifLocations(file, nil),
	})
}

// newSARIFResult makes a result; one without a place gets the object itself as its place.
func newSARIFResult(file, level string, rule int, v loader.Violation) sarifResult {
	text := v.Message
	if v.Fix != "" {
		text += "\nfix: " + v.Fix
	}
	return sarifResult{
		RuleID: string(v.Code), RuleIndex: rule, Level: level, Message: sarifMessage{Text: text},
		Locations: sarifLocations(file, v.Places),
	}
}

// sarifLocations names source lines, or else the object. What came by standard input has no place.
func sarifLocations(file string, places []loader.Place) (all []sarifLocation) {
	if len(places) == 0 {
		places = []loader.Place{{}}
	}
	for _, p := range places {
		if file != stdinName || p.File != "" {
			all = append(all, newSARIFLocation(file, p))
		}
	}
	return all
}

// newSARIFLocation points at the source line if there is one, else at the object. GitHub drops results without a line:
// those of the whole file are at its first.
func newSARIFLocation(file string, p loader.Place) (l sarifLocation) {
	l.PhysicalLocation = sarifPhysical{newSARIFArtifact(file), sarifRegion{StartLine: 1}}
	if p.File != "" {
		line := sarifRegion{max(1, p.Line), max(0, p.Column)}
		l.PhysicalLocation = sarifPhysical{newSARIFArtifact(p.File), line}
	}
	if p.Section != "" {
		name := fmt.Sprintf("%s+0x%x", p.Section, p.Offset)
		l.LogicalLocations = append(l.LogicalLocations, sarifLogical{name, "member"})
	}
	if p.Function != "" {
		l.LogicalLocations = append(l.LogicalLocations, sarifLogical{p.Function, "function"})
	}
	return l
}

// newSARIFArtifact makes a URI, RFC 3986: relative to the root of the sources, or else a file's.
func newSARIFArtifact(file string) sarifArtifact {
	switch {
	case strings.HasPrefix(file, "/"):
		return sarifArtifact{URI: "file://" + uriPath(file)}
	case len(file) > 1 && file[1] == ':': // C:/
		return sarifArtifact{URI: "file:///" + uriPath(file)}
	}
	return sarifArtifact{URI: uriPath(file), Base: sarifRoot}
}

// uriPath escapes all but the unreserved characters of RFC 3986, section 2.3, and slashes. Package net/url would cost
// each start of crpie more.
func uriPath(file string) string {
	var b strings.Builder
	for i := range len(file) {
		if c := file[i]; isLetter(rune(c)) || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
