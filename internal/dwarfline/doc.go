// Package dwarfline finds source lines in the line number tables of DWARF 2 to 5 (section 6.2 of each standard).
//
// What lives here: reading .debug_line and the string sections it refers to. What never does: .debug_info. The tables
// come from untrusted objects, so the work is linear in their size and nothing is allocated but the answers;
// debug/dwarf of Go's library lets a table of a few bytes ask for gigabytes.
package dwarfline
