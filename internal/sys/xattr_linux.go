package sys

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// makerMark is the extended attribute of what is not complete yet: the pid of its maker, xattr(7).
const makerMark = "trusted.crpie.maker"

// MarkUnfinished says that this process has made a file and is not done with it. Where the file system has no
// extended attributes nobody is told.
func MarkUnfinished(path string) {
	_ = unix.Setxattr(path, makerMark, []byte(strconv.Itoa(os.Getpid())), 0)
}

// MarkFinished takes the mark away.
func MarkFinished(path string) { _ = unix.Removexattr(path, makerMark) }

// LeftUnfinished reports whether the maker of a file has ended before it was done.
func LeftUnfinished(path string) bool {
	var value [16]byte
	n, err := unix.Getxattr(path, makerMark, value[:])
	if err != nil {
		return false
	}
	pid, err := strconv.Atoi(string(value[:n]))
	return err == nil && (pid == os.Getpid() || unix.Kill(pid, 0) == unix.ESRCH)
}
