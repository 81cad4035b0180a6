package sys

import (
	"math"
	"math/rand/v2"
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

// Hold locks one byte of a file, fcntl_locking(2), until f, which has to be open for writing, is closed. The byte is
// another one each time, so that any number can hold the file. Whoever can only read the file cannot hold it, but can
// lock it against writers: the error is EAGAIN then.
func Hold(f *os.File) error {
	if err := fault("fcntl"); err != nil {
		return err
	}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK,
		&unix.Flock_t{Type: unix.F_WRLCK, Start: rand.Int64N(math.MaxInt64), Len: 1})
}

// HeldByOthers reports whether a file is held through another descriptor than f.
func HeldByOthers(f *os.File) (bool, error) {
	all := unix.Flock_t{Type: unix.F_RDLCK} // which conflicts with locks of writers only
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &all)
	return all.Type != unix.F_UNLCK, err
}

// TryLock locks a file, flock(2), until its last descriptor is closed. The error is EAGAIN where somebody else has
// locked it.
func TryLock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
