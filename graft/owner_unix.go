//go:build unix

package graft

import (
	"io/fs"
	"os"
	"syscall"
)

// chown gives a file the owner and group of another.
func chown(name string, like fs.FileInfo) error {
	if st, ok := like.Sys().(*syscall.Stat_t); ok {
		return os.Lchown(name, int(st.Uid), int(st.Gid))
	}
	return nil
}
