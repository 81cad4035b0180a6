// Package inject runs the hooks of PIE plugins in a live process, which then goes on as if nothing had happened.
//
//	plugins ── blob ──┐
//	process ── stop ──┼─ lay the blob in ── hooks ── take it out ── registers ── it goes on
//	program ── start ─┘                       └── failure ── the same way out, report
//
// Spawn starts a program, stops it at a Moment and runs the hooks; Attach does so to processes that run. Neither needs
// privileges beyond those of ptrace(2), a checkpoint or CRIU. Both work on Linux on x86-64. The tracer is an OS thread
// that lives as long as the call: other goroutines are not in its way.
//
// What lives here: stopping, laying in, running, giving back. The pure parts are apart, and make no system call:
//
//	at.go           when to stop: the Moment
//	layout.go       where in the process everything goes, and what hooks are told
//	schedule.go     which hook runs when
//	trampoline.go   code that makes a system call and goes back to the program by itself
//	frame.go        the frame by which a thread leaves a hook for the program by itself
//	interrupted.go  what becomes of a system call that the stop has interrupted
//	stops.go        what a stop of a thread means
//	timers.go       the timers of a process
//	facts.go        what /proc says of a process
//	diff.go         what is another thing than before
//	smaps.go        what /proc says of its mappings
//	symbols.go      where a program's functions are
//
// What never does: images, restoring, the command line.
package inject
