package files

import (
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/sys"
)

// openBelow opens a regular file with a directory as its root, openat2(2); Linux 5.6.
func openBelow(root, name string) (*os.File, fs.FileInfo, error) {
	if root == "/" {
		return OpenRegular(name)
	}
	dir, err := os.OpenFile(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close()
	f, err := sys.OpenIn(dir, filepath.Clean(name), unix.O_RDONLY|unix.O_NONBLOCK,
		unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
	if err != nil {
		return nil, nil, err
	}
	return regular(f)
}
