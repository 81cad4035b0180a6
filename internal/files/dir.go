package files

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// OpenDir opens a directory whose files are not trusted. A file of another kind is an error, without a wait.
func OpenDir(name string) (*os.Root, error) {
	info, err := os.Stat(name) // os.OpenRoot would wait for the other end of a FIFO
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: name,
			Err: fmt.Errorf("it is a %s, not a directory", Kind(info.Mode()))}
	}
	if err != nil {
		return nil, err
	}
	return os.OpenRoot(name)
}

// FS gives the regular files and directories below root, also those that symbolic links within it lead to. To open
// anything else is an error.
func FS(root *os.Root) fs.FS { return Checked(root, func(fs.FileInfo) error { return nil }) }

// Checked is FS without the files that check refuses.
func Checked(root *os.Root, check func(info fs.FileInfo) error) fs.FS {
	return rootFS{root, check}
}

type rootFS struct {
	root  *os.Root
	check func(info fs.FileInfo) error
}

func (r rootFS) Open(name string) (fs.File, error) {
	f, _, err := r.OpenAndStat(name)
	return f, err
}

// OpenAndStat opens a file as Open does, and describes it. Package images asks for this method, which takes half the
// system calls of fs.Stat and Open.
func (r rootFS) OpenAndStat(name string) (fs.File, fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	f, info, err := openIn(r.root, name)
	if err != nil {
		return nil, nil, err // and not a nil *os.File
	}
	if err := r.check(info); err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// Stat describes a file that Open opens.
func (r rootFS) Stat(name string) (fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrInvalid}
	}
	info, err := r.root.Stat(name)
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		err = &fs.PathError{Op: "stat", Path: name, Err: notRegular(info)}
	}
	if err == nil {
		err = r.check(info)
	}
	return info, err
}

// OpenIn opens a regular file or a directory below root.
func OpenIn(root *os.Root, name string) (*os.File, error) {
	f, _, err := openIn(root, name)
	return f, err
}

// openIn opens a regular file or a directory below root, without waiting for a FIFO.
func openIn(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: name, Err: notRegular(info)}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func notRegular(info fs.FileInfo) error {
	return fmt.Errorf("it is a %s, not a regular file", Kind(info.Mode()))
}
