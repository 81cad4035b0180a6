// Package job is what the rooms of the planner share about one restore: the images, the host, the options, what has
// been refused, descriptor numbers, from which task each is cloned, and operations that wait for a later phase of a
// task.
package job
