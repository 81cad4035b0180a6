// Package freezer freezes and thaws cgroups: freezer.state of version 1, cgroup.freeze of version 2, cgroups(7).
//
// What lives here: finding the cgroup of a set of processes, and its state. What never does: making cgroups and moving
// processes.
package freezer
