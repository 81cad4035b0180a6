// Package graft makes plugins a part of a dumped process: from an image directory and plugins it plans a new image
// directory, which any CRIU restores, and in which every thread starts in the plugins' hooks.
//
// What lives here: what each image becomes, the files of the new directory or archive, and the way back. What never
// does: running a process, or changing anything in the directory that it reads.
//
// It works on every system; whoever restores its images needs Linux.
package graft
