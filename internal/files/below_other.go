//go:build !linux

package files

import (
	"io/fs"
	"os"
	"path/filepath"
)

// openBelow opens a regular file below a directory; a link that leads out of it is an error.
func openBelow(root, name string) (*os.File, fs.FileInfo, error) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close()
	f, err := dir.Open(filepath.Join(".", name))
	if err != nil {
		return nil, nil, err
	}
	return regular(f)
}
