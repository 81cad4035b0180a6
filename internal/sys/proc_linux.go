package sys

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ReadProc reads a file of /proc or /sys. Package os would get ready to wait for its contents, which takes as many
// system calls again.
func ReadProc(path string) ([]byte, error) {
	fd, err := openAgain(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	text := make([]byte, 0, 4<<10)
	for {
		if len(text) == cap(text) {
			text = append(text, make([]byte, len(text))...)[:len(text)]
		}
		n, err := unix.Read(fd, text[len(text):cap(text)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", path, err)
		case n == 0:
			return text, nil
		default:
			text = text[:len(text)+n]
		}
	}
}

// openAgain opens a file for reading, again if a signal came in between.
func openAgain(path string) (fd int, err error) {
	for {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// WriteControl writes a word into a file of /proc, /sys or a cgroup in one piece.
func WriteControl(path, word string) error {
	err := fault("write " + path)
	if err == nil {
		err = os.WriteFile(path, []byte(word), 0)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, WithoutPath(err))
	}
	return nil
}

// WithoutPath drops the path of an error that is about one which has been named.
func WithoutPath(err error) error {
	if failed := (*os.PathError)(nil); errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
