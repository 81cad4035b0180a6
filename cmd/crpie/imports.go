package main

import (
	"strings"

	"github.com/crpie/crpie/loader"
)

// viewImport is a symbol of the process that the plugin declares.
type viewImport struct {
	Symbol   string `json:"symbol"`
	Version  string `json:"version,omitempty"`
	Library  string `json:"library"` // empty: the program
	Required bool   `json:"required"`
}

func viewImports(p *loader.Plugin) (views []viewImport) {
	for _, in := range p.Imports {
		symbol, version := strings.Clone(in.Symbol), strings.Clone(in.Version)
		views = append(views, viewImport{symbol, version, strings.Clone(in.Library), in.Required})
	}
	return views
}

// needed is the word of the macro.
func (v *viewImport) needed() string {
	if v.Required {
		return "required"
	}
	return "optional"
}

// listImports writes imports in one line.
func listImports(views []viewImport) string {
	var words []string
	for _, v := range views {
		in := loader.Import{Symbol: v.Symbol, Version: v.Version, Library: v.Library}
		words = append(words, in.String()+" ("+v.needed()+")")
	}
	return strings.Join(words, ", ")
}
