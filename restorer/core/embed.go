// Package core holds the freestanding code that runs inside the processes being restored, as compiled objects.
//
// Its C and assembly are under src/; "make core" rebuilds the objects, and CI compares them with what is committed.
// The objects are plugins too: crpie's own loader validates and places them. No Go code that decides anything lives
// here; it builds on every system.
package core

import _ "embed"

// Object is the restorer core for x86-64: core_entry and what it needs.
//
//go:embed core_amd64.o
var Object []byte

// Stub is the code of the zygote's ELF file for x86-64: stub_entry.
//
//go:embed stub_amd64.o
var Stub []byte

// Init is the code of the ELF file of a pid namespace's first process for x86-64: init_entry.
//
//go:embed init_amd64.o
var Init []byte
