// Package planner turns images, plugins and facts about a host into a plan, or into a list of everything that cannot be
// restored. It is pure: the same input gives the same plan, on every system.
//
// This package plans order and people; what a task has is planned in the rooms below: mem, file, tty and sock, which
// share a job. A room imports job, and file where it opens files; none imports this package.
//
//	build        everything, from the images to the encoded plan
//	births       who clones whom and when; sessions and process groups
//	tree         what the zygote makes for several tasks; children, zombies
//	task         one task, from the first operation to the last
//	threads, signals, timers, creds, registers   what a thread has and leaves with
//	descriptors  the order in which descriptors come back
//	cgroups      cgroups, of threads too, who joins them, and the cgroup namespace
package planner
