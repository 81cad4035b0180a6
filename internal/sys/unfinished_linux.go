package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// unfinishedMarks are the extended attributes that can mark a file as incomplete, xattr(7): kernfs has the first from
// Linux 5.7 on; the second needs CAP_SYS_ADMIN in the first user namespace.
var unfinishedMarks = []string{"user.crpie.unfinished", "trusted.crpie.unfinished"}

// MarkUnfinished marks a file as incomplete, and reports whether that was possible.
func MarkUnfinished(path string) bool {
	for _, mark := range unfinishedMarks {
		if unix.Setxattr(path, mark, []byte{1}, 0) == nil {
			return true
		}
	}
	return false
}

// MarkFinished takes the mark away.
func MarkFinished(path string) {
	for _, mark := range unfinishedMarks {
		_ = unix.Removexattr(path, mark)
	}
}

// Unfinished reports whether a file is marked as incomplete.
func Unfinished(path string) bool {
	for _, mark := range unfinishedMarks {
		if n, err := unix.Getxattr(path, mark, nil); err == nil && n > 0 {
			return true
		}
	}
	return false
}

// Lock locks a file together with others, flock(2), until its last descriptor is closed. It waits for whoever has it
// alone.
func Lock(f *os.File) error {
	if err := fault("flock"); err != nil {
		return err
	}
	return flock(f, unix.LOCK_SH)
}

// LockAlone locks a file for this process alone. If it does not wait for others the error is EWOULDBLOCK where there
// are some, and a lock together with them is lost.
func LockAlone(f *os.File, wait bool) error {
	if wait {
		return flock(f, unix.LOCK_EX)
	}
	return flock(f, unix.LOCK_EX|unix.LOCK_NB)
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}
