package uapi

import (
	"io/fs"
)

// File types of st_mode, inode(7).
const (
	SIfmt  = 0o170000
	SIfreg = 0o100000
	SIfdir = 0o040000
	SIfifo = 0o010000
	SIfchr = 0o020000

	SIflnk, SIfblk, SIfsock = 0o120000, 0o060000, 0o140000
)

// UnixMode gives st_mode, inode(7).
func UnixMode(m fs.FileMode) uint32 {
	mode := UnixType(m) | uint32(m.Perm())
	for _, bit := range []struct {
		of fs.FileMode
		is uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if m&bit.of != 0 {
			mode |= bit.is
		}
	}
	return mode
}

// UnixType gives the S_IFMT bits of a mode, inode(7).
func UnixType(m fs.FileMode) uint32 {
	switch t := m.Type(); {
	case t == 0:
		return SIfreg
	case t&fs.ModeDir != 0:
		return SIfdir
	case t&fs.ModeCharDevice != 0:
		return SIfchr
	case t&fs.ModeDevice != 0:
		return SIfblk
	case t&fs.ModeNamedPipe != 0:
		return SIfifo
	case t&fs.ModeSocket != 0:
		return SIfsock
	case t&fs.ModeSymlink != 0:
		return SIflnk
	}
	return 0
}
