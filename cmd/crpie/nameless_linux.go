package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// nameless writes a file that gets its name when it is complete, in place of an old one, open(2) O_TMPFILE. So a
// signal leaves nothing half written without being caught; to catch signals takes a fifth of the time of a link. done
// is false if the name belongs to something else than a file, or the file system has no such files.
func nameless(name string, write func(f *os.File) error) (done bool, err error) {
	info, err := os.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		return false, nil
	}
	f, err := os.OpenFile(filepath.Dir(name), os.O_WRONLY|unix.O_TMPFILE, 0o666)
	if err != nil {
		return false, nil
	}
	defer f.Close()
	if err := write(f); err != nil {
		return true, err
	}
	if info != nil {
		if err := os.Remove(name); err != nil {
			return true, err
		}
	}
	self := "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
	if err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW); err != nil {
		return err != unix.ENOENT, &fs.PathError{Op: "link", Path: name, Err: err} // ENOENT: there is no /proc
	}
	return true, nil
}
