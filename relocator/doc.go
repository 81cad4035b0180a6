// Package relocator turns symbol values and chosen addresses into patched bytes, by the formulas of the psABIs.
//
// What lives here: one line per relocation type, in the letters of the specification, and the range of its field. What
// never does: choosing an address, reading a file, a system call. The target machine is data: every formula builds and
// is tested on every host.
//
// It works on every system.
package relocator
