// Package exports finds symbols of the files that a process maps, and their addresses there.
//
// What lives here: a bounded reader of the symbol tables of linked ELF files, and the sum of what they say and what
// mappings say. What never does: opening a file, a system call.
package exports
