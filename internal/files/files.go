// Package files opens files whose names come from outside, so that none of them can make crpie wait.
package files

import (
	"io"
	"io/fs"
	"os"
	"syscall"
)

// OpenRegular opens a regular file for reading, and refuses everything else. It does not wait for the other end of a
// FIFO (open(2), O_NONBLOCK); for a regular file the flag changes nothing.
func OpenRegular(name string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	return regular(f)
}

// regular refuses what is opened and no regular file.
func regular(f *os.File) (*os.File, fs.FileInfo, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: f.Name(), Err: notRegular(info)}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// At is a regular file below a directory: it is opened for each read, so that nobody has to close it.
type At struct{ Root, Name string }

// ReadAt is io.ReaderAt's.
func (a At) ReadAt(b []byte, off int64) (int, error) {
	f, _, err := openBelow(a.Root, a.Name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.ReadAt(b, off)
}

// OpenBelow gives a function that looks for regular files below a directory, which is the root of all paths and links
// on the way: no name leads out of it.
func OpenBelow(root string) func(name string) (io.ReaderAt, int64, error) {
	return func(name string) (io.ReaderAt, int64, error) {
		f, info, err := openBelow(root, name)
		if err != nil {
			return nil, 0, err
		}
		return At{root, name}, info.Size(), f.Close()
	}
}

// IsNull reports whether a name leads to /dev/null, which people name so that a file has no effect.
func IsNull(name string) bool {
	null, err := os.Stat(os.DevNull)
	info, err2 := os.Stat(name)
	return err == nil && err2 == nil && os.SameFile(null, info)
}

// Kind names the type of a file.
func Kind(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return "regular file"
	case fs.ModeDir:
		return "directory"
	case fs.ModeSymlink:
		return "symbolic link"
	case fs.ModeNamedPipe:
		return "FIFO"
	case fs.ModeSocket:
		return "socket"
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		return "device"
	}
	return "special file"
}
