// Package elffile bounds what debug/elf and debug/dwarf read of the files that a process maps.
//
// What lives here: what has to be known before those packages are asked, and tables of symbols. What never does:
// plugins, whose objects package loader reads.
package elffile
