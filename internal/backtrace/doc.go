// Package backtrace tells who has called whom in a thread that a hook has brought to a stop: in a plugin, in a library
// or in the program.
//
//	call frame information of the plugin or the file     exact
//	frame pointers                                       "by its frame pointer"
//	words of the stack that follow a call of a plugin    "perhaps": they may be left from earlier calls
//
// What lives here: walking from frame to frame, and names of functions in mapped files. What never does: stopping a
// thread, reading its registers, and how memory is read.
package backtrace
