// Package core holds the freestanding code that crpie graft puts into a process image, as a compiled object.
//
// Its C and assembly are under src/; "make core" rebuilds the object, and CI compares it with what is committed. The
// object is a plugin too: crpie's own loader validates and places it. No Go code that decides anything lives here.
// It builds on every system.
package core

import _ "embed"

// Object is the graft core for x86-64: graft_entry, graft_leave and what they need.
//
//go:embed graft_amd64.o
var Object []byte
