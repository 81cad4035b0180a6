// Package sys wraps the system calls by which a restore acts on processes, memory and connections: ptrace, pidfds,
// futexes, memfds, TCP_REPAIR, starting the zygote; and reads lists of /proc that several packages look at. Other
// packages take numbers and names from x/sys/unix, and files from os.
//
// It holds mechanism without policy: nothing here knows what a checkpoint, a plugin or a plan is. The calls with
// which a restore goes forward pass through a fault point, so that a test can make each one fail in turn: with the
// build tag "faults" there is a function Faults, without it nothing of that is in the program. Those that undo it
// (Kill, Poll, Pidfd.Kill, Unmap) and those that only ask about this process have none.
package sys
