//go:build !unix

package graft

import "io/fs"

// chown does nothing: files have no owner of that kind here.
func chown(string, fs.FileInfo) error { return nil }
