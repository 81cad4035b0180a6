// Package memory has the arithmetic of address spaces that more than one package does: pages, alignment, spans of
// addresses and the holes between them, and arenas.
//
// What lives here: numbers and bytes. What never does: a mapping, or a system call.
package memory
