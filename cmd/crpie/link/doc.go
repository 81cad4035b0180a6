// Package link is the command crpie link: one object, placed at an address, as a file. What lives here is only that; it
// never uses the image or restore packages.
package link

import "os"

// init runs the command before the packages of the other commands are initialised. Registering the protobuf types of
// CRIU's images takes nearly as long as a Go program needs to start, and linking a hook about a third of that: without
// this, crpie link would be slower than GNU ld on a hook.
//
// It relies on the order of initialisation (Go 1.21: by import path, dependencies first). So nothing here may import a
// package whose path sorts late and that has something to initialise, such as runtime/debug or net (which pflag
// imports). TestLinkRunsBeforeTheImageTypes holds that.
func init() {
	if len(os.Args) > 1 && os.Args[1] == "link" {
		os.Exit(Run(os.Args[2:], os.Stdout, os.Stderr))
	}
}
