// Package dwarfline reads two tables of DWARF 2 to 5 that need no other: source lines in .debug_line (section 6.2 of
// each standard), and in .debug_frame (section 6.4) and sections like it sizes of frames, and where their callers are.
//
// What lives here: reading these sections and the strings they refer to. What never does: .debug_info. The tables come
// from untrusted objects, so the work is linear in their size and nothing is allocated but the answers; debug/dwarf of
// Go's library lets a table of a few bytes ask for gigabytes.
package dwarfline
