// Package sys is the only place that makes raw system calls: ptrace, futexes, memfds, and starting the zygote.
//
// It holds mechanism without policy: nothing here knows what a checkpoint, a plugin or a plan is. Every call that can
// fail passes through a fault point (Faults), so that a test can make each one fail in turn.
package sys
