package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/crpie/crpie/loader"
)

// reports are the values of crpie check --format.
var reports = map[string]func(io.Writer, []checked) error{
	"text": reportText,
	"json": reportJSON,
}

// reportText writes what a person reads: each violation, where, and what to do; or one line of praise.
func reportText(w io.Writer, results []checked) error {
	for _, c := range results {
		switch {
		case c.found != nil:
			for _, v := range c.found.Violations {
				textViolation(w, c.file, "error", v)
			}
			fmt.Fprintf(w, "%s: %s\n", c.file, countErrors(c.found))
		case c.plugin != nil:
			for _, v := range c.plugin.Notes {
				fmt.Fprintf(w, "%s: note[%s]: %s\n", c.file, v.Code, v.Message)
			}
			fmt.Fprintf(w, "%s: ok: %s\n", c.file, summary(c.plugin))
		}
	}
	return nil
}

func textViolation(w io.Writer, file, kind string, v loader.Violation) {
	fmt.Fprintf(w, "%s: %s[%s]: %s\n", file, kind, v.Code, v.Message)
	for _, p := range v.Places {
		fmt.Fprintf(w, "  at %s\n", p)
	}
	if more := v.Count - len(v.Places); more > 0 {
		fmt.Fprintf(w, "  and %d more places\n", more)
	}
	if v.Fix != "" {
		fmt.Fprintf(w, "  fix: %s\n", v.Fix)
	}
}

func countErrors(e *loader.Error) string {
	if n := len(e.Violations) + e.Omitted; n != 1 {
		return fmt.Sprintf("%d errors", n)
	}
	return "1 error"
}

// summary says in a line what was accepted.
func summary(p *loader.Plugin) string {
	return fmt.Sprintf("plugin %s for %v, %d hooks", p.Name, p.Machine, len(p.Hooks))
}

// The JSON document of crpie check; schema_version changes when a member changes its meaning or goes.
type (
	jsonReport struct {
		SchemaVersion int        `json:"schema_version"`
		Files         []jsonFile `json:"files"`
	}
	jsonFile struct {
		File     string          `json:"file"`
		OK       bool            `json:"ok"`
		Error    string          `json:"error,omitempty"` // it could not be read
		Plugin   string          `json:"plugin,omitempty"`
		Machine  string          `json:"machine,omitempty"`
		Hooks    []string        `json:"hooks,omitempty"`
		Errors   []jsonViolation `json:"errors,omitempty"`
		Notes    []jsonViolation `json:"notes,omitempty"`
		NotShown int             `json:"not_shown,omitempty"`
	}
	jsonViolation struct {
		Code      loader.Code    `json:"code"`
		Title     string         `json:"title"`
		Message   string         `json:"message"`
		Symbol    string         `json:"symbol,omitempty"`
		Demangled string         `json:"demangled,omitempty"`
		Places    []loader.Place `json:"places,omitempty"`
		Count     int            `json:"count,omitempty"`
		Fix       string         `json:"fix,omitempty"`
	}
)

func reportJSON(w io.Writer, results []checked) error {
	doc := jsonReport{SchemaVersion: 1, Files: []jsonFile{}}
	for _, c := range results {
		doc.Files = append(doc.Files, c.json())
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(doc)
}

func (c checked) json() jsonFile {
	f := jsonFile{File: c.file, OK: c.plugin != nil}
	if c.err != nil {
		f.Error = c.err.Error()
	}
	if c.found != nil {
		f.Errors, f.NotShown = jsonViolations(c.found.Violations), c.found.Omitted
	}
	if p := c.plugin; p != nil {
		f.Plugin, f.Machine, f.Notes = p.Name, p.Machine.String(), jsonViolations(p.Notes)
		for _, h := range p.Hooks {
			f.Hooks = append(f.Hooks, h.ID.String())
		}
	}
	return f
}

func jsonViolations(all []loader.Violation) []jsonViolation {
	var out []jsonViolation
	for _, v := range all {
		j := jsonViolation{
			Code: v.Code, Title: loader.Rule(v.Code).Title, Message: v.Message, Symbol: v.Symbol,
			Places: v.Places, Count: v.Count, Fix: v.Fix,
		}
		if d := loader.Demangle(v.Symbol); d != v.Symbol {
			j.Demangled = d
		}
		out = append(out, j)
	}
	return out
}
