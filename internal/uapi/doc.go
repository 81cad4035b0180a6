// Package uapi has the numbers of the Linux user-space interface, each once, with names for printing. They are data,
// not the host's: a plan comes out the same wherever it is made.
package uapi
