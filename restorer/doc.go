// Package restorer restores a process tree from CRIU images and runs plugins inside it on the way.
//
//	images ──┐
//	plugins ─┼─ plan ── zygote ── tasks run their programs ── registers ── off they go
//	host ────┘                        └── any failure ── undo, report
//
// Prepare reads the images and decides everything: it returns a plan, or a *refusal.Refusal that lists whatever cannot
// be restored. Open reads the images for several such restores. Run carries the plan out, and leaves nothing behind
// when something fails; package report has its errors, Describe makes values of them. This package is the front door;
// its rooms are
//
//	internal/plan          the plan: programs of operations, the memory region, encoding and printing; pure data
//	internal/uapi          numbers of the kernel's interface, with names for printing
//	internal/host          facts about this host
//	internal/cgroups       the cgroups that a restore makes, or takes away; moved below it: where they are here
//	internal/planner       order and tasks: births, sessions, threads, signals, credentials, cgroups
//	internal/planner/job   what the rooms of the planner share: images, host, options, refusals, phases
//	internal/planner/mem   memory: mappings, contents, inheritance, shared memory, huge pages, AIO, vDSO, IPC
//	internal/planner/file  descriptors of files, pipes, memfds, timers, watches; files without a name; locks
//	internal/planner/tty   terminals
//	internal/planner/sock  sockets, a file for each family
//	internal/run           everything that touches processes: zygote, tracing, hooks' failures, undoing
//	core                   the C and assembly that run inside the tasks
//
// Prepare and Run work on Linux on x86-64; elsewhere the package has only the types of PlanOptions.
package restorer
