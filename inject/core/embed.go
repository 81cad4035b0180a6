// Package core holds the freestanding code that crpie try lays into a live process, as compiled objects.
//
// Its assembly is under src/; "make core" rebuilds the objects, and CI compares them with what is committed. The
// objects are plugins too: crpie's own loader validates and places them. No Go code that decides anything lives here.
// It builds on every system.
package core

import _ "embed"

// Object is what a hook calls and returns to on x86-64: inject_return, inject_log, inject_pid.
//
//go:embed inject_amd64.o
var Object []byte

// Stub is the code of the program that waits to be traced, for x86-64: stub_entry.
//
//go:embed stub_amd64.o
var Stub []byte
