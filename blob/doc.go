// Package blob makes one image of the restorer core, any number of plugins, the hook table and their parameters.
//
// What lives here: where each section goes, the hook table, and the map back from an address to plugin, section,
// function and line. What never does: finding a free address, mapping memory, a system call.
//
// It works on every system.
package blob
