// Package mnt makes the mount namespace of the tasks: from its images comes a Plan, pure and printable; Make carries it
// out on an OS thread of the controller before any process exists, and Operations are for what only the first process
// of a pid namespace can mount. Facts lets the planner see files through the new tree.
//
// The container's file systems are not trusted: no path below their roots is used but with openat2(2).
package mnt
