// Package images turns a CRIU image directory into Go values and back.
//
// Package pb has the messages. This package has the framing around them, their encoding, a bounded decoder that names
// the field it stumbles over, the run-length view of pagemaps, and the checks that make the values safe to plan with.
// It reads only from the fs.FS it is given, makes no system call, and never decides whether something can be
// restored.
//
// It works on every system.
package images
