// Package restorer restores a process tree from CRIU images and runs plugins inside it on the way.
//
// It has two halves. The planner (plan*.go) is pure: images, plugins and facts about this host go in, a Plan comes out
// that says every system call, or a list of everything that cannot be restored. The runner (run*_linux.go) carries a
// plan out: it starts the zygote, watches the tasks, hands them their registers, and undoes everything when something
// fails. Decoding images, validating and relocating objects never happen here.
//
//	images ─┐
//	plugins ─┼─ plan ── zygote ── tasks run their programs ── registers ── off they go
//	host ───┘                        └── any failure ── undo, report
//
// The planner's files, in the order in which a plan is made:
//
//	plan_build                              everything, from the images to the encoded plan
//	plan_births, plan_ctty, plan_cgroups    who clones whom and when, sessions, terminals, cgroups
//	plan_tree, plan_segments, plan_nameless what the zygote makes for several tasks: memory, memfds, files
//	plan_task, plan_threads                 one task and its threads, from the first operation to the last
//	plan_memory, plan_inherit, plan_vdso, … memory, and what of it a child has from its parent
//	plan_files, plan_pipes, plan_ttys, …    descriptors, a file for each kind
//	plan_sockets_…                          sockets, a file for each family
//	plan_late                               what only a task itself can open, when others are there
//	plan_signals, plan_timers, plan_creds … what a thread leaves with
package restorer
