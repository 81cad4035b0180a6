package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/crpie/crpie/internal/escape"
	"github.com/crpie/crpie/loader"
)

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
		Params   []viewParam     `json:"params,omitempty"`
		AnyParam bool            `json:"any_params,omitempty"` // it declares none and takes any
		Syscalls []string        `json:"syscalls,omitempty"`
		Imports  []viewImport    `json:"imports,omitempty"`
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
		f := jsonFile{
			File: c.file, OK: c.ok, Plugin: c.plugin, Machine: c.machine, Hooks: c.hooks,
			Params: viewParams(c.params), AnyParam: c.any, Syscalls: c.syscalls,
			Imports: c.imports,
			Errors:  jsonViolations(c.found), Notes: jsonViolations(c.notes), NotShown: c.omitted,
		}
		if c.err != nil {
			f.Error = c.err.Error()
		}
		doc.Files = append(doc.Files, f)
	}
	return writeJSON(w, doc)
}

func writeJSON(w io.Writer, doc any) error { return escape.WriteJSON(w, doc) }

// jsonViolations leaves out the demangled name of a symbol that is not mangled.
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

// The part of SARIF 2.1.0 that code scanning services read.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		Rules []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string       `json:"id"`
		ShortDescription sarifMessage `json:"shortDescription"`
		Help             sarifMessage `json:"help"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifMessage    `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		PhysicalLocation sarifPhysical  `json:"physicalLocation"`
		LogicalLocations []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		ArtifactLocation struct {
			URI string `json:"uri"`
		} `json:"artifactLocation"`
		Region *sarifRegion `json:"region,omitempty"`
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

// reportSARIF writes SARIF 2.1.0, in which results name rules by their place in a list.
func reportSARIF(w io.Writer, results []checked) error {
	driver, index := sarifDriver{Name: "crpie"}, map[loader.Code]int{}
	for i, r := range loader.Rules() {
		index[r.Code] = i
		help := r.Fix
		if help == "" {
			help = r.Title
		}
		driver.Rules = append(driver.Rules,
			sarifRule{string(r.Code), sarifMessage{r.Title}, sarifMessage{help}})
	}
	run := sarifRun{Tool: sarifTool{driver}, Results: []sarifResult{}}
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

// newSARIFResult makes a result; one without a place gets the object itself as its place.
func newSARIFResult(file, level string, rule int, v loader.Violation) sarifResult {
	text := v.Message
	if v.Fix != "" {
		text += "\nfix: " + v.Fix
	}
	r := sarifResult{RuleID: string(v.Code), RuleIndex: rule, Level: level, Message: sarifMessage{text}}
	for _, p := range v.Places {
		r.Locations = append(r.Locations, newSARIFLocation(file, p))
	}
	if len(v.Places) == 0 {
		r.Locations = []sarifLocation{newSARIFLocation(file, loader.Place{})}
	}
	return r
}

// newSARIFLocation points at the source line if there is one, else at the object.
func newSARIFLocation(file string, p loader.Place) (l sarifLocation) {
	l.PhysicalLocation.ArtifactLocation.URI = filepath.ToSlash(file)
	if p.File != "" {
		l.PhysicalLocation.ArtifactLocation.URI = filepath.ToSlash(p.File)
		l.PhysicalLocation.Region = &sarifRegion{p.Line, p.Column}
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
