// Package gdbserver lets gdb look at one stopped thread, by its remote serial protocol over a Unix socket: "The GDB
// Remote Serial Protocol", appendix E of the manual of gdb.
//
// The caller stays the tracer. What lives here: the socket, the packets, and breakpoints, which are taken out of the
// code when gdb goes away. What never does: stopping a thread and letting it run on.
package gdbserver
