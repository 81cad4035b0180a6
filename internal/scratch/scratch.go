//go:build linux

// Package scratch makes directories in which one process works, and finds those that killed processes have left. The
// owner holds a lock, flock(2), that ends with it: no pid has to be believed, in whatever pid namespace it counts.
package scratch

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crpie/crpie/internal/several"
)

// What the names of scratch directories begin with: those of a runtime's restore, and those of sockets for gdb.
const (
	swrk   = ".crpie-swrk-"
	Socket = "crpie-gdb-"
)

// Dir is a scratch directory of this process.
type Dir struct {
	Name string
	lock *os.File
}

// ErrInUse reports that the owner of a directory still works in it.
var ErrInUse = errors.New("in use")

// Make makes a directory with a name of its own in parent. Others can pass through it, and not list it.
func Make(parent string) (*Dir, error) { return makeDir(parent, swrk, 0o711) }

// MakeForSocket makes a directory that only this user can enter.
func MakeForSocket(parent string) (*Dir, error) { return makeDir(parent, Socket, 0o700) }

func makeDir(parent, prefix string, mode os.FileMode) (*Dir, error) {
	for {
		name := filepath.Join(parent, prefix+rand.Text())
		if err := os.Mkdir(name, 0o700); err != nil {
			return nil, err
		}
		d, err := own(name)
		if err == nil {
			if err = os.Chmod(name, mode); err == nil {
				return d, nil
			}
			d.lock.Close()
		}
		if !errors.Is(err, ErrInUse) && !errors.Is(err, os.ErrNotExist) {
			return nil, several.Join(err, os.RemoveAll(name))
		} // else somebody has swept it before it was locked
	}
}

// own locks a directory that must still be there. Where the file system has no locks it is unlocked, and nobody sweeps.
func own(name string) (*Dir, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if lock(f) == ErrInUse {
		f.Close()
		return nil, ErrInUse
	}
	here, err := os.Lstat(name)
	if err == nil {
		if info, err := f.Stat(); err == nil && os.SameFile(info, here) {
			return &Dir{name, f}, nil
		}
		err = os.ErrNotExist
	}
	f.Close()
	return nil, err
}

// lock takes the lock of an open directory, ErrInUse if somebody has it.
func lock(f *os.File) error {
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
	case nil:
		return nil
	case unix.EWOULDBLOCK:
		return ErrInUse
	default:
		return fmt.Errorf("flock %s: %w", f.Name(), err)
	}
}

// Remove removes the directory and all that is in it.
func (d *Dir) Remove() error {
	defer d.lock.Close()
	return os.RemoveAll(d.Name)
}

// Find lists the scratch directories that lie in a directory.
func Find(parent string) (names []string, err error) {
	entries, err := os.ReadDir(parent)
	for _, e := range entries {
		if Is(e.Name()) && e.IsDir() {
			names = append(names, filepath.Join(parent, e.Name()))
		}
	}
	return names, err
}

// Is reports whether a directory's name is one of a scratch directory.
func Is(name string) bool {
	for _, prefix := range []string{swrk, Socket} {
		if strings.HasPrefix(name, prefix) && len(name) > len(prefix) {
			return true
		}
	}
	return false
}

// Abandoned is nil if the owner of a directory has ended, ErrInUse if not, or says why that cannot be told.
func Abandoned(name string) error {
	f, err := abandoned(name)
	if err == nil {
		f.Close()
	}
	return err
}

// Sweep removes a directory whose owner has ended.
func Sweep(name string) error {
	f, err := abandoned(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.RemoveAll(name)
}

// abandoned opens and locks a directory without an owner. One of another user's is none of crpie's: names in a directory
// for temporary files are free to take.
func abandoned(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	var stat unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &stat); err == nil && int(stat.Uid) != os.Geteuid() {
		err = fmt.Errorf("%s belongs to user %d, not to who runs crpie", name, stat.Uid)
	}
	if err == nil {
		err = lock(f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
