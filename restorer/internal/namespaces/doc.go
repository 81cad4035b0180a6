// Package namespaces makes the namespaces that tasks are restored into. New decides from the images which, and
// refuses what cannot be had; Make makes them before any process of the restore exists, on an OS thread that never
// does anything else, so that planning already sees what the tasks will see. The zygote joins them, or makes its own
// where only a process can: pid, cgroup and time namespaces.
package namespaces
