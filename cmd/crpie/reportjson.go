package main

import (
	"io"

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
