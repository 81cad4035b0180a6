// Package images turns a CRIU image directory into Go values and back.
//
// Messages are go-criu's generated types; what is ours is the framing around them, a bounded decoder that names the
// field it stumbles over, the run-length view of pagemaps, and the checks that make the values safe to plan with. What
// lives here reads only from the fs.FS it is given, makes no system call, and never decides whether something can be
// restored.
package images
