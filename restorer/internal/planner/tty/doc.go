// Package tty plans terminals: pseudo-terminals with both ends, devices, controlling terminals, and crpie's own
// terminal for
// --shell-job.
package tty
