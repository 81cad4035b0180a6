// Package file plans files: those that the zygote makes because they have no name or several tasks share them, and the
// descriptors of tasks. A kind of descriptor is a row in a table (Kind); sockets and terminals bring rows of their own.
package file
