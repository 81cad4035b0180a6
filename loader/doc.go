// Package loader turns a relocatable ELF object into an immutable, validated Plugin.
//
// What lives here: reading the object, the rules it must obey, and what each violation is called. What never does: a
// chosen address, a patched byte, a system call. Every problem of an object is reported at once, in file order.
//
// The file is decoded by a bounded reader of our own; debug/elf gives only the names of numbers. debug/elf copies every
// section and symbol name, so that names that overlap in the string table make a 1 MB file cost gigabytes, and it
// leaves symbols of objects with more than 65,279 sections without their section.
//
// It works on every system.
package loader
