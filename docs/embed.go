// Package docs carries the documents that the command line can print.
// It builds on every system.
package docs

import _ "embed"

// Rules is rules.md: one section per rule code.
//
//go:embed rules.md
var Rules string
