// Package stage names the moments of a restore at which hooks run, in the order in which a restore reaches them, and
// those around a dump.
//
// What lives here: the numbers that plugins, hook records and log lines carry, and their names. What never does: what
// happens at a stage; docs/stages.md says that. The package imports nothing of this module and works on every system.
package stage
